"""What is known of each line of a batch, by its ref: on disk when there are many, and gone with the process.

Not a store: no other process sees it.
"""

from __future__ import annotations

import json
import sqlite3
from enum import IntFlag
from typing import NamedTuple

from llmfail.core.request.batch_line import Ref


class LineState(IntFlag):
    """What is known of a ref so far."""

    NOTHING = 0
    FAILED = 1
    """Its last receipt has no answer."""
    ANSWERED = 2
    """Its last receipt has one."""
    MALFORMED = 4
    """A receipt of a line that could not be read. Once corrected, it is asked like any other."""
    ASKED = 8
    """A line of this run has this ref."""


HAS_RECEIPT = LineState.FAILED | LineState.ANSWERED


class KnownLine(NamedTuple):
    """The state of a ref, and what its last receipt says was asked (None: it does not say)."""

    state: LineState = LineState.NOTHING
    request: str | None = None


class BatchRefs:
    """SQLite's own temporary database: a small cache in memory, the rest in a file without a name."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE refs (ref TEXT PRIMARY KEY, state INTEGER NOT NULL, request TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(statement)

    def close(self) -> None:
        self._database.close()

    def add(self, ref: Ref, state: LineState, request: str | None = None) -> KnownLine:
        """Add a state, and return what was known before. The last receipt of a ref takes the place of those
        before it. ``7`` and ``"7"`` are two refs.
        """
        key = json.dumps(ref)
        row = self._database.execute("SELECT state, request FROM refs WHERE ref = ?", (key,)).fetchone()
        before = KnownLine(LineState(row[0]), row[1]) if row else KnownLine()
        after = KnownLine(before.state | state, before.request)
        if state & HAS_RECEIPT:
            after = KnownLine((before.state & ~HAS_RECEIPT) | state, request)
        if row is None or after != before:
            self._database.execute(
                "REPLACE INTO refs VALUES (?, ?, ?)", (key, int(after.state), after.request)
            )
        return before
