"""What ends every socket operation in time: httpcore's network, cut to what is left of a thread's limit.

httpcore limits each read, not the whole reply, so a server that sends a byte now and then could keep a caller
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

from llmfail.wire.error_mapping import CONNECT_TIMEOUT_SECONDS, OutOfTimeError

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class Deadline(threading.local):
    """When what this thread waits for must be over."""

    ends_at = 0.0

    def start(self, timeout: float) -> None:
        self.ends_at = time.monotonic() + timeout

    def require_time_left(self) -> float:
        """Seconds left; raises OutOfTimeError when there are none."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        return left

    def shorten(self, timeout: float | None) -> float:
        """A timeout, cut to what is left."""
        left = self.require_time_left()
        return left if timeout is None else min(timeout, left)


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections within the limit, and hands out streams that keep to it."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _resolve(host, port, self._deadline.shorten(timeout))
        last: Exception | None = None
        for address in addresses:
            wait = min(CONNECT_TIMEOUT_SECONDS, self._deadline.shorten(timeout))
            try:
                stream = self._inner.connect_tcp(address, port, wait, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _DeadlineStream(stream, self._deadline)
        raise last or socket.gaierror(f"no address for {host}")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.shorten(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.shorten(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._inner.start_tls(ssl_context, server_hostname, self._deadline.shorten(timeout))
        return _DeadlineStream(secured, self._deadline)

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

    _run_within(look_up, timeout)
    if failures:
        raise failures[0]
    if not found:
        raise socket.gaierror(socket.EAI_AGAIN, "the resolver did not answer in time")
    return found


def _run_within(work: Callable[[], None], timeout: float) -> None:
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
