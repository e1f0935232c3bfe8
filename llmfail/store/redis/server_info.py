"""What the server of a shared store tells of itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmfail.core.records.record import Write, dump
from llmfail.core.reports.store_server import StoreServer, read_server_info
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.redis_server import AccessRefused
from llmfail.store.redis.redis_store import RedisStore

CHECK_LIFETIME_SECONDS = 60.0


def ask_server(
    store: RedisStore, timeout: float, machine_wall: Callable[[], float] = time.time
) -> StoreServer:
    """Raises StoreError, and UsageError where the server lets this user do nothing. Where only INFO is not
    allowed, what it tells is not known.
    """
    before = machine_wall()
    _, clock = store.read(())
    difference = clock - (before + machine_wall()) / 2
    try:
        found = store.server.run(("INFO",), TripDeadline(timeout))
    except AccessRefused:
        found = b""
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else ""
    lines = (line.partition(":") for line in text.splitlines())
    return read_server_info(str(store.server.address), {name: value for name, _, value in lines}, difference)


def check_writing(store: RedisStore) -> None:
    """Raises StoreError or UsageError where nothing can be written."""
    store.update(
        (), lambda _values, now: ({"done/check": Write(dump({}), now + CHECK_LIFETIME_SECONDS)}, None)
    )
