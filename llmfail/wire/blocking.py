"""The wire for threads: each operation blocks its own, on connections of httpcore that keep to a deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NamedTuple

import httpcore

from llmfail.core.errors import UsageError
from llmfail.core.model import Call, Reply
from llmfail.wire.deadline import Deadline, DeadlineBackend
from llmfail.wire.decompression import iter_decompressed
from llmfail.wire.error_mapping import (
    MAX_REPLY_BYTES,
    NO_REPLY,
    BrokenConnectionError,
    ConnectError,
    ConnectTimeoutError,
    OutOfTimeError,
    ProxyError,
    decode_headers,
    headers_of,
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

MAX_IDLE_CONNECTIONS = 20
"""For each route. How many are in use is not limited: no thread waits for the connection of another."""
MAX_IDLE_SECONDS = 5.0


class _PoolRoute(NamedTuple):
    """The way to one URL, found once: parsing it and asking the environment takes as long as sending."""

    pool: httpcore.ConnectionPool
    url: httpcore.URL
    host: tuple[bytes, bytes]
    proxy: Proxy | None


class HttpcoreWire:
    """Connections of this process. May be used by several threads; each call blocks its own."""

    def __init__(self) -> None:
        self._deadline = Deadline()
        self._pools: dict[NetworkRoute, httpcore.ConnectionPool] = {}
        self._routes: dict[str, _PoolRoute] = {}
        self._pools_lock = threading.Lock()
        self._reply_memory = ReplyMemory()

    def send(self, call: Call, timeout: float) -> Reply:
        """The whole reply. Raises WireError; ``timeout`` in seconds covers everything."""
        reply = self._receive_head(call, timeout)
        try:
            headers = decode_headers(reply.headers)
            with HeldReply(self._reply_memory, call) as held:
                for piece in _iter_pieces(call, reply, headers):
                    held.add(piece)
                return Reply(reply.status, headers, held.join())
        finally:
            reply.close()

    def open(self, call: Call, timeout: float) -> HttpcoreReply:
        """A reply whose head is here. Raises WireError; ``timeout`` in seconds covers everything up to there.
        Who opens it closes it.
        """
        return HttpcoreReply(call, self._receive_head(call, timeout), self._deadline)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._routes.clear()

    def _receive_head(self, call: Call, timeout: float) -> httpcore.Response:
        """Starts the limit of this thread, which goes on for whatever is read of the reply."""
        self._deadline.start(timeout)
        with map_wire_errors(call):
            route = self._routes.get(call.url) or self._find_pool_route(call.url)
            with map_proxy_errors(route.proxy), _map_httpcore_errors():
                return route.pool.handle_request(_build_request(call, route, timeout))

    def _find_pool_route(self, url: str) -> _PoolRoute:
        parsed = parse_url(url)
        route = find_network_route(parsed)
        with self._pools_lock:
            if route not in self._pools:
                self._pools[route] = _open_pool(route, self._deadline)
        self._routes[url] = _PoolRoute(
            self._pools[route],
            httpcore.URL(
                scheme=parsed.scheme.encode(),
                host=parsed.host.encode(),
                port=parsed.port,
                target=parsed.target.encode(),
            ),
            (b"host", parsed.authority.encode()),
            route.proxy,
        )
        return self._routes[url]


class HttpcoreReply:
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


def _open_pool(route: NetworkRoute, deadline: Deadline) -> httpcore.ConnectionPool:
    ssl_context = load_ssl_context(route)
    proxy = None
    if route.proxy:
        if route.proxy.scheme.startswith("socks") and not find_spec("socksio"):
            text = 'the proxy of the environment is a SOCKS proxy, which needs: pip install "httpcore[socks]"'
            raise UsageError(text)
        scheme, host = route.proxy.scheme.encode(), route.proxy.host.encode()
        user, password = route.proxy.credentials or ("", "")
        proxy = httpcore.Proxy(
            httpcore.URL(scheme=scheme, host=host, port=route.proxy.port, target=b"/"),
            auth=(user.encode(), password.encode()) if route.proxy.credentials else None,
            ssl_context=ssl_context if scheme == b"https" else None,
        )
    return httpcore.ConnectionPool(
        ssl_context=ssl_context,
        proxy=proxy,
        max_connections=None,
        max_keepalive_connections=MAX_IDLE_CONNECTIONS,
        keepalive_expiry=MAX_IDLE_SECONDS,
        network_backend=DeadlineBackend(deadline),
    )


def _build_request(call: Call, route: _PoolRoute, timeout: float) -> httpcore.Request:
    headers = [(name.encode("ascii"), text.encode("ascii")) for name, text in headers_of(call).items()]
    length = (b"content-length", str(len(call.body)).encode())
    return httpcore.Request(
        call.method,
        route.url,
        headers=[route.host, *headers, *([length] if call.body else [])],
        content=call.body,
        extensions={"timeout": {"pool": timeout}},
    )


def _iter_pieces(call: Call, reply: httpcore.Response, headers: dict[str, str]) -> Iterator[bytes]:
    """The body, none of its pieces empty, within the limit of the thread that asks for the next one."""
    assert isinstance(reply.stream, Iterable)
    reply.extensions["network_stream"].get_extra_info("reply_boundary").start_body(headers)
    pieces, size = iter(reply.stream), 0
    if "content-encoding" in headers:
        pieces = iter_decompressed(pieces, headers["content-encoding"])
    with map_wire_errors(call), map_body_errors(call), _map_httpcore_errors():
        for piece in filter(None, pieces):
            size += len(piece)
            if size > MAX_REPLY_BYTES:
                raise make_too_long_error(call)
            yield piece


@contextmanager
def _map_httpcore_errors() -> Iterator[None]:
    try:
        yield
    except httpcore.ConnectTimeout as error:
        raise ConnectTimeoutError from error
    except httpcore.TimeoutException as error:
        raise OutOfTimeError from error
    except httpcore.ProxyError as error:
        raise ProxyError(str(error)) from error
    except httpcore.ConnectError as error:
        raise ConnectError(str(error)) from error
    except httpcore.NetworkError as error:
        raise BrokenConnectionError(str(error)) from error
    except httpcore.RemoteProtocolError as error:
        raise BrokenConnectionError(NO_REPLY) from error
    except httpcore.LocalProtocolError as error:
        raise ValueError from error
