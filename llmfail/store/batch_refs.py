"""The state of each line of a batch, by its ref: on disk when there are many, and gone with the process.

Not a store: no other process sees it.
"""

from __future__ import annotations

import json
import sqlite3
from enum import IntFlag

from llmfail.core.request.batch_line import Ref


class LineState(IntFlag):
    """What is known of a ref so far."""

    NOTHING = 0
    FAILED = 1
    """A receipt without an answer."""
    ANSWERED = 2
    MALFORMED = 4
    """A receipt of a line that could not be read. Once corrected, it is asked like any other."""
    ASKED = 8
    """A line of this run has this ref."""


class BatchRefs:
    """SQLite's own temporary database: a small cache in memory, the rest in a file without a name."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE refs (ref TEXT PRIMARY KEY, known INTEGER NOT NULL) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(statement)

    def close(self) -> None:
        self._database.close()

    def add(self, ref: Ref, state: LineState) -> LineState:
        """Add a state, and return what was known before. ``7`` and ``"7"`` are two refs."""
        key = json.dumps(ref)
        row = self._database.execute("SELECT known FROM refs WHERE ref = ?", (key,)).fetchone()
        before = LineState(row[0]) if row else LineState.NOTHING
        if state not in before or row is None:
            self._database.execute("REPLACE INTO refs VALUES (?, ?)", (key, int(before | state)))
        return before
