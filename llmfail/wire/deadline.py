"""What ends every socket operation in time: httpcore's network, cut to what is left of a thread's limit.

httpx limits each read, not the whole reply, so a server that sends a byte now and then could hold a caller
for ever. Who calls starts the limit of the thread; whatever happens on a socket from then on keeps to it.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from llmfail.wire.error_mapping import CONNECT_LIMIT, OutOfTimeError

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class Limit(threading.local):
    """When what this thread waits for must be over."""

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


class Backend(httpcore.NetworkBackend):
    """Opens connections within the limit, and hands out streams that keep to it."""

    def __init__(self, limit: Limit) -> None:
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
    def __init__(self, inner: httpcore.NetworkStream, limit: Limit) -> None:
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
