"""The state that all processes of one host share, in one SQLite file.

One table of keys and JSON text, and nothing else; the store does not know what a value means. A transaction
holds the write lock for about ten microseconds; a process that finds the file locked tries again after a
short pause, until the timeout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from llmfail.core.records.record import Values
from llmfail.store.base import Change, R
from llmfail.store.sqlite.key_value_table import (
    Migration,
    SizeLimit,
    open_table,
    read_values,
    update_values,
)
from llmfail.store.sqlite.shared_file import SharedFile

STATE_FILE = "state.sqlite3"


class DiskStore:
    """The table in ``file_name`` of a directory; ``limit`` is the most that rows with one prefix may take.
    ``migrate`` says what becomes of the rows of a file of the version before.
    """

    name = "disk"
    is_local = True

    def __init__(  # noqa: PLR0913, PLR0917 - the last four are for one kind of store each
        self,
        directory: Path,
        timeout: float,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = lambda _text: None,
        file_name: str = STATE_FILE,
        limit: SizeLimit | None = None,
        migrate: Migration | None = None,
    ) -> None:
        self.file = SharedFile(directory / file_name, partial(open_table, migrate=migrate), timeout, warn)
        self._clock = clock
        self._limit = limit

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return self.file.run(lambda connection: read_values(connection, keys, self._clock))

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:
        run = self.file.run if waits else self.file.run_if_free
        return run(lambda connection: update_values(connection, keys, change, self._clock, self._limit))

    def close(self) -> None:
        """Close the file. A later verb opens it again."""
        self.file.close()
