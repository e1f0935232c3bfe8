"""A server for one handler, on aiohttp's low-level server: no router, no middleware, so a path is what was
sent. It keeps the limits that protect it from slow and large heads, and cancels a handler whose client left.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server
from msgspec import Struct

from llmfail.http_server.http_response import SERVER_NAME, WholeResponse
from llmfail.http_server.message import (
    BodyRefused,
    Handler,
    IncomingRequest,
    OutgoingReply,
    json_reply,
    split_target,
)
from llmfail.http_server.request_body import read_body

MAX_LINE_BYTES = 8190
CLOSE_SECONDS = 0.01
"""aiohttp takes 0 for no limit."""
UNREAD_SECONDS = 60.0
"""How long a piece of a reply may wait for somebody to read those before it."""
OWN_HEADERS: Mapping[str, str] = {"server": SERVER_NAME}
_Answer = Callable[[BaseRequest], Awaitable[StreamResponse]]
_LOG = logging.getLogger("llmfail.http_server")


class ConnectionLimits(Struct, frozen=True):
    """``head_seconds``: a connection whose first request, or whose next head, is not whole by then is closed;
    ``idle_seconds``: one that asks nothing more.
    """

    max_connections: int = 4096
    max_head_bytes: int = 16 * 1024
    head_seconds: float = 8.0
    idle_seconds: float = 75.0


class HttpServer:
    """``open`` it within the event loop; ``stop_listening`` leaves what is under way alone."""

    def __init__(self, handler: Handler, limits: ConnectionLimits | None = None) -> None:
        self._handler = handler
        self._limits = limits or ConnectionLimits()
        self._server = _Server(self._answer, self._limits)
        self._listening: list[asyncio.Server] = []
        self._is_ending = False

    async def open(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections from a socket that is bound."""
        limit = None if tls is None else self._limits.head_seconds
        self._listening.append(
            await asyncio.get_running_loop().create_server(
                self._server, sock=listener, backlog=1024, ssl=tls, ssl_handshake_timeout=limit
            )
        )

    def stop_listening(self) -> None:
        """New connections are refused, and idle ones closed; whose request is under way is answered."""
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        self._is_ending = True
        self._server.close_idle()

    async def close(self) -> None:
        """The end of every connection, whatever is under way."""
        self.stop_listening()
        await self._server.shutdown(CLOSE_SECONDS)

    async def _answer(self, incoming: BaseRequest) -> StreamResponse:
        response = await self._respond(incoming)
        if self._is_ending:
            response.force_close()
        return response

    async def _respond(self, incoming: BaseRequest) -> StreamResponse:
        exchange = _Exchange(incoming)
        if exchange.head_bytes > self._limits.max_head_bytes:
            return WholeResponse(json_reply({"error": "the head of the request is too large"}, 431))
        try:
            reply = await self._handler(exchange)
            if reply is not None and reply.stream is not None:
                await _write_stream(exchange, reply)
                reply = None
        except BodyRefused as refused:
            reply = json_reply({"error": refused.message}, refused.status)
        except ConnectionError:
            exchange.break_off()
            reply = None
        if reply is not None:
            return WholeResponse(reply)
        assert exchange.response is not None, "a handler without a reply has written one"
        return exchange.response


class _Exchange:
    """As ``Exchange``, over one request of aiohttp."""

    def __init__(self, incoming: BaseRequest) -> None:
        self._incoming = incoming
        self.response: StreamResponse | None = None
        headers, self.head_bytes = _read_head(incoming)
        host, path, query = split_target(incoming.raw_path)
        if host is not None:
            headers["host"] = host
        self.request = IncomingRequest(
            incoming.method,
            path,
            query,
            headers,
            b"",
            incoming.remote or "",
            incoming.secure,
        )

    @property
    def is_begun(self) -> bool:
        return self.response is not None

    async def read_body(self, max_bytes: int) -> bytes:
        return await read_body(self._incoming, max_bytes)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        await self._begin(_StreamedResponse(status=status, headers={**headers, **OWN_HEADERS}))

    async def begin_at_once(self, status: int, headers: Mapping[str, str]) -> None:
        """The same, for who looks at the head before there is anything behind it."""
        await self._begin(StreamResponse(status=status, headers={**headers, **OWN_HEADERS}))

    async def _begin(self, response: StreamResponse) -> None:
        self.response = response
        await response.prepare(self._incoming)

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError as well when the other side has stopped to read."""
        assert self.response is not None, "it has begun"
        transport = self._incoming.transport
        if transport is None or not transport.get_write_buffer_size():
            await self.response.write(data)
            return
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                await self.response.write(data)
        except TimeoutError:
            transport.abort()
            raise ConnectionResetError("the other side does not read") from None

    def break_off(self) -> None:
        if self.response is None:
            self.response = StreamResponse(status=500)
        if self._incoming.transport is not None:
            self._incoming.transport.close()


class _StreamedResponse(StreamResponse):
    """Its head is sent with the first piece."""

    _send_headers_immediately = False


async def _write_stream(exchange: _Exchange, reply: OutgoingReply) -> None:
    assert reply.stream is not None, "somebody has looked"
    try:
        await exchange.begin_at_once(reply.status, reply.headers)
        async for piece in reply.stream:
            await exchange.write(piece)
    finally:
        close = getattr(reply.stream, "aclose", None)
        if close is not None:
            await close()


def _read_head(incoming: BaseRequest) -> tuple[dict[str, str], int]:
    """The headers, and how many bytes they and the path are. Bytes that are no UTF-8 become U+FFFD: what
    names a user or a feature ends in logs and stores.
    """
    headers: dict[str, str] = {}
    size = len(incoming.raw_path)
    for written, said in incoming.headers.items():
        name, value = written.lower(), said
        size += len(written) + len(said) + 4
        if not said.isascii():
            sent = said.encode("utf-8", "surrogateescape")
            size += len(sent) - len(said)
            value = sent.decode("utf-8", "replace")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers, size


class _Server(Server):
    """Counts its connections, and makes them with limits of their own."""

    def __init__(self, handler: _Answer, limits: ConnectionLimits) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._limits = limits
        self._make = partial(
            _Connection,
            self,
            limits,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=limits.idle_seconds,
            max_line_size=MAX_LINE_BYTES,
            auto_decompress=False,
            logger=_LOG,
        )

    def __call__(self) -> RequestHandler:
        return self._make()

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self._connections) > self._limits.max_connections:
            transport.abort()

    def close_idle(self) -> None:
        """Those without a request. aiohttp's own way also stops bodies that are under way."""
        for connection in self.connections:
            if isinstance(connection, _Connection) and connection.is_idle:
                connection.force_close()


class _Connection(RequestHandler):
    """Closes itself when a head takes too long or grows too large."""

    __slots__ = ("_head_size", "_head_timer", "_limits")

    def __init__(self, server: _Server, limits: ConnectionLimits, **settings: object) -> None:
        super().__init__(server, **settings)  # type: ignore[arg-type]
        self._limits = limits
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.is_idle:
            self._forget_head()
            return
        # This was a part of a head.
        self._head_size += len(data)
        if self._head_size > self._limits.max_head_bytes:
            self.force_close()
        elif self._head_timer is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._limits.head_seconds, self.force_close)

    def _forget_head(self) -> None:
        self._head_size = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request, and so a credential
    ) -> StreamResponse:
        """Always JSON, and never what went wrong inside."""
        if status >= 500:
            _LOG.error("a request could not be handled", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the reply has begun")
        text = "the gateway has failed" if status >= 500 else "this cannot be read as a request"
        response = WholeResponse(json_reply({"error": text}, status))
        response.force_close()
        return response
