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

from llmfail.core.cache.single_flight import ANSWER
from llmfail.store.disk import Disk
from llmfail.store.sqlite.key_value_table import Room, used

FILE = "answers.sqlite3"
COUNT = "SELECT COUNT(*) FROM state WHERE key GLOB ?"


class Stock(NamedTuple):
    """How many answers there are, expired ones included, and the bytes that they take."""

    entries: int
    bytes: int


class Answers(Disk):
    """``most`` is in bytes."""

    def __init__(
        self,
        directory: Path,
        most: int,
        timeout: float,
        clock: Callable[[], float],
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        super().__init__(directory, timeout, clock, warn, FILE, Room(ANSWER, most))

    def stock(self) -> Stock:
        """Nothing is made where there is nothing. Raises StoreError."""
        return self.file.look(_stock, Stock(0, 0))

    def clear(self) -> int:
        """Forget every answer, and give the space back. How many there were. Raises StoreError."""
        return self.file.look(_clear, 0)


def _stock(connection: sqlite3.Connection) -> Stock:
    (entries,) = connection.execute(COUNT, (f"{ANSWER}*",)).fetchone()
    return Stock(entries, used(connection))


def _clear(connection: sqlite3.Connection) -> int:
    (entries,) = connection.execute(COUNT, (f"{ANSWER}*",)).fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("DELETE FROM state WHERE key GLOB ?", (f"{ANSWER}*",))  # who is out for one stays out
    with suppress(sqlite3.OperationalError):  # somebody reads: the space is given back at the next time
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(entries)
