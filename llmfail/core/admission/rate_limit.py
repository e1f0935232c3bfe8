"""The rate limiter as a value: the generic cell rate algorithm, one timestamp per limit.

A call that has to wait takes its place in the row at once: whoever comes later waits behind it, nobody is
woken to lose a race, and a process that dies while it waits leaves a gap, never a call too many.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmfail.core.records.record import Record

LimitUnit = Literal["requests", "tokens"]

MINUTE_WITH_MARGIN_SECONDS = 61.0
"""Seconds over which the allowance of a minute is spread: a call that was admitted in time and reaches the
provider less than a second late is no call too many there.
"""


NEGLIGIBLE_WAIT_SECONDS = 1e-6
"""Seconds that are no wait: sums of intervals are not exact."""


class RateLimit(Struct, frozen=True):
    """So many units in any minute, and ``burst`` at once. Without a burst a tenth of the requests may come at
    once, and come off what follows, so that a minute never has more than the limit. ``key`` is where its
    state is kept; ``name`` is the provider or target that it holds for.
    """

    key: str
    name: str
    unit: LimitUnit
    per_minute: int
    burst: int | None = None

    @property
    def effective_burst(self) -> int:
        if self.burst is not None:
            return self.burst
        return max(self.per_minute // 10, 1) if self.unit == "requests" else 1

    @property
    def interval(self) -> float:
        """Seconds that one unit takes."""
        lent = 0 if self.burst is not None else self.effective_burst - 1
        return MINUTE_WITH_MARGIN_SECONDS / (self.per_minute - lent)


class GcraState(Record, frozen=True):
    """``due_at``: when everything that was let through will have taken its time; ``seen_at`` is the clock
    then.
    """

    due_at: float = 0.0
    seen_at: float = 0.0


def wait_seconds(state: GcraState, limit: RateLimit, now: float) -> float:
    """Seconds until the next call may start; 0 when it may at once."""
    left = _due_at(state, now) - (limit.effective_burst - 1) * limit.interval - now
    return left if left > NEGLIGIBLE_WAIT_SECONDS else 0.0


def reserve(state: GcraState, limit: RateLimit, units: int, start_at: float, now: float) -> GcraState:
    """Let a call of so many units start at that moment, which is now or later."""
    return GcraState(max(_due_at(state, now), start_at) + units * limit.interval, now)


def adjust(state: GcraState, limit: RateLimit, units: int, due_at: float, now: float) -> GcraState:
    """A call took so many units more (or, below 0, fewer) than it was let through for, which made ``due_at``
    then. Time that has gone by, or that others wait behind, is not given back.
    """
    more = units * limit.interval
    if more < 0:
        more = max(more, now - due_at) if state.due_at == due_at and now < due_at else 0.0
    return GcraState(_due_at(state, now) + more, now)


def expires_at(state: GcraState, now: float) -> float:
    """When the state says nothing any more."""
    return max(state.due_at, now)


def _due_at(state: GcraState, now: float) -> float:
    """A clock that was set back keeps the waits as long as they were."""
    return state.due_at - max(state.seen_at - now, 0.0)
