"""What outlives the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llmfail.core.errors import UsageError
from llmfail.core.records.record import Write, Writes
from llmfail.store.base import Store

if TYPE_CHECKING:
    from llmfail.store.request_queue import RequestQueue


def open_store(
    url: str,
    state_dir: Path,
    timeout: float,
    warn: Callable[[str], None] = lambda _text: None,
    migrate: Callable[[Mapping[str, Write]], Writes] | None = None,
) -> Store:
    """The store that ``store:`` names. No file is touched before the first verb. ``timeout`` is in seconds;
    ``warn`` gets messages for people while the work goes on. ``migrate`` says what becomes of the rows of a
    file of the version before, which is used as it is without it.
    """
    import time

    scheme = url.partition(":")[0]
    match scheme:
        case "disk" if url == scheme:
            from llmfail.store.disk import DiskStore

            return DiskStore(state_dir, timeout, time.time, warn, migrate=migrate)
        case "memory" if url == scheme:
            from llmfail.store.memory import MemoryStore

            return MemoryStore(time.time)
        case "redis" | "rediss" | "sentinel":
            return _open_redis(url, timeout, warn)
        case _:
            raise UsageError(f"store: must be disk, memory or redis://host:port/db, not {scheme!r}")


def _open_redis(url: str, timeout: float, warn: Callable[[str], None]) -> Store:
    from llmfail.core.store_url import parse_redis_url
    from llmfail.store.redis.redis_store import RedisStore

    try:
        return RedisStore(parse_redis_url(url), timeout, warn=warn)
    except ValueError as error:
        raise UsageError(f"store: {error}") from None


def open_answer_store(
    url: str,
    state_dir: Path,
    max_bytes: int,
    timeout: float,
    warn: Callable[[str], None] = lambda _text: None,
) -> Store:
    """The store of answers; ``max_bytes`` is for those that this host has to itself."""
    import time

    match url:
        case "memory":
            from llmfail.store.memory import MemoryStore

            return MemoryStore(time.time, max_bytes)
        case "disk":
            from llmfail.store.answer_store import AnswerStore

            return AnswerStore(state_dir, max_bytes, timeout, time.time, warn)
        case _:
            from llmfail.core.store_url import parse_redis_url
            from llmfail.store.redis.redis_answer_store import RedisAnswerStore

            return RedisAnswerStore(parse_redis_url(url), timeout)


def open_queue(
    url: str,
    state_dir: Path,
    limits: tuple[int, float],
    timeout: float,
    clock: Callable[[], float],
    warn: Callable[[str], None] = lambda _text: None,
) -> RequestQueue:
    """The queue, of at most so many requests, each for at most so many seconds. ``clock`` is for one that
    this host has to itself.
    """
    max_items, max_age = limits
    if url == "disk":
        from llmfail.store.disk_queue import DiskQueue

        return DiskQueue(state_dir, max_items, max_age, timeout, clock, warn)
    from llmfail.core.store_url import parse_redis_url
    from llmfail.store.redis.redis_queue import RedisQueue

    return RedisQueue(parse_redis_url(url), max_items, max_age, timeout, warn)
