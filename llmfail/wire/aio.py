"""The wire for asyncio: hundreds to thousands of calls at once, nothing waited for without a limit.

The connections are aiohttp's: httpcore's pool looks at all of its own for every call, which takes 1.5 ms of
processor time with 64 at once and 15 with 500, where aiohttp takes 0.12. Which proxy, which certificates and
what an error means are one matter for both wires.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from typing import NamedTuple

import aiohttp
from yarl import URL

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call, Reply
from llmfail.wire.call_slots import CallSlots, compute_max_calls
from llmfail.wire.connector import Connector
from llmfail.wire.error_mapping import (
    CONNECT_TIMEOUT_SECONDS,
    MAX_REPLY_BYTES,
    NO_REPLY,
    BrokenConnectionError,
    ConnectError,
    ConnectTimeoutError,
    ProxyError,
    decode_headers,
    headers_of,
    host_of,
    make_closed_error,
    make_too_long_error,
    map_body_errors,
    map_wire_errors,
)
from llmfail.wire.proxy_and_tls import (
    NetworkRoute,
    Proxy,
    find_network_route,
    load_ssl_context,
    map_proxy_errors,
)
from llmfail.wire.reply_memory import HeldReply, ReplyMemory
from llmfail.wire.request_url import parse_url

MAX_HEAD_LINE_BYTES = 64 * 1024
"""Bytes in a line of a reply's head; aiohttp's own 8 KiB are fewer than some gateways send."""


class _SessionRoute(NamedTuple):
    """The way to one URL, found once."""

    session: aiohttp.ClientSession
    url: URL
    proxy: Proxy | None
    proxy_url: URL | None


class AiohttpWire:
    """Connections of one event loop. A call beyond ``max_calls``, which file descriptors limit, waits for its
    turn; when it runs out of time after that, it says nothing about the provider.
    """

    def __init__(self, max_calls: int | None = None) -> None:
        self._max_calls = max_calls or compute_max_calls()
        self._slots = CallSlots(self._max_calls)
        self._reply_memory = ReplyMemory()
        self._sessions: dict[NetworkRoute, aiohttp.ClientSession] = {}
        self._routes: dict[str, _SessionRoute] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        ends_at = time.monotonic() + timeout
        reply, waited = await self._open_in_turn(call, ends_at)
        try:
            with _attribute_timeout(call, waited), map_wire_errors(call), closing(reply):
                async with asyncio.timeout(ends_at - time.monotonic()):
                    with HeldReply(self._reply_memory, call) as held:
                        await _BodyReader(call, reply.content).read_rest(held)
                        return Reply(reply.status, decode_headers(reply.raw_headers), held.join())
        finally:
            self._slots.release()

    async def open(self, call: Call, timeout: float) -> AiohttpReply:  # noqa: ASYNC109 - as above
        """A reply whose head is here. Raises WireError; ``timeout`` in seconds covers everything up to there.
        The reply holds its turn until whoever opened it closes it.
        """
        reply, waited = await self._open_in_turn(call, time.monotonic() + timeout)
        return AiohttpReply(call, reply, self._slots, waited)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        self._routes.clear()
        # asyncio closes the transports of calls that were stopped one turn of the loop later.
        await asyncio.sleep(0)

    async def _open_in_turn(self, call: Call, ends_at: float) -> tuple[aiohttp.ClientResponse, float]:
        """A reply whose head is here, and the seconds that were waited for its turn, which is to be released.
        Where nothing is left to connect with, a call of ours that is under way has to end first.
        """
        waited = 0.0
        while True:
            waited += await self._acquire_slot(call, ends_at - time.monotonic())
            try:
                with _attribute_timeout(call, waited), map_wire_errors(call):
                    async with asyncio.timeout(ends_at - time.monotonic()):
                        return await self._receive_head(call), waited
            except BaseException as error:
                if _is_exhaustion(error) and self._slots.retire():
                    continue
                self._slots.release()
                raise

    async def _acquire_slot(self, call: Call, timeout: float) -> float:  # noqa: ASYNC109 - as above
        """The seconds that were waited for it."""
        if not self._slots.are_all_taken():
            await self._slots.acquire()
            return 0.0
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
        except TimeoutError as error:
            limit = f"{self._max_calls} calls at once (ulimit -n)"
            text = f"{host_of(call)}: not asked, no turn in time among {limit}"
            raise WireError("turn", text) from error
        return time.monotonic() - started

    async def _receive_head(self, call: Call) -> aiohttp.ClientResponse:
        route = self._routes.get(call.url) or self._find_session_route(call.url)
        with map_proxy_errors(route.proxy), _map_aiohttp_errors(is_proxied=route.proxy is not None):
            return await _send_request(call, route)

    def _find_session_route(self, url: str) -> _SessionRoute:
        parsed = parse_url(url)
        route = find_network_route(parsed)
        if route.proxy and route.proxy.scheme not in {"http", "https"}:
            raise UsageError(
                "the proxy of the environment is a SOCKS proxy; asyncio calls need an HTTP proxy"
            )
        proxy_url = _build_proxy_url(route.proxy) if route.proxy else None
        self._routes[url] = _SessionRoute(
            self._session_for(route), URL(parsed.text, encoded=True), route.proxy, proxy_url
        )
        return self._routes[url]

    def _session_for(self, route: NetworkRoute) -> aiohttp.ClientSession:
        if route not in self._sessions:
            self._sessions[route] = aiohttp.ClientSession(
                connector=Connector(load_ssl_context(route)),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_SECONDS),
                skip_auto_headers=["accept-encoding", "content-type"],
                max_line_size=MAX_HEAD_LINE_BYTES,
                max_field_size=MAX_HEAD_LINE_BYTES,
            )
        return self._sessions[route]


class _BodyReader:
    """The body of a reply, as it comes."""

    def __init__(self, call: Call, content: aiohttp.StreamReader) -> None:
        self._call = call
        self._content = content
        self._size = 0

    async def read_piece(self) -> bytes:
        """What is there, as soon as something is; b"" once the body is over."""
        with map_body_errors(self._call), _map_aiohttp_errors():
            piece = self._read_after_break() or await self._content.readany()
        self._size += len(piece)
        if self._size > MAX_REPLY_BYTES:
            raise make_too_long_error(self._call)
        return piece

    async def read_rest(self, held: HeldReply) -> None:
        while piece := await self.read_piece():
            held.add(piece)

    def _read_after_break(self) -> bytes:
        """What came before a connection broke off; aiohttp itself would raise its error before that."""
        broken = self._content.exception() is not None
        return self._content._read_nowait(-1) if broken else b""  # noqa: SLF001 - no public way


class AiohttpReply:
    """A reply that is read as it comes. What is not closed keeps its connection, and its turn, for which it
    ``waited`` so many seconds.
    """

    def __init__(self, call: Call, reply: aiohttp.ClientResponse, slots: CallSlots, waited: float) -> None:
        self.waited = waited
        self.status = reply.status
        self.headers = decode_headers(reply.raw_headers)
        self._call = call
        self._reply = reply
        self._body = _BodyReader(call, reply.content)
        self._slots = slots
        self._is_closed = False

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the limit of the other wire, too
        """The next piece of the body, as soon as one is there within ``timeout`` seconds; b"" once the body
        is over. Raises WireError; after that, as after a cancellation, the reply is closed.
        """
        if self._is_closed:
            raise make_closed_error(self._call)
        try:
            with map_wire_errors(self._call):
                async with asyncio.timeout(timeout):
                    return await self._body.read_piece()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """A connection whose body came to its end is used again; any other ends here. Nothing is waited for,
        so no cancellation comes in between.
        """
        if not self._is_closed:
            self._is_closed = True
            self._reply.close()
            self._slots.release()


def _is_exhaustion(error: BaseException) -> bool:
    return isinstance(error, WireError) and error.cause == "exhaustion"


async def _send_request(call: Call, route: _SessionRoute) -> aiohttp.ClientResponse:
    """The head of the reply."""
    headers = headers_of(call)
    if not all(text.isascii() and text.isprintable() for text in headers.values()):
        raise ValueError("a header that HTTP cannot carry")
    return await route.session.request(
        call.method,
        route.url,
        headers=headers,
        # aiohttp warns of long bytes.
        data=BytesIO(call.body) if call.body else None,
        allow_redirects=False,
        proxy=route.proxy_url,
    )


def _build_proxy_url(proxy: Proxy) -> URL:
    user, password = proxy.credentials or (None, None)
    return URL.build(scheme=proxy.scheme, host=proxy.host, port=proxy.port, user=user, password=password)


@contextmanager
def _attribute_timeout(call: Call, waited: float) -> Iterator[None]:
    """Who had to wait for a turn had less time than the provider is judged by. It may have been sent."""
    try:
        yield
    except WireError as error:
        if error.cause != "timeout" or not waited:
            raise
        text = f"{host_of(call)}: no answer in time, after {waited:.2g} s for a turn (ulimit -n)"
        raise WireError("standstill", text) from error


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
