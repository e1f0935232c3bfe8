"""Stored answers, in a file of their own: however many there are, they push out no circuit and no budget.

The same table as the state, with a size limit. Not diskcache: importing and opening that takes an ask 11 ms,
at every answer and at every hit, where this takes 3; and it unpickles what it finds (CVE-2025-69872).
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
    """How many answers there are, expired ones included, and the bytes that they take."""

    entries: int
    bytes: int


class AnswerStore(DiskStore):
    """``most`` is in bytes."""

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
        """Nothing is made where there is nothing. Raises StoreError."""
        return self.file.run_if_exists(_measure_size, CacheSize(0, 0))

    def clear(self) -> int:
        """Forget every answer, and give the space back. How many there were. Raises StoreError."""
        return self.file.run_if_exists(_clear_answers, 0)


def _measure_size(connection: sqlite3.Connection) -> CacheSize:
    (entries,) = connection.execute(COUNT_ANSWERS, (f"{ANSWER_PREFIX}*",)).fetchone()
    return CacheSize(entries, measure_used_bytes(connection))


def _clear_answers(connection: sqlite3.Connection) -> int:
    (entries,) = connection.execute(COUNT_ANSWERS, (f"{ANSWER_PREFIX}*",)).fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(
        "DELETE FROM state WHERE key GLOB ?", (f"{ANSWER_PREFIX}*",)
    )  # who is out for one stays out
    with suppress(sqlite3.OperationalError):  # somebody reads: the space is given back at the next time
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(entries)
