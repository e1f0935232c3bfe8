"""What every client of a Redis has: one connection, which threads use in turns, and a forked child never."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from llmfail.core.store_url import RedisUrl
from llmfail.store.redis.redis_connection import TimedOut, TripDeadline
from llmfail.store.redis.redis_server import RedisServer

_clients: WeakSet[RedisClient] = WeakSet()


class RedisClient:
    """``timeout`` is in seconds, for a verb with all its trips; ``setting`` is where the URL was written."""

    setting = "store"

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self.url = url
        self._timeout = timeout
        self.start()
        _clients.add(self)

    def start(self) -> None:
        """As in a process that has done nothing yet."""
        self.server = self._make_server()
        self._lock = threading.Lock()

    def _make_server(self) -> RedisServer:
        return RedisServer(self.url, self.setting)

    def disconnect(self) -> None:
        self.server.disconnect()

    def close(self) -> None:
        """Close the connection. A later verb opens another."""
        with self._lock:
            self.disconnect()

    @contextmanager
    def _turn(self) -> Iterator[TripDeadline]:
        """One that gives itself back."""
        deadline = self._take_turn()
        try:
            yield deadline
        finally:
            self._lock.release()

    def _take_turn(self) -> TripDeadline:
        """Whoever has it gives it back by releasing the lock."""
        deadline = TripDeadline(self._timeout)
        if not self._lock.acquire(timeout=self._timeout):
            raise TimedOut(f"{self.url} keeps another thread waiting (store_timeout)")
        return deadline


def _start_anew() -> None:
    """In a forked child: the connection is its parent's, and a lock may be that of another thread."""
    for client in list(_clients):
        client.disconnect()
        client.start()


os.register_at_fork(after_in_child=_start_anew)
