"""Stored answers, in a file of their own, so that however many there are, no circuit or budget is evicted.

The same table as the state, with a size limit. Not diskcache: importing and opening it takes 11 ms at every
answer and every hit, where this takes 3; and it unpickles what it finds (CVE-2025-69872).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from llmfail.core.cache.single_flight import ANSWER_PREFIX
from llmfail.store.disk import DiskStore
from llmfail.store.sqlite.key_value_table import SizeLimit, measure_used_bytes

ANSWERS_FILE = "answers.sqlite3"
COUNT_ANSWERS = "SELECT COUNT(*) FROM state WHERE key GLOB ?"


class CacheSize(NamedTuple):
    """The number of answers, expired ones included, and the bytes that they use."""

    entries: int
    bytes: int


class AnswerStore(DiskStore):
    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        timeout: float,
        clock: Callable[[], float],
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        super().__init__(directory, timeout, clock, warn, ANSWERS_FILE, SizeLimit(ANSWER_PREFIX, max_bytes))

    def measure_size(self) -> CacheSize:
        """0 when there is no file; none is made. Raises StoreError."""
        return self.file.run_if_exists(_measure_size, CacheSize(0, 0))

    def clear(self) -> int:
        """Delete every answer and free the space. Returns how many there were. Raises StoreError."""
        return self.file.run_if_exists(_clear_answers, 0)


def _measure_size(connection: sqlite3.Connection) -> CacheSize:
    (entries,) = connection.execute(COUNT_ANSWERS, (f"{ANSWER_PREFIX}*",)).fetchone()
    return CacheSize(entries, measure_used_bytes(connection))


def _clear_answers(connection: sqlite3.Connection) -> int:
    (entries,) = connection.execute(COUNT_ANSWERS, (f"{ANSWER_PREFIX}*",)).fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    # Single-flight leases have other keys, and stay.
    connection.execute("DELETE FROM state WHERE key GLOB ?", (f"{ANSWER_PREFIX}*",))
    with suppress(sqlite3.OperationalError):  # another process reads: the next call frees the space
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(entries)
