"""aiohttp's pool of connections, with what a caller of models needs of it beyond: no connection is handed out
that the server has ended or on which it sent what no call asked for, a reset is no end of a body, and what is
closed is closed at once.
"""

from __future__ import annotations

import select
import ssl
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace


class Connector(aiohttp.TCPConnector):
    """A pool that hands out no connection that the server has ended, of which it could not be told afterwards
    whether a call on it had arrived, and none with bytes that would pass for the reply to the next call.
    """

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        super().__init__(limit=0, ssl=ssl_context, resolver=aiohttp.ThreadedResolver())
        self._factory = partial(_ConnectionProtocol, loop=self._loop)  # type: ignore[assignment] # partial is invariant

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert isinstance(protocol, _ConnectionProtocol)
            if protocol.is_idle and _has_pending_bytes(connection):
                connection.close()
            else:
                protocol.start_call(connection)
                return connection


class _ConnectionProtocol(ResponseHandler):
    """One connection. Whatever becomes of it, the reader of a body learns of it."""

    is_idle = False
    """A call has used it, and is over."""

    def start_call(self, connection: Connection) -> None:
        self.is_idle = False
        connection.add_callback(self._end_call)

    def _end_call(self) -> None:
        self.is_idle = True

    def data_received(self, data: bytes) -> None:
        """Bytes that belong to no call end the connection (RFC 9112, section 9.2). They come while it is
        idle, or right behind a reply, with whose end aiohttp has already given the connection back.
        """
        if data and self.is_idle:
            self.abort()
            return
        super().data_received(data)
        if self.is_idle and self.should_close:
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """A body without a length ends with its connection, unless that was reset; no other does, even if it
        had stopped being HTTP. aiohttp takes a reset for an end, and says nothing of the last.
        """
        payload = self._payload
        if exc is not None:
            _fail_unfinished_body(payload)
        super().connection_lost(exc)
        _fail_unfinished_body(payload)

    def close(self) -> None:
        """At once. aiohttp would wait until a silent server has taken what is still to be sent, and under TLS
        for its goodbye.
        """
        self.abort()

    def abort(self) -> None:
        _fail_unfinished_body(self._payload)
        super().abort()


def _fail_unfinished_body(payload: aiohttp.StreamReader | None) -> None:
    """No end by now means that there will be none."""
    if payload is not None and not payload.is_eof():
        payload.set_exception(aiohttp.ClientPayloadError("the connection ended within the body"))


def _has_pending_bytes(connection: Connection) -> bool:
    """Whether something came while nothing was asked; the event loop may not have seen it yet."""
    assert connection.transport is not None
    poller = select.poll()
    poller.register(connection.transport.get_extra_info("socket"), select.POLLIN)
    return bool(poller.poll(0))
