"""Connections of aiohttp, with what a caller of models needs beyond: none is used again that the server has
ended or on which it sent what no call asked for, a reset is no end of a body, and what is closed is closed at
once.

How to connect, through proxies and TLS, is aiohttp's matter; a call on a connection is ours, and so is the
choice of one that is open: aiohttp's pool, request, response and readers would take most of the time of a
call.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from llmfail.wire.error_mapping import CONNECT_TIMEOUT_SECONDS, NO_REPLY, BrokenConnectionError
from llmfail.wire.reply_parser import ReplyParser

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

_CONNECT_TIMEOUT = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_SECONDS)
MAX_IDLE_SECONDS = 15.0
"""Without a call; a server may close a connection at any time."""
MAX_UNREAD_BYTES = 1 << 20
"""Of a body that nobody reads: then the server has to wait."""
ONE_WRITE_BYTES = 256 * 1024
"""A body up to here goes with its head: to copy it costs less than to send twice."""


class Connector(aiohttp.TCPConnector):
    """Connects, by one way of the network, to any server."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        super().__init__(limit=0, ssl=ssl_context, resolver=aiohttp.ThreadedResolver())
        self._factory = partial(CallProtocol, loop=self._loop)  # type: ignore[assignment] # partial is invariant
        self._servers: dict[ConnectionKey, ServerConnections] = {}

    def connections_of(self, request: aiohttp.ClientRequest) -> ServerConnections:
        """Those to the server that the request goes to."""
        return self._servers.setdefault(request.connection_key, ServerConnections(self, request))

    async def close_all(self) -> None:
        for server in self._servers.values():
            server.close_idle()
        await self.close()


class ServerConnections:
    """The connections to one server. None is handed out that the server has ended, of which it could not be
    told afterwards whether a call on it had arrived, none with bytes that would pass for the reply to the
    next call, and none whose server has replied without reading the request, and takes no more.
    """

    def __init__(self, connector: Connector, request: aiohttp.ClientRequest) -> None:
        self._connector = connector
        self._request = request
        self._idle: deque[CallProtocol] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    def find_idle(self) -> CallProtocol | None:
        """The one that was used last."""
        oldest = monotonic() - MAX_IDLE_SECONDS
        while self._idle:
            protocol = self._idle.pop()
            if protocol.idle_since >= oldest and protocol.is_at_rest():
                return protocol
            protocol.leave()
        return None

    async def open_new(self) -> CallProtocol:
        connection = await self._connector.connect(self._request, [], _CONNECT_TIMEOUT)
        protocol = cast("CallProtocol", connection.protocol)
        protocol.connection = connection
        return protocol

    def take_back(self, protocol: CallProtocol) -> None:
        """After a call, for the next one if there may be one."""
        if not protocol.end_call():
            protocol.leave()
            return
        protocol.idle_since = monotonic()
        self._idle.append(protocol)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(MAX_IDLE_SECONDS, self._close_old)

    def close_idle(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            self._idle.pop().leave()

    def _close_old(self) -> None:
        """Those that nobody needed for so long, and look again when the next may be."""
        oldest = monotonic() - MAX_IDLE_SECONDS
        self._sweep = None
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().leave()
        if self._idle:
            wait = self._idle[0].idle_since - oldest
            self._sweep = asyncio.get_running_loop().call_later(wait, self._close_old)


class CallProtocol(ResponseHandler):
    """One connection, and the reply to the call on it. Until the first call aiohttp reads what comes, such as
    the consent of a proxy.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.connection: Connection | None = None
        """aiohttp's name for it."""
        self.idle_since = 0.0
        self._reply: ReplyParser | None = None
        self._is_idle = False
        """A call has used it, and is over."""
        self._broken: BrokenConnectionError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._read_by = 0.0
        self._is_late = False
        self._alarm: asyncio.TimerHandle | None = None
        self._is_held_up = False
        self._poller: select.poll | None = None

    def is_at_rest(self) -> bool:
        """Whether nothing came while nothing was asked, and the server takes what is sent; the event loop may
        not have seen it yet.
        """
        if not self.is_connected():
            return False
        if self._poller is None:
            assert self.transport is not None
            self._poller = select.poll()
            self._poller.register(self.transport.get_extra_info("socket"), select.POLLIN | select.POLLOUT)
        [(_, events)] = self._poller.poll(0) or [(0, 0)]
        return events == select.POLLOUT

    def start_call(self, head: bytes, body: bytes) -> None:
        """Raises BrokenConnectionError."""
        if self.transport is None or self._tail:
            raise BrokenConnectionError(NO_REPLY)
        self._reply, self._is_idle = ReplyParser(), False
        if len(body) <= ONE_WRITE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    async def read_head(self, read_by: float) -> ReplyParser:
        """The reply, once its head is here. Raises TimeoutError at ``read_by`` in the time of the event loop,
        and BrokenConnectionError.
        """
        reply = self._reply
        assert reply is not None, "a call is under way"
        while not reply.has_head:
            await self._wait(read_by)
        return reply

    async def read_body(self, read_by: float) -> bytes:
        """What there is, as soon as something is; b"" once the body is over. Raises as ``read_head``."""
        reply = self._reply
        assert reply is not None, "a call is under way"
        while not reply.pieces:
            if reply.is_over:
                return b""
            await self._wait(read_by)
        body = reply.pieces[0] if len(reply.pieces) == 1 else b"".join(reply.pieces)
        reply.pieces.clear()
        if self._is_held_up and self.transport is not None:
            self._is_held_up = False
            self.transport.resume_reading()
        return body

    @property
    def is_read(self) -> bool:
        """Whether all of the body was read."""
        return self._reply is not None and self._reply.is_over and not self._reply.pieces

    def end_call(self) -> bool:
        """Whether the connection may be used again: the reply was read to its end, and says so."""
        reply, self._reply, self._is_idle = self._reply, None, True
        is_kept = reply is not None and reply.is_over and reply.keeps_connection and self.is_connected()
        return is_kept and not (self._is_held_up or self.should_close)

    def leave(self) -> None:
        """Nobody uses this connection again."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    async def _wait(self, read_by: float) -> None:
        """Until something came. One timer serves all that is read of a connection: it is set anew only when
        it is too late, and looks when it fires whether it is time.
        """
        if self._broken is not None:
            raise self._broken
        self._read_by = read_by
        if self._alarm is None or self._alarm.when() > read_by:
            self._set_alarm()
        self._reader, self._is_late = self._loop.create_future(), False
        try:
            await self._reader
        finally:
            self._reader = None
        if self._is_late:
            raise TimeoutError

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._read_by, self._look_at_time, self._read_by)

    def _look_at_time(self, due_at: float) -> None:
        self._alarm = None
        if self._reader is None or self._reader.done():
            return
        if self._read_by > due_at:
            self._set_alarm()
        else:
            self._is_late = True
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _break_off(self, error: BrokenConnectionError) -> None:
        """What came before is read before the error."""
        reply = self._reply
        if reply is not None and not reply.is_over and self._broken is None:
            self._broken = error
            self._wake()

    def data_received(self, data: bytes) -> None:
        """Bytes that belong to no call end the connection (RFC 9112, section 9.2)."""
        reply = self._reply
        if reply is None or reply.is_over:
            if reply is not None or self._is_idle:
                self.abort()
            else:
                super().data_received(data)
            return
        try:
            has_more = reply.feed(data)
        except BrokenConnectionError as error:
            self._break_off(error)
            self.abort()
            return
        if has_more:
            self.force_close()
        elif len(reply.pieces) > 1 and sum(map(len, reply.pieces)) > MAX_UNREAD_BYTES:
            self._hold_up()
        if reply.pieces or reply.has_head:
            self._wake()

    def _hold_up(self) -> None:
        if not self._is_held_up and self.transport is not None:
            self._is_held_up = True
            self.transport.pause_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        """A body without a length ends with its connection, unless that was reset; no other does."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._reply is not None and not self._reply.is_over:
            self._end_reply(self._reply, exc)
        super().connection_lost(exc)

    def _end_reply(self, reply: ReplyParser, exc: BaseException | None) -> None:
        if exc is None and reply.may_end():
            reply.is_over = True
            self._wake()
            return
        error = BrokenConnectionError(NO_REPLY if exc is None else "the connection broke off")
        error.__cause__ = exc
        self._break_off(error)

    def close(self) -> None:
        """At once. aiohttp would wait until a silent server has taken what is still to be sent, and under TLS
        for its goodbye.
        """
        self.abort()

    def abort(self) -> None:
        self._break_off(BrokenConnectionError("the connection was closed"))
        super().abort()
