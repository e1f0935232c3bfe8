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
from llmfail.wire.deadline import Deadline, DeadlineBackend
from llmfail.wire.error_mapping import (
    MAX_REPLY_BYTES,
    decode_headers,
    headers_of,
    make_closed_error,
    make_too_long_error,
    map_body_errors,
    map_wire_errors,
)
from llmfail.wire.proxy_and_tls import (
    NetworkRoute,
    check_proxy_settings,
    find_network_route,
    find_proxy,
    load_ssl_context,
    map_proxy_errors,
)

POOL_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""Each thread that calls has a connection: none waits for another's."""


class _PoolRoute(NamedTuple):
    """The way to one URL, found once: parsing it and asking the environment takes as long as sending."""

    proxy: httpx.Proxy | None
    pool: httpcore.ConnectionPool
    url: httpcore.URL
    host: tuple[bytes, bytes]


class HttpxWire:
    """Connections of this process. May be used by several threads; each call blocks its own."""

    def __init__(self) -> None:
        self._deadline = Deadline()
        self._clients: dict[NetworkRoute, httpx.Client] = {}
        self._routes: dict[str, _PoolRoute] = {}
        self._clients_lock = threading.Lock()

    def send(self, call: Call, timeout: float) -> Reply:
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        reply = self._receive_head(call, timeout)
        try:
            headers = decode_headers(reply.headers)
            return Reply(reply.status, headers, b"".join(_iter_pieces(call, reply, headers)))
        finally:
            reply.close()

    def open(self, call: Call, timeout: float) -> HttpxReply:
        """A reply whose head is here. Raises WireError; ``timeout`` in seconds covers everything up to there.
        Who opens it closes it.
        """
        return HttpxReply(call, self._receive_head(call, timeout), self._deadline)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._routes.clear()

    def _receive_head(self, call: Call, timeout: float) -> httpcore.Response:
        """Starts the limit of this thread, which goes on for whatever is read of the reply."""
        self._deadline.start(timeout)
        with map_wire_errors(call):
            door = self._routes.get(call.url) or self._find_pool_route(call.url)
            request = _build_request(call, door, timeout)
            with map_proxy_errors(door.proxy, call), map_httpcore_exceptions():
                return door.pool.handle_request(request)

    def _find_pool_route(self, url: str) -> _PoolRoute:
        way, parsed = find_network_route(url), httpx.URL(url)
        with self._clients_lock:
            transport = self._client_for(way)._transport_for_url(parsed)  # noqa: SLF001 - no public way
        assert isinstance(transport, httpx.HTTPTransport)
        proxy = None if way.is_direct else find_proxy(parsed)
        target = httpcore.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        self._routes[url] = _PoolRoute(proxy, transport._pool, target, (b"host", parsed.netloc))  # noqa: SLF001
        return self._routes[url]

    def _client_for(self, way: NetworkRoute) -> httpx.Client:
        if way not in self._clients:
            with check_proxy_settings(way):
                client = httpx.Client(
                    verify=load_ssl_context(way), trust_env=not way.is_direct, limits=POOL_LIMITS
                )
            for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - no public way
                if isinstance(transport, httpx.HTTPTransport):
                    transport._pool._network_backend = DeadlineBackend(self._deadline)  # noqa: SLF001
            self._clients[way] = client
        return self._clients[way]


class HttpxReply:
    """A reply that is read as it comes, by one thread; several may be read in turns. What is not closed keeps
    its connection.
    """

    def __init__(self, call: Call, reply: httpcore.Response, deadline: Deadline) -> None:
        self.status = reply.status
        self.headers = decode_headers(reply.headers)
        self._call = call
        self._reply = reply
        self._deadline = deadline
        self._pieces = _iter_pieces(call, reply, self.headers)
        self._is_closed = False

    def read(self, timeout: float) -> bytes:
        """The next piece of the body, as soon as one is there within ``timeout`` seconds; b"" once the body
        is over. Raises WireError, after which the reply is closed.
        """
        if self._is_closed:
            raise make_closed_error(self._call)
        self._deadline.start(timeout)
        try:
            return next(self._pieces, b"")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """A connection whose body was read to its end is used again; any other ends here."""
        self._is_closed = True
        self._reply.close()


def _build_request(call: Call, route: _PoolRoute, timeout: float) -> httpcore.Request:
    """Past httpx's client and its requests, which cost as much as the connection itself."""
    headers = [(name.encode("ascii"), text.encode("ascii")) for name, text in headers_of(call).items()]
    length = (b"content-length", str(len(call.body)).encode())
    return httpcore.Request(
        call.method,
        route.url,
        headers=[route.host, *headers, *([length] if call.body else [])],
        content=call.body,
        extensions={"timeout": {"pool": timeout}},
    )


def _iter_raw(reply: httpcore.Response) -> Iterator[bytes]:
    assert isinstance(reply.stream, Iterable)
    return iter(reply.stream)


def _iter_decoded(reply: httpcore.Response) -> Iterator[bytes]:
    """A compressed reply, unpacked as httpx does it."""
    stream = _CompressedBody(_iter_raw(reply))
    return httpx.Response(reply.status, headers=reply.headers, stream=stream).iter_bytes()


class _CompressedBody(httpx.SyncByteStream):
    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


def _iter_pieces(call: Call, reply: httpcore.Response, headers: dict[str, str]) -> Iterator[bytes]:
    """The body, none of its pieces empty, within the limit of the thread that asks for the next one."""
    size = 0
    with map_wire_errors(call), map_body_errors(call), map_httpcore_exceptions():
        for piece in filter(
            None, _iter_decoded(reply) if "content-encoding" in headers else _iter_raw(reply)
        ):
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise make_too_long_error(call)
            yield piece
