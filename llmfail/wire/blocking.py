"""The wire for threads: each operation blocks its own, on blocking httpx whose sockets keep to a limit.

The pools are httpx's, with its proxies, certificates and errors; each call goes to its pool directly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import httpcore
import httpx
from httpx._transports.default import map_httpcore_exceptions

from llmfail.core.model import Call, Reply
from llmfail.wire.deadline import Backend, Limit
from llmfail.wire.error_mapping import (
    MOST_BYTES,
    already_closed,
    body_errors,
    headers_from,
    headers_of,
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

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""Each thread that calls has a connection: none waits for another's."""


class _Door(NamedTuple):
    """The way to one URL, found once: parsing it and asking the environment takes as long as sending."""

    proxy: httpx.Proxy | None
    pool: httpcore.ConnectionPool
    url: httpcore.URL
    host: tuple[bytes, bytes]


class Wire:
    """Connections of this process. May be used by several threads; each call blocks its own."""

    def __init__(self) -> None:
        self._limit = Limit()
        self._clients: dict[Way, httpx.Client] = {}
        self._doors: dict[str, _Door] = {}
        self._making = threading.Lock()

    def send(self, call: Call, timeout: float) -> Reply:
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        reply = self._head(call, timeout)
        try:
            headers = headers_from(reply.headers)
            return Reply(reply.status, headers, b"".join(_pieces(call, reply, headers)))
        finally:
            reply.close()

    def open(self, call: Call, timeout: float) -> LiveReply:
        """A reply whose head is here. Raises WireError; ``timeout`` in seconds covers everything up to there.
        Who opens it closes it.
        """
        return LiveReply(call, self._head(call, timeout), self._limit)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._doors.clear()

    def _head(self, call: Call, timeout: float) -> httpcore.Response:
        """Starts the limit of this thread, which goes on for whatever is read of the reply."""
        self._limit.start(timeout)
        with wire_errors(call):
            door = self._doors.get(call.url) or self._door(call.url)
            request = _request(call, door, timeout)
            with proxy_errors(door.proxy, call), map_httpcore_exceptions():
                return door.pool.handle_request(request)

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
                    transport._pool._network_backend = Backend(self._limit)  # noqa: SLF001
            self._clients[way] = client
        return self._clients[way]


class LiveReply:
    """A reply that is read as it comes, by one thread; several may be read in turns. What is not closed keeps
    its connection.
    """

    def __init__(self, call: Call, reply: httpcore.Response, limit: Limit) -> None:
        self.status = reply.status
        self.headers = headers_from(reply.headers)
        self._call = call
        self._reply = reply
        self._limit = limit
        self._pieces = _pieces(call, reply, self.headers)
        self._closed = False

    def read(self, timeout: float) -> bytes:
        """The next piece of the body, as soon as one is there within ``timeout`` seconds; b"" once the body
        is over. Raises WireError, after which the reply is closed.
        """
        if self._closed:
            raise already_closed(self._call)
        self._limit.start(timeout)
        try:
            return next(self._pieces, b"")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """A connection whose body was read to its end is used again; any other ends here."""
        self._closed = True
        self._reply.close()


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


def _pieces(call: Call, reply: httpcore.Response, headers: dict[str, str]) -> Iterator[bytes]:
    """The body, none of its pieces empty, within the limit of the thread that asks for the next one."""
    size = 0
    with wire_errors(call), body_errors(call), map_httpcore_exceptions():
        for piece in filter(None, _decoded(reply) if "content-encoding" in headers else _parts(reply)):
            size += len(piece)
            if size > MOST_BYTES:
                raise too_long(call)
            yield piece
