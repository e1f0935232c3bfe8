"""A store that never costs an answer: when the real one fails, memory takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from llmfail.core.errors import StoreError
from llmfail.core.record import Values, Write, Writes
from llmfail.store.base import Change, R, Store
from llmfail.store.memory import Memory

T = TypeVar("T")


class Guarded:
    """The first StoreError is told once, and the rest of the process goes on from ``spare``, which starts
    with what this process last read, so that a disk that fills up does not make a dead provider look alive.
    ``down`` says that it happened; a budget that cannot be shared any more refuses on it.
    """

    def __init__(self, store: Store, spare: Memory, warn: Callable[[str], None]) -> None:
        self.down = False
        self._store = store
        self._spare = spare
        self._warn = warn
        self._seen: dict[str, str | None] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._spare.name if self.down else self._store.name

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        values, now = self._run(lambda store: store.read(keys))
        if not self.down:
            self._seen.update(values)
        return values, now

    def update(self, keys: Sequence[str], change: Change[R]) -> R:
        def watched(values: Values, now: float) -> tuple[Writes, R]:
            if not self.down:
                self._seen.update(values)
            return change(values, now)

        return self._run(lambda store: store.update(keys, watched))

    def close(self) -> None:
        self._run(lambda store: store.close())

    def _run(self, verb: Callable[[Store], T]) -> T:
        if not self.down:
            try:
                return verb(self._store)
            except StoreError as error:
                self._go_down(error)
        return verb(self._spare)

    def _go_down(self, error: StoreError) -> None:
        with self._lock:
            if self.down:
                return
            known = {key: Write(text) for key, text in self._seen.items() if text is not None}
            self._spare.update((), lambda _values, _now: (known, None))
            self.down = True
        self._warn(f"{error}; circuits and limits of this run are kept in memory only")
