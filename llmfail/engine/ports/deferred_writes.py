"""What a service need not write at once: it is written together, a moment later.

Nothing that others decide by is put off: only statistics, and the settlement of an answer that was no trial
and held nothing. What has to be written at once takes along what was put off before, so that a circuit counts
in order. A process that is killed loses the statistics of that moment, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from math import inf
from typing import Any, TypeVar

from llmfail.core.records.record import (
    SettlingChange,
    StoreChange,
    Values,
    Writes,
    after_writes,
    combine,
    settle_in_any_case,
)
from llmfail.core.records.statistics import Statistics, steps_of
from llmfail.engine.ports.protocols import AsyncStore
from llmfail.store.base import Change

MAX_DEFERRED = 64
"""So many statistics of asks and calls are written together, so that no write takes long."""
R = TypeVar("R")
RunLater = Callable[[float, Callable[[], Coroutine[Any, Any, None]]], object]


class RecentRecords:
    """The records on which admissions depend, as they were read or written at most ``max_age`` seconds ago.
    Any thread may tell it of them.
    """

    def __init__(self, max_age: float, monotonic: Callable[[], float]) -> None:
        self._max_age = max_age
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, str | None]] = {}

    def find(self, keys: Sequence[str]) -> Values | None:
        """None where one of them is not known; it is remembered from the next time on."""
        oldest = self._monotonic() - self._max_age
        found: dict[str, str | None] = {}
        for key in keys:
            read_at, found[key] = self._known.get(key) or self._known.setdefault(key, (-inf, None))
            if read_at < oldest:
                oldest = inf
        return None if oldest == inf else found

    def remember(self, values: Values) -> None:
        now = self._monotonic()
        for key in self._known.keys() & values.keys():
            self._known[key] = now, values[key]

    def remember_after(self, change: Change[R]) -> Change[R]:
        """The change, after which the records are as it has left them."""

        def remembered(values: Values, now: float) -> tuple[Writes, R]:
            writes, result = change(values, now)
            self.remember({**values, **after_writes(writes)})
            return writes, result

        return remembered

    def forget(self) -> None:
        for key in self._known:
            self._known[key] = -inf, None


class DeferredWrites:
    """They are made ``seconds`` after the first was put off, which is done in the event loop alone, as is the
    work that ``run_later`` runs after so many seconds.
    """

    def __init__(
        self, store: AsyncStore, seconds: float, monotonic: Callable[[], float], run_later: RunLater
    ) -> None:
        self.recent = RecentRecords(2 * seconds, monotonic)
        self._store = store
        self._seconds = seconds
        self._run_later = run_later
        self._answers: list[StoreChange] = []
        self._statistics: list[Statistics] = []
        self._is_timed = self._is_full = False

    def put_off(self, statistics: Sequence[Statistics], answers: Sequence[StoreChange] = ()) -> None:
        self._statistics += statistics
        self._answers += answers
        if len(self._statistics) >= MAX_DEFERRED and not self._is_full:
            self._is_full = True
            self._run_later(0.0, self.flush)
        elif not self._is_timed:
            self._is_timed = True
            self._run_later(self._seconds, self.flush)

    def take_answers(self) -> list[StoreChange]:
        """What has to be written before anything else is settled."""
        answers, self._answers = self._answers, []
        return answers

    async def flush(self) -> None:
        """Write what was put off."""
        statistics, self._statistics = self._statistics, []
        self._is_timed = self._is_full = False
        steps = [*self.take_answers(), *steps_of(statistics)]
        if steps:
            step = combine(steps)
            change = self.recent.remember_after(settle_in_any_case(step))
            await self._store.update(step.keys, SettlingChange(change, step))
