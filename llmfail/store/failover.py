"""A store that never costs an answer: when the real one fails, memory takes its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from llmfail.core.errors import StoreError
from llmfail.core.records.record import (
    Values,
    Write,
    Writes,
    after_writes,
)
from llmfail.store.base import Change, R, Store
from llmfail.store.memory import MemoryStore

T = TypeVar("T")

MAX_RECENT_RECORDS = 1000
"""At so many, the recent records become the earlier ones, and the earlier ones are forgotten."""


class FailoverStore:
    """The first StoreError is reported once, and the rest of the process uses ``fallback``. It starts with
    what this process last read and wrote (if it ``remembers``), so that a full disk does not make a failing
    provider look healthy. ``is_down`` tells that it happened; a budget that cannot be shared any more then
    refuses calls.
    """

    def __init__(
        self,
        store: Store,
        fallback: MemoryStore,
        warn: Callable[[str], None],
        description: str = "circuits and limits",
        *,
        remembers: bool = True,
    ) -> None:
        self.is_down = False
        self._description = description
        self._remembers = remembers
        self._store = store
        self._fallback = fallback
        self._warn = warn
        self._recent: dict[str, str | None] = {}
        self._earlier: dict[str, str | None] = {}
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        return self._fallback.name if self.is_down else self._store.name

    def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        values, now = self._run(lambda store: store.read(keys))
        if not self.is_down:
            self._remember(values)
        return values, now

    def update(self, keys: Sequence[str], change: Change[R], *, waits: bool = True) -> R:
        written: list[Writes] = []

        def remember_and_change(values: Values, now: float) -> tuple[Writes, R]:
            if not self.is_down:
                self._remember(values)
            writes, result = change(values, now)
            written[:] = [writes]
            return writes, result

        result = self._run(lambda store: store.update(keys, remember_and_change, waits=waits), is_final=waits)
        if not self.is_down:
            for writes in written:
                self._remember(after_writes(writes))
        return result

    def close(self) -> None:
        self._run(lambda store: store.close())

    def _remember(self, values: Values) -> None:
        """Only recent records: a long-lived process must not remember all of them."""
        if not self._remembers:
            return
        self._recent.update(values)
        if len(self._recent) > MAX_RECENT_RECORDS:
            self._earlier, self._recent = self._recent, {}

    def _run(self, verb: Callable[[Store], T], *, is_final: bool = True) -> T:
        if not self.is_down:
            try:
                return verb(self._store)
            except StoreError as error:
                if not is_final:
                    raise
                self._fail_over(error)
        return verb(self._fallback)

    def _fail_over(self, error: StoreError) -> None:
        with self._lock:
            if self.is_down:
                return
            known = {
                key: Write(text)
                for key, text in {**self._earlier, **self._recent}.items()
                if text is not None
            }
            self._fallback.update((), lambda _values, _now: (known, None))
            self.is_down = True
        self._warn(f"{error}; {self._description} of this run are kept in memory only")
