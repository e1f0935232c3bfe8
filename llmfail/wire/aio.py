"""The wire for asyncio: hundreds to thousands of calls at once, nothing waited for without a limit.

The connections are aiohttp's: httpx's pool looks at all of its own for every call, which takes 1.5 ms of
processor time with 64 at once and 15 with 500, where aiohttp takes 0.12. Which proxy, which certificates and
what an error means are one matter for both wires.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from typing import NamedTuple

import aiohttp
import httpx
from yarl import URL

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call, Reply
from llmfail.wire.connector import Connector
from llmfail.wire.error_mapping import (
    CONNECT_LIMIT,
    MOST_BYTES,
    already_closed,
    body_errors,
    headers_from,
    headers_of,
    host_of,
    too_long,
    wire_errors,
)
from llmfail.wire.proxy_and_tls import (
    Way,
    proxy_errors,
    proxy_settings,
    proxy_to,
    trust,
    way_to,
)

MOST_HEAD = 64 * 1024
"""Bytes in a line of a reply's head; aiohttp's own 8 KiB are fewer than some gateways send."""


class _Door(NamedTuple):
    """The way to one URL, found once."""

    session: aiohttp.ClientSession
    url: URL
    proxy: httpx.Proxy | None


class AsyncWire:
    """Connections of one event loop. A call beyond ``most``, which file descriptors limit, waits for its
    turn; when it runs out of time after that, it says nothing about the provider.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most or most_calls()
        self._turns = asyncio.Semaphore(self._most)
        self._sessions: dict[Way, aiohttp.ClientSession] = {}
        self._doors: dict[str, _Door] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        waited = await self._turn(call, timeout)
        try:
            with _own_delay(call, waited), wire_errors(call):
                async with asyncio.timeout(timeout - waited):
                    with closing(await self._head(call)) as reply:
                        body = await _Body(call, reply.content).rest()
                        return Reply(reply.status, headers_from(reply.raw_headers), body)
        finally:
            self._turns.release()

    async def open(self, call: Call, timeout: float) -> AsyncLiveReply:  # noqa: ASYNC109 - as above
        """A reply whose head is here. Raises WireError; ``timeout`` in seconds covers everything up to there.
        The reply holds its turn until whoever opened it closes it.
        """
        waited = await self._turn(call, timeout)
        try:
            with _own_delay(call, waited), wire_errors(call):
                async with asyncio.timeout(timeout - waited):
                    reply = await self._head(call)
        except BaseException:
            self._turns.release()
            raise
        return AsyncLiveReply(call, reply, self._turns, waited)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        self._doors.clear()
        # asyncio closes the transports of calls that were stopped one turn of the loop later.
        await asyncio.sleep(0)

    async def _turn(self, call: Call, timeout: float) -> float:  # noqa: ASYNC109 - as above
        """The seconds that were waited for it."""
        if not self._turns.locked():
            await self._turns.acquire()
            return 0.0
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                await self._turns.acquire()
        except TimeoutError as error:
            text = f"{host_of(call)}: not asked, no turn in time among {self._most} calls at once (ulimit -n)"
            raise WireError("turn", text) from error
        return time.monotonic() - started

    async def _head(self, call: Call) -> aiohttp.ClientResponse:
        door = self._doors.get(call.url) or self._door(call.url)
        with proxy_errors(door.proxy, call), _httpx_errors(proxied=door.proxy is not None):
            return await _request(call, door)

    def _door(self, url: str) -> _Door:
        way, parsed = way_to(url), httpx.URL(url).copy_with(userinfo=b"")
        with proxy_settings(way):
            proxy = None if way.direct else proxy_to(parsed)
        if proxy and proxy.url.scheme not in {"http", "https"}:
            raise UsageError(
                "the proxy of the environment is a SOCKS proxy; asyncio calls need an HTTP proxy"
            )
        self._doors[url] = _Door(self._session(way), URL(str(parsed), encoded=True), proxy)
        return self._doors[url]

    def _session(self, way: Way) -> aiohttp.ClientSession:
        if way not in self._sessions:
            self._sessions[way] = aiohttp.ClientSession(
                connector=Connector(trust(way)),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_LIMIT),
                skip_auto_headers=["accept-encoding", "content-type"],
                max_line_size=MOST_HEAD,
                max_field_size=MOST_HEAD,
            )
        return self._sessions[way]


class _Body:
    """The body of a reply, as it comes."""

    def __init__(self, call: Call, content: aiohttp.StreamReader) -> None:
        self._call = call
        self._content = content
        self._size = 0

    async def piece(self) -> bytes:
        """What is there, as soon as something is; b"" once the body is over."""
        with body_errors(self._call), _httpx_errors():
            piece = self._left() or await self._content.readany()
        self._size += len(piece)
        if self._size > MOST_BYTES:
            raise too_long(self._call)
        return piece

    async def rest(self) -> bytes:
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    def _left(self) -> bytes:
        """What came before a connection broke off; aiohttp itself would raise its error before that."""
        broken = self._content.exception() is not None
        return self._content._read_nowait(-1) if broken else b""  # noqa: SLF001 - no public way


class AsyncLiveReply:
    """A reply that is read as it comes. What is not closed keeps its connection, and its turn, for which it
    ``waited`` so many seconds.
    """

    def __init__(
        self, call: Call, reply: aiohttp.ClientResponse, turns: asyncio.Semaphore, waited: float
    ) -> None:
        self.waited = waited
        self.status = reply.status
        self.headers = headers_from(reply.raw_headers)
        self._call = call
        self._reply = reply
        self._body = _Body(call, reply.content)
        self._turns = turns
        self._closed = False

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the limit of the other wire, too
        """The next piece of the body, as soon as one is there within ``timeout`` seconds; b"" once the body
        is over. Raises WireError; after that, as after a cancellation, the reply is closed.
        """
        if self._closed:
            raise already_closed(self._call)
        try:
            with wire_errors(self._call):
                async with asyncio.timeout(timeout):
                    return await self._body.piece()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """A connection whose body came to its end is used again; any other ends here. Nothing is waited for,
        so no cancellation comes in between.
        """
        if not self._closed:
            self._closed = True
            self._reply.close()
            self._turns.release()


def most_calls() -> int:
    """At once: a quarter of the file descriptors. The rest is for idle connections to the targets that failed
    before, for the store and for whatever else this process does.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // 4) if soft != resource.RLIM_INFINITY else sys.maxsize


async def _request(call: Call, door: _Door) -> aiohttp.ClientResponse:
    """The head of the reply."""
    headers = headers_of(call)
    if not all(text.isascii() and text.isprintable() for text in headers.values()):
        raise ValueError("a header that HTTP cannot carry")
    return await door.session.request(
        call.method,
        door.url,
        headers=headers,
        # aiohttp warns of long bytes.
        data=BytesIO(call.body) if call.body else None,
        allow_redirects=False,
        proxy=_with_credentials(door.proxy) if door.proxy else None,
    )


def _with_credentials(proxy: httpx.Proxy) -> URL:
    user, password = proxy.auth or (None, None)
    return URL(str(proxy.url)).with_user(user).with_password(password)


@contextmanager
def _own_delay(call: Call, waited: float) -> Iterator[None]:
    """Who had to wait for a turn had less time than the provider is judged by. It may have been sent."""
    try:
        yield
    except WireError as error:
        if error.cause != "timeout" or not waited:
            raise
        text = f"{host_of(call)}: no answer in time, after {waited:.2g} s for a turn (ulimit -n)"
        raise WireError("standstill", text) from error


@contextmanager
def _httpx_errors(*, proxied: bool = False) -> Iterator[None]:
    """Errors of aiohttp as those of httpx, which the other wire raises too, the system's own behind them.
    Their texts may quote what was sent or received, so only a proxy's status is kept.
    """
    try:
        yield
    except aiohttp.InvalidURL:
        raise
    except aiohttp.ClientHttpProxyError as error:
        raise httpx.ProxyError(f"{error.status} {error.message}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("no connection") from error
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientConnectorDNSError) as error:
        raise httpx.ConnectError("no connection") from error.__cause__
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError("no connection") from _handshake(error) if proxied else error.__cause__
    except aiohttp.ClientOSError as error:
        raise httpx.ReadError("the connection broke off") from error.__cause__
    except aiohttp.ClientError as error:
        raise httpx.RemoteProtocolError("no reply") from error


def _handshake(error: aiohttp.ClientConnectorError) -> ssl.SSLError:
    """Why TLS failed behind a proxy that had agreed; aiohttp loses what came right behind the consent."""
    cause = error.__cause__
    return cause if isinstance(cause, ssl.SSLError) else ssl.SSLError(1, "no TLS handshake behind the proxy")
