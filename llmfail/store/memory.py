"""The store of one process: for tests, ``store: memory``, and when the real store is down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from llmfail.core.records.record import Values, Write, Writes
from llmfail.store.base import Change, R

FIRST_SWEEP_ROWS = 1000
"""The first search for expired rows comes after so many rows."""


class MemoryStore:
    """A dictionary under a lock. Expired rows are removed whenever the dictionary has doubled; beyond
    ``max_chars`` characters the oldest rows are removed.
    """

    name = "memory"
    is_local = True

    def __init__(self, clock: Callable[[], float], max_chars: int | None = None) -> None:
        self._clock = clock
        self._max_chars = max_chars
        self._rows: dict[str, Write] = {}
        self._size = 0
        self._sweep_at = FIRST_SWEEP_ROWS
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        with self._lock:
            now = self._clock()
            return self._live_values_of(keys, now), now

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:  # noqa: ARG002
        with self._lock:
            now = self._clock()
            writes, result = change(self._live_values_of(keys, now), now)
            for key, write in writes.items():
                self._drop(key)
                if write is not None:
                    self._rows[key] = write
                    self._size += len(write.text)
            if len(self._rows) > self._sweep_at:
                self._sweep(now)
            self._evict_rows(writes)
            return result

    def clear(self) -> None:
        with self._lock:
            self._rows.clear()
            self._size = 0

    def close(self) -> None:
        """Nothing to close; what was written stays readable."""

    def _live_values_of(self, keys: Sequence[str], now: float) -> dict[str, str | None]:
        rows = ((key, self._rows.get(key)) for key in keys)
        return {key: row.text if row and _is_live(row, now) else None for key, row in rows}

    def _drop(self, key: str) -> None:
        row = self._rows.pop(key, None)
        self._size -= 0 if row is None else len(row.text)

    def _sweep(self, now: float) -> None:
        for key in [key for key, row in self._rows.items() if not _is_live(row, now)]:
            self._drop(key)
        self._sweep_at = max(FIRST_SWEEP_ROWS, 2 * len(self._rows))

    def _evict_rows(self, just_written: Writes) -> None:
        """Never a row that was just written."""
        while self._max_chars is not None and self._size > self._max_chars:
            oldest = next((key for key in self._rows if key not in just_written), None)
            if oldest is None:
                return
            self._drop(oldest)


def _is_live(row: Write, now: float) -> bool:
    return row.expires_at is None or row.expires_at > now
