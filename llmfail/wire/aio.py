"""The wire for asyncio: hundreds to thousands of calls at once, nothing waited for without a limit.

The connections are aiohttp's: httpcore's pool looks at all of its own for every call, which takes 1.5 ms of
processor time with 64 at once and 15 with 500, where aiohttp takes 0.12. What is sent and read on them is
ours (``connector``, ``reply_parser``): a call takes a third of what aiohttp's own request and response do.
Which proxy, which certificates and what an error means are one matter for both wires.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp
from yarl import URL

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call, Reply
from llmfail.wire.call_slots import CallSlots, compute_max_calls
from llmfail.wire.connector import CallProtocol, Connector, ServerConnections
from llmfail.wire.decompression import Decompressor
from llmfail.wire.error_mapping import (
    MAX_REPLY_BYTES,
    NO_REPLY,
    BrokenConnectionError,
    ConnectError,
    ConnectTimeoutError,
    ProxyError,
    find_body_error,
    find_wire_error,
    headers_of,
    host_of,
    make_closed_error,
    make_too_long_error,
)
from llmfail.wire.proxy_and_tls import (
    NetworkRoute,
    Proxy,
    find_network_route,
    load_ssl_context,
    map_proxy_errors,
)
from llmfail.wire.reply_memory import HeldReply, ReplyMemory
from llmfail.wire.reply_parser import ReplyParser
from llmfail.wire.request_url import RequestUrl, parse_url

MAX_ROUTES = 1024
"""A URL names the model with some providers, and programs may name any."""


class _CallRoute(NamedTuple):
    """The way to one URL, found once. ``target`` is that of the request line, and ``host_lines`` are the
    headers that belong to the way.
    """

    server: ServerConnections
    target: str
    host_lines: str
    proxy: Proxy | None


class AiohttpWire:
    """Connections of one event loop. A call beyond ``max_calls``, which file descriptors limit, waits for its
    turn; when it runs out of time after that, it says nothing about the provider.
    """

    def __init__(self, max_calls: int | None = None) -> None:
        self._max_calls = max_calls or compute_max_calls()
        self._slots = CallSlots(self._max_calls)
        self._reply_memory = ReplyMemory()
        self._connectors: dict[NetworkRoute, Connector] = {}
        self._routes: dict[str, _CallRoute] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        read_by = asyncio.get_running_loop().time() + timeout
        reply = await self._open_in_turn(call, read_by)
        try:
            body = await reply.read_whole(read_by, self._reply_memory)
        finally:
            reply.end()
        return Reply(reply.status, reply.headers, body)

    async def open(self, call: Call, timeout: float) -> AiohttpReply:  # noqa: ASYNC109 - as above
        """A reply whose head is here. Raises WireError; ``timeout`` in seconds covers everything up to there.
        The reply holds its turn until whoever opened it closes it.
        """
        return await self._open_in_turn(call, asyncio.get_running_loop().time() + timeout)

    async def close(self) -> None:
        for connector in self._connectors.values():
            await connector.close_all()
        self._connectors.clear()
        self._routes.clear()
        # asyncio closes the transports of calls that were stopped one turn of the loop later.
        await asyncio.sleep(0)

    async def _open_in_turn(self, call: Call, read_by: float) -> AiohttpReply:
        """A reply whose head is here by then, in the time of the event loop. Where nothing is left to connect
        with, a call of ours that is under way has to end first.
        """
        waited = 0.0
        while True:
            waited += await self._acquire_slot(call, read_by)
            try:
                return await self._open(call, read_by, waited)
            except BaseException as error:
                if _is_exhaustion(error) and self._slots.retire():
                    continue
                self._slots.release()
                raise

    async def _acquire_slot(self, call: Call, read_by: float) -> float:
        """The seconds that were waited for it."""
        if not self._slots.are_all_taken():
            await self._slots.acquire()
            return 0.0
        started = time.monotonic()
        try:
            async with asyncio.timeout_at(read_by):
                await self._slots.acquire()
        except TimeoutError as error:
            limit = f"{self._max_calls} calls at once (ulimit -n)"
            text = f"{host_of(call)}: not asked, no turn in time among {limit}"
            raise WireError("turn", text) from error
        return time.monotonic() - started

    async def _open(self, call: Call, read_by: float, waited: float) -> AiohttpReply:
        try:
            _require_time(read_by)
            route = self._routes.get(call.url) or self._find_call_route(call.url)
            head = _write_head(call, route)
            protocol = route.server.find_idle()
            if protocol is None:
                protocol = await _connect(route, read_by)
            try:
                protocol.start_call(head, call.body)
                reply = await protocol.read_head(read_by)
            except BaseException:
                protocol.leave()
                raise
        except Exception as error:
            found = find_wire_error(call, error)
            if found is None:
                raise
            raise _attribute_timeout(call, found, waited) from error
        return AiohttpReply(call, route.server, protocol, reply, self._slots, waited)

    def _find_call_route(self, url: str) -> _CallRoute:
        parsed = parse_url(url)
        route = find_network_route(parsed)
        proxy = route.proxy
        if proxy and proxy.scheme not in {"http", "https"}:
            raise UsageError(
                "the proxy of the environment is a SOCKS proxy; asyncio calls need an HTTP proxy"
            )
        request = aiohttp.ClientRequest(
            "POST",
            URL(parsed.text, encoded=True),
            loop=asyncio.get_running_loop(),
            proxy=_build_proxy_url(proxy) if proxy else None,
        )
        # A proxy forwards what is sent without TLS; for the rest it only connects.
        is_forwarded = proxy is not None and parsed.scheme == "http"
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[url] = _CallRoute(
            self._connector_for(route).connections_of(request),
            parsed.text if is_forwarded else parsed.target,
            _write_host_lines(parsed, proxy if is_forwarded else None),
            proxy,
        )
        return self._routes[url]

    def _connector_for(self, route: NetworkRoute) -> Connector:
        if route not in self._connectors:
            self._connectors[route] = Connector(load_ssl_context(route))
        return self._connectors[route]


class AiohttpReply:
    """A reply that is read as it comes. What is not closed keeps its connection, and its turn, for which it
    ``waited`` so many seconds.
    """

    def __init__(
        self,
        call: Call,
        server: ServerConnections,
        protocol: CallProtocol,
        reply: ReplyParser,
        slots: CallSlots,
        waited: float,
    ) -> None:
        self.waited = waited
        self.status = reply.status
        self.headers = reply.headers
        self._call = call
        self._server = server
        self._protocol = protocol
        coding = reply.headers.get("content-encoding")
        self._decompressor = None if coding is None else Decompressor(coding)
        self._size = 0
        self._slots = slots
        self._is_closed = False

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the limit of the other wire, too
        """The next piece of the body, as soon as one is there within ``timeout`` seconds; b"" once the body
        is over. Raises WireError; after that, as after a cancellation, the reply is closed.
        """
        if self._is_closed:
            raise make_closed_error(self._call)
        try:
            return await self._read_piece(asyncio.get_running_loop().time() + timeout)
        except BaseException as error:
            self.end()
            found = self._find_error(error)
            if found is None:
                raise
            raise found from error

    async def read_whole(self, read_by: float, memory: ReplyMemory) -> bytes:
        """The body. Raises WireError."""
        try:
            first = await self._read_piece(read_by)
            if self._protocol.is_read:
                return first
            with HeldReply(memory, self._call) as held:
                held.add(first)
                while piece := await self._read_piece(read_by):
                    held.add(piece)
                return held.join()
        except Exception as error:
            found = self._find_error(error)
            if found is None:
                raise
            raise _attribute_timeout(self._call, found, self.waited) from error

    async def close(self) -> None:
        """As ``end``. Nothing is waited for, so no cancellation comes in between."""
        self.end()

    def end(self) -> None:
        """A connection whose body came to its end is used again; any other ends here."""
        if not self._is_closed:
            self._is_closed = True
            self._server.take_back(self._protocol)
            self._slots.release()

    async def _read_piece(self, read_by: float) -> bytes:
        """What is there, as soon as something is; b"" once the body is over."""
        while piece := await self._protocol.read_body(read_by):
            if self._decompressor is not None:
                piece = self._decompressor.decompress(piece)
            self._size += len(piece)
            if self._size > MAX_REPLY_BYTES:
                raise make_too_long_error(self._call)
            if piece:
                return piece
        return b""

    def _find_error(self, error: BaseException) -> WireError | None:
        if not isinstance(error, Exception):
            return None
        return find_body_error(self._call, error) or find_wire_error(self._call, error)


def _is_exhaustion(error: BaseException) -> bool:
    return isinstance(error, WireError) and error.cause == "exhaustion"


def _require_time(read_by: float) -> None:
    """Raises TimeoutError where no time is left: a provider might be paid for what nobody waits for."""
    if asyncio.get_running_loop().time() >= read_by:
        raise TimeoutError


async def _connect(route: _CallRoute, read_by: float) -> CallProtocol:
    with map_proxy_errors(route.proxy), _map_aiohttp_errors(is_proxied=route.proxy is not None):
        async with asyncio.timeout_at(read_by):
            return await route.server.open_new()


def _write_head(call: Call, route: _CallRoute) -> bytes:
    """The request without its body. Raises ValueError for a header that HTTP cannot carry."""
    headers = headers_of(call)
    text = "".join([*headers, *headers.values()])
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a header that HTTP cannot carry")
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    host_lines = "" if "host" in headers else route.host_lines
    first = f"{call.method} {route.target} HTTP/1.1\r\n{host_lines}"
    return f"{first}{''.join(lines)}content-length: {len(call.body)}\r\n\r\n".encode("ascii")


def _write_host_lines(url: RequestUrl, proxy: Proxy | None) -> str:
    """``proxy`` is one that forwards the request."""
    host = f"host: {url.authority}\r\n"
    if proxy is None or proxy.credentials is None:
        return host
    token = b64encode(":".join(proxy.credentials).encode()).decode("ascii")
    return f"{host}proxy-authorization: Basic {token}\r\n"


def _attribute_timeout(call: Call, error: WireError, waited: float) -> WireError:
    """Who had to wait for a turn had less time than the provider is judged by. It may have been sent."""
    if error.cause != "timeout" or not waited:
        return error
    text = f"{host_of(call)}: no answer in time, after {waited:.2g} s for a turn (ulimit -n)"
    return WireError("standstill", text)


def _build_proxy_url(proxy: Proxy) -> URL:
    user, password = proxy.credentials or (None, None)
    return URL.build(scheme=proxy.scheme, host=proxy.host, port=proxy.port, user=user, password=password)


@contextmanager
def _map_aiohttp_errors(*, is_proxied: bool = False) -> Iterator[None]:
    """Errors of aiohttp as those of ``error_mapping``, the system's own behind them. Their texts may quote
    what was sent or received, so only a proxy's status is kept.
    """
    try:
        yield
    except aiohttp.InvalidURL:
        raise
    except aiohttp.ClientHttpProxyError as error:
        raise ProxyError(f"{error.status} {error.message}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise ConnectTimeoutError("no connection") from error
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientConnectorDNSError) as error:
        raise ConnectError("no connection") from error.__cause__
    except aiohttp.ClientConnectorError as error:
        raise ConnectError("no connection") from (_find_tls_error(error) if is_proxied else error.__cause__)
    except aiohttp.ClientOSError as error:
        raise BrokenConnectionError("the connection broke off") from error.__cause__
    except aiohttp.ClientError as error:
        raise BrokenConnectionError(NO_REPLY) from error


def _find_tls_error(error: aiohttp.ClientConnectorError) -> ssl.SSLError:
    """Why TLS failed behind a proxy that had agreed; aiohttp loses what came right behind the consent."""
    cause = error.__cause__
    return cause if isinstance(cause, ssl.SSLError) else ssl.SSLError(1, "no TLS handshake behind the proxy")
