"""What a service need not write at once: it is written together, a moment later.

Nothing that others decide by is put off: only statistics, and the settlement of an answer that was no trial
and held nothing. What has to be written at once takes along what was put off before, so that a circuit counts
in order. A process that is killed loses the statistics of that moment, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from llmfail.core.admission.gate_settlement import SettledCall, settle_answers
from llmfail.core.errors import StoreError
from llmfail.core.records.record import (
    SettlingChange,
    StoreChange,
    Values,
    Writes,
    after_writes,
    combine,
    merge_writes,
    settle_in_any_case,
)
from llmfail.core.records.statistics import Statistics, steps_of
from llmfail.engine.ports.protocols import AsyncStore
from llmfail.store.base import Change

if TYPE_CHECKING:
    from llmfail.core.admission.local_admission import SliceRenewal
    from llmfail.engine.ports.budget_slices import BudgetSlices, RenewalResult

MAX_DEFERRED = 512
"""So many statistics of asks and calls are written together, so that no write takes long."""
NEVER_READ = -inf, None
MAX_RECENT = 10_000
"""Records of which a service remembers what it read; beyond them it begins anew."""
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

    def __len__(self) -> int:
        return len(self._known)

    def find(self, keys: Sequence[str]) -> Values | None:
        """None where one of them is not known; it is remembered from the next time on."""
        oldest, is_known = self._monotonic() - self._max_age, True
        if len(self._known) + len(keys) > MAX_RECENT:
            self._known.clear()
        found: dict[str, str | None] = {}
        for key in keys:
            read_at, found[key] = self._known.setdefault(key, NEVER_READ)
            is_known = is_known and read_at >= oldest
        return found if is_known else None

    def remember(self, values: Values) -> None:
        now = self._monotonic()
        for key in self._known.keys() & values.keys():
            self._known[key] = now, values[key]

    def remember_after(self, change: Change[R]) -> Change[R]:
        """The change, after which the records are as it has left them."""

        def change_and_remember(values: Values, now: float) -> tuple[Writes, R]:
            writes, result = change(values, now)
            self.remember({**values, **after_writes(writes)})
            return writes, result

        return change_and_remember

    def forget(self) -> None:
        for key in self._known:
            self._known[key] = NEVER_READ


class DeferredWrites:
    """They are made ``seconds`` after the first was put off, which is done in the event loop alone, as is the
    work that ``run_later`` runs after so many seconds. ``slices`` of budgets are renewed with them, where the
    process has any. ``warn`` is told for people what could not be kept.
    """

    def __init__(
        self,
        store: AsyncStore,
        seconds: float,
        monotonic: Callable[[], float],
        run_later: RunLater,
        warn: Callable[[str], None],
        slices: BudgetSlices | None = None,
    ) -> None:
        self.recent = RecentRecords(2 * seconds, monotonic)
        self.slices = slices
        self._store = store
        self._seconds = seconds
        self._run_later = run_later
        self._warn = warn
        self._has_told_loss = False
        self._answers: list[SettledCall] = []
        self._statistics: list[Statistics] = []
        self._is_timed = self._is_hurried = False
        self._flushes_planned = 0

    def put_off(self, statistics: Sequence[Statistics], answers: Sequence[SettledCall] = ()) -> None:
        self._statistics += statistics
        self._answers += answers
        if len(self._statistics) >= MAX_DEFERRED:
            self.hurry()
        else:
            self._flush_in_time()

    def hurry(self) -> None:
        """Write it at once."""
        if not self._is_hurried:
            self._is_hurried = True
            self._plan_flush(0.0)

    def take_answers(self) -> list[StoreChange]:
        """What has to be written before anything else is settled."""
        answers, self._answers = self._answers, []
        return settle_answers(answers)

    async def flush(self, *, is_last: bool = False) -> None:
        """Write what was put off; ``is_last``: and give the slices back."""
        statistics, self._statistics = self._statistics, []
        self._is_timed = self._is_hurried = False
        self._flushes_planned += 1
        parts = [*(Statistics(steps=(one,)) for one in self.take_answers()), *statistics]
        renewals = [] if self.slices is None else self.slices.begin_renewals(is_last=is_last)
        try:
            await self._write(parts, renewals)
        except StoreError:
            raise
        except Exception as error:
            lost = await self._write_where_possible(parts)
            if not lost:  # the renewals are the cause
                raise
            self._tell_loss(f"{lost} of {len(parts)} counts of asks and calls could not be kept: {error}")
        if self.slices is not None and self.slices.is_active and not is_last:
            self._flush_in_time()

    async def _write(self, parts: Sequence[Statistics], renewals: Sequence[SliceRenewal] = ()) -> None:
        """In one update."""
        step = combine(steps_of(parts))
        if renewals:
            await self._renew(renewals, step)
        elif step.keys:
            change = self.recent.remember_after(settle_in_any_case(step))
            await self._store.update(step.keys, SettlingChange(change, step))

    async def _write_where_possible(self, parts: Sequence[Statistics]) -> int:
        """Each by itself where several together cannot be written, which is found by halves. How many could
        not be.
        """
        try:
            await self._write(parts)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - as above
            middle = len(parts) // 2
            if not middle:
                return 1
            return sum([await self._write_where_possible(half) for half in (parts[:middle], parts[middle:])])
        return 0

    def _tell_loss(self, text: str) -> None:
        """Once, however often it happens again."""
        if not self._has_told_loss:
            self._has_told_loss = True
            self._warn(text)

    async def _renew(self, renewals: Sequence[SliceRenewal], step: StoreChange) -> None:
        """In one update with what was put off."""
        slices = self.slices
        assert slices is not None, "they are its renewals"

        def change(values: Values, now: float) -> tuple[Writes, RenewalResult]:
            writes = step.change(values, now)
            made, result = slices.renew(renewals, {**values, **after_writes(writes)}, now)
            return merge_writes(writes, made), result

        keys = dict.fromkeys((*step.keys, *(key for one in renewals for key in one.keys)))
        result = None
        try:
            remembered = self.recent.remember_after(change)
            result = await self._store.update(tuple(keys), SettlingChange(remembered, step))
        finally:
            slices.end_renewals(result)

    def _flush_in_time(self) -> None:
        if not self._is_timed:
            self._is_timed = True
            self._plan_flush(self._seconds)

    def _plan_flush(self, seconds: float) -> None:
        self._flushes_planned += 1
        self._run_later(seconds, partial(self._flush_unless_done, self._flushes_planned))

    async def _flush_unless_done(self, number: int) -> None:
        """Nothing where another flush came before it, or will at once."""
        if number == self._flushes_planned:
            await self.flush()
