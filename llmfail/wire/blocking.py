"""The wire for one call at a time per thread: blocking httpx whose every socket operation ends in time.

httpx limits each read, not the whole reply, so a server that sends a byte now and then could hold a caller
for ever. Here the network backend under httpx's pool cuts every operation to what is left of the call. The
pools are httpx's, with its proxies, certificates and errors; each call goes to its pool directly.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import httpcore
import httpx
from httpx._transports.default import map_httpcore_exceptions

from llmfail.core.model import Call, Reply
from llmfail.wire.environment import Way, proxy_errors, proxy_settings, proxy_to, trust, way_to
from llmfail.wire.failures import (
    CONNECT_LIMIT,
    MOST_BYTES,
    OutOfTimeError,
    body_errors,
    headers_from,
    headers_of,
    too_long,
    wire_errors,
)

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""Each thread that calls has a connection: none waits for another's."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class _Door(NamedTuple):
    """The way to one URL, found once: parsing it and asking the environment takes as long as sending."""

    proxy: httpx.Proxy | None
    pool: httpcore.ConnectionPool
    url: httpcore.URL
    host: tuple[bytes, bytes]


class Wire:
    """Connections of this process. May be used by several threads; each call blocks its own."""

    def __init__(self) -> None:
        self._limit = _Limit()
        self._clients: dict[Way, httpx.Client] = {}
        self._doors: dict[str, _Door] = {}
        self._making = threading.Lock()

    def send(self, call: Call, timeout: float) -> Reply:
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        self._limit.start(timeout)
        with wire_errors(call):
            door = self._doors.get(call.url) or self._door(call.url)
            request = _request(call, door, timeout)
            with proxy_errors(door.proxy, call), map_httpcore_exceptions():
                reply = door.pool.handle_request(request)
            try:
                with body_errors(call), map_httpcore_exceptions():
                    headers = headers_from(reply.headers)
                    body = _body(call, _decoded(reply) if "content-encoding" in headers else _parts(reply))
            finally:
                reply.close()
        return Reply(reply.status, headers, body)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._doors.clear()

    def _door(self, url: str) -> _Door:
        way, parsed = way_to(url), httpx.URL(url)
        with self._making:
            transport = self._client(way)._transport_for_url(parsed)  # noqa: SLF001 - no public way
        assert isinstance(transport, httpx.HTTPTransport)
        proxy = None if way.direct else proxy_to(parsed)
        target = httpcore.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        self._doors[url] = _Door(proxy, transport._pool, target, (b"host", parsed.netloc))  # noqa: SLF001
        return self._doors[url]

    def _client(self, way: Way) -> httpx.Client:
        if way not in self._clients:
            with proxy_settings(way):
                client = httpx.Client(verify=trust(way), trust_env=not way.direct, limits=LIMITS)
            for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - no public way
                if isinstance(transport, httpx.HTTPTransport):
                    transport._pool._network_backend = _Backend(self._limit)  # noqa: SLF001
            self._clients[way] = client
        return self._clients[way]


def _request(call: Call, door: _Door, timeout: float) -> httpcore.Request:
    """Past httpx's client and its requests, which cost as much as the connection itself."""
    headers = [(name.encode("ascii"), text.encode("ascii")) for name, text in headers_of(call).items()]
    length = (b"content-length", str(len(call.body)).encode())
    return httpcore.Request(
        call.method,
        door.url,
        headers=[door.host, *headers, *([length] if call.body else [])],
        content=call.body,
        extensions={"timeout": {"pool": timeout}},
    )


def _parts(reply: httpcore.Response) -> Iterator[bytes]:
    assert isinstance(reply.stream, Iterable)
    return iter(reply.stream)


def _decoded(reply: httpcore.Response) -> Iterator[bytes]:
    """A compressed reply, unpacked as httpx does it."""
    stream = _Compressed(_parts(reply))
    return httpx.Response(reply.status, headers=reply.headers, stream=stream).iter_bytes()


class _Compressed(httpx.SyncByteStream):
    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


def _body(call: Call, parts: Iterator[bytes]) -> bytes:
    kept: list[bytes] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MOST_BYTES:
            raise too_long(call)
        kept.append(part)
    return b"".join(kept)


class _Limit(threading.local):
    """When the call of this thread must be over."""

    ends_at = 0.0

    def start(self, timeout: float) -> None:
        self.ends_at = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds left; raises OutOfTimeError when there are none."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return left

    def cut(self, timeout: float | None) -> float:
        """A timeout, cut to what is left."""
        left = self.left()
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    """Opens connections within the limit, and hands out streams that keep to it."""

    def __init__(self, limit: _Limit) -> None:
        self._limit = limit
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolve(host, port, self._limit.cut(timeout))
        last: Exception | None = None
        for address in addresses:
            wait = min(CONNECT_LIMIT, self._limit.cut(timeout))
            try:
                stream = self._inner.connect_tcp(address, port, wait, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _Stream(stream, self._limit)
        raise last or socket.gaierror(f"no address for {host}")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, limit: _Limit) -> None:
        self._inner = inner
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._limit.cut(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._limit.cut(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._limit.cut(timeout))
        return _Stream(secured, self._limit)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own signature
        return self._inner.get_extra_info(info)


def _resolve(host: str, port: int, timeout: float) -> list[str]:
    """The addresses of a host. The system's resolver knows no limit, so it works in a thread of its own."""
    if _is_address(host):
        return [host]
    found: list[str] = []
    failures: list[OSError] = []

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(info[4][0]) for info in infos))
        except (OSError, UnicodeError) as error:
            failures.append(error if isinstance(error, OSError) else socket.gaierror(str(error)))

    _within(look_up, timeout)
    if failures:
        raise failures[0]
    if not found:
        raise socket.gaierror(socket.EAI_AGAIN, "the resolver did not answer in time")
    return found


def _within(work: Callable[[], None], timeout: float) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, UnicodeError):
            continue
        return True
    return False
