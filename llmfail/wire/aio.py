"""The wire for asyncio: hundreds to thousands of calls at once, each within its limit.

The connections are aiohttp's: httpx's pool looks at all of its own for every call, which takes 1.5 ms of
processor time with 64 at once and 15 with 500, where aiohttp takes 0.12. Which proxy, which certificates and
what an error means are one matter for both wires.
"""

from __future__ import annotations

import asyncio
import resource
import select
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

import aiohttp
import httpx
from yarl import URL

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call, Reply
from llmfail.wire.environment import Way, proxy_errors, proxy_settings, proxy_to, trust, way_to
from llmfail.wire.failures import (
    CONNECT_LIMIT,
    MOST_BYTES,
    OutOfTimeError,
    body_errors,
    headers_from,
    headers_of,
    host_of,
    too_long,
    wire_errors,
)

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

MOST_HEAD = 64 * 1024
"""Bytes in a line of a reply's head; aiohttp's own 8 KiB are fewer than some gateways send."""


class _Door(NamedTuple):
    """The way to one URL, found once."""

    session: aiohttp.ClientSession
    url: URL
    proxy: httpx.Proxy | None


class AsyncWire:
    """Connections of one event loop. A call beyond ``most``, which file descriptors limit, waits for its turn
    before its own limit begins: what waits here says nothing about the provider.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most or most_calls()
        self._turns = asyncio.Semaphore(self._most)
        self._sessions: dict[Way, aiohttp.ClientSession] = {}
        self._doors: dict[str, _Door] = {}

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - it covers the whole call
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything but the turn."""
        with wire_errors(call):
            await self._turn(call, timeout)
            try:
                async with asyncio.timeout(timeout):
                    return await self._exchange(call)
            except TimeoutError as error:
                raise OutOfTimeError from error
            finally:
                self._turns.release()

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        self._doors.clear()
        # asyncio closes the transports of calls that were stopped one turn of the loop later.
        await asyncio.sleep(0)

    async def _turn(self, call: Call, timeout: float) -> None:  # noqa: ASYNC109 - as above
        try:
            async with asyncio.timeout(timeout):
                await self._turns.acquire()
        except TimeoutError as error:
            text = f"{host_of(call)}: not asked, no turn in time among {self._most} calls at once (ulimit -n)"
            raise WireError("timeout", text) from error

    async def _exchange(self, call: Call) -> Reply:
        door = self._doors.get(call.url) or self._door(call.url)
        with proxy_errors(door.proxy, call), _httpx_errors(proxied=door.proxy is not None):
            reply = await _request(call, door)
        with body_errors(call), _httpx_errors():
            async with reply:
                body = await _body(call, reply)
        return Reply(reply.status, headers_from(reply.raw_headers), body)

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
                connector=_Connector(trust(way)),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_LIMIT),
                skip_auto_headers=["content-type"],
                max_line_size=MOST_HEAD,
                max_field_size=MOST_HEAD,
            )
        return self._sessions[way]


class _Connector(aiohttp.TCPConnector):
    """A pool that hands out no connection on which the server has said goodbye: nobody could tell afterwards
    whether a call on it had arrived.
    """

    def __init__(self, trusted: ssl.SSLContext) -> None:
        super().__init__(limit=0, ssl=trusted, resolver=aiohttp.ThreadedResolver())
        self._known: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            assert connection.protocol is not None
            if connection.protocol not in self._known:
                self._known.add(connection.protocol)
                return connection
            if not _has_news(connection):
                return connection
            connection.close()


def most_calls() -> int:
    """At once: a quarter of the file descriptors. The rest is for idle connections to the targets that failed
    before, for the store and for whatever else this process does.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // 4) if soft != resource.RLIM_INFINITY else sys.maxsize


def _has_news(connection: Connection) -> bool:
    """Whether something came while nothing was asked; the event loop may not have seen it yet."""
    assert connection.transport is not None
    sight = select.poll()
    sight.register(connection.transport.get_extra_info("socket"), select.POLLIN)
    return bool(sight.poll(0))


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


async def _body(call: Call, reply: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > MOST_BYTES:
            raise too_long(call)
        parts.append(part)
    return b"".join(parts)


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
