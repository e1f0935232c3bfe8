"""What outlives the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from llmfail.core.errors import UsageError
from llmfail.core.records.record import Write, Writes
from llmfail.store.base import Store


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
            return _open_redis(url, timeout)
        case _:
            raise UsageError(f"store: must be disk, memory or redis://host:port/db, not {scheme!r}")


def _open_redis(url: str, timeout: float) -> Store:
    from llmfail.core.store_url import parse_redis_url
    from llmfail.store.redis.redis_store import RedisStore

    try:
        return RedisStore(parse_redis_url(url), timeout)
    except ValueError as error:
        raise UsageError(f"store: {error}") from None


def open_answer_store(
    url: str,
    state_dir: Path,
    max_bytes: int,
    timeout: float,
    warn: Callable[[str], None] = lambda _text: None,
) -> Store:
    """The store of answers, of at most so many bytes: on disk, unless the state is in memory."""
    import time

    if url == "memory":
        from llmfail.store.memory import MemoryStore

        return MemoryStore(time.time, max_bytes)
    from llmfail.store.answer_store import AnswerStore

    return AnswerStore(state_dir, max_bytes, timeout, time.time, warn)
