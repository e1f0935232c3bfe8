"""What the server of a shared store tells of itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmfail.core.records.record import Write, dump
from llmfail.core.reports.store_server import StoreServer, parse_info, read_server_info
from llmfail.store.redis.redis_answer_store import RedisAnswerStore
from llmfail.store.redis.redis_connection import TripDeadline
from llmfail.store.redis.redis_queue import RedisQueue
from llmfail.store.redis.redis_server import AccessRefused
from llmfail.store.redis.redis_store import RedisStore

CHECK_LIFETIME_SECONDS = 60.0

SharedStore = RedisStore | RedisAnswerStore | RedisQueue


def ask_server(
    store: SharedStore, timeout: float, machine_wall: Callable[[], float] = time.time
) -> StoreServer:
    """Raises StoreError, and UsageError where the server lets this user do nothing. Where only INFO is not
    allowed, what it tells is not known.
    """
    before = machine_wall()
    clock = store.read_clock() if isinstance(store, RedisQueue) else store.read(())[1]
    difference = clock - (before + machine_wall()) / 2
    try:
        found = store.server.run(("INFO",), TripDeadline(timeout))
    except AccessRefused:
        found = None
    return read_server_info(str(store.server.address), parse_info(found), difference)


def check_writing(store: SharedStore) -> None:
    """Raises StoreError or UsageError where nothing can be written."""
    if isinstance(store, RedisQueue):
        store.check_writing()
        return
    store.update(
        (), lambda _values, now: ({"done/check": Write(dump({}), now + CHECK_LIFETIME_SECONDS)}, None)
    )
