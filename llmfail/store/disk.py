"""What all processes of one host share, in one SQLite file.

Not a cache and not a database for anything else: one table of keys and JSON text. The network, the clock of
another host and the meaning of a value have no place here. A transaction holds the write lock for some
ten microseconds; whoever comes in between tries again after a moment, until the timeout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from llmfail.core.records.record import Values
from llmfail.store.base import Change, R
from llmfail.store.sqlite.key_value_table import (
    SizeLimit,
    open_table,
    read_values,
    update_values,
)
from llmfail.store.sqlite.shared_file import SharedFile

STATE_FILE = "state.sqlite3"


class DiskStore:
    """The table in that ``file`` of a directory; ``room`` limits what rows of one kind take."""

    name = "disk"

    def __init__(
        self,
        directory: Path,
        timeout: float,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = lambda _text: None,
        file_name: str = STATE_FILE,
        limit: SizeLimit | None = None,
    ) -> None:
        self.file = SharedFile(directory / file_name, open_table, timeout, warn)
        self._clock = clock
        self._limit = limit

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return self.file.run(lambda connection: read_values(connection, keys, self._clock))

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:
        run = self.file.run if waits else self.file.run_if_free
        return run(lambda connection: update_values(connection, keys, change, self._clock, self._limit))

    def close(self) -> None:
        """Give the file back. A later verb opens it again."""
        self.file.close()
