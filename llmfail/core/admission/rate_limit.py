"""The rate limiter as a value: the generic cell rate algorithm (GCRA), one timestamp per limit.

A call that has to wait reserves its send time at once, and later calls get later times. So no waiting call
wakes up in vain, and a process that dies while it waits leaves a gap, never a call too many.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from llmfail.core.records.joint_write import Raise, Sum
from llmfail.core.records.record import Record

LimitUnit = Literal["requests", "tokens"]

MINUTE_WITH_MARGIN_SECONDS = 61.0
"""Seconds over which the allowance of a minute is spread: a call that was admitted in time and reaches the
provider less than a second late does not exceed the limit there.
"""
NEGLIGIBLE_WAIT_SECONDS = 1e-6
"""A shorter wait is a rounding error of the sums and counts as none."""


JOINT_WAIT_SECONDS = 0.01
"""A shorter wait counts as none where others reserve at the same moment: it is within the margin."""


class RateLimit(Struct, frozen=True):
    """At most ``per_minute`` units in any minute, ``burst`` of them at once. Without a burst a tenth of the
    requests may come at once; the rest then comes more slowly, so that a minute never has more than the
    limit. ``key`` is where its state is stored; ``name`` is the provider or target that it limits.
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
    """``due_at``: when the time that all admitted units take is over; ``seen_at``: the clock at the last
    change.
    """

    due_at: float = 0.0
    seen_at: float = 0.0


def wait_seconds(state: GcraState, limit: RateLimit, now: float) -> float:
    """Seconds until the next call may start; 0 when it may at once."""
    wait = _due_at(state, now) - (limit.effective_burst - 1) * limit.interval - now
    return wait if wait > NEGLIGIBLE_WAIT_SECONDS else 0.0


def reserve(state: GcraState, limit: RateLimit, units: int, start_at: float, now: float) -> GcraState:
    """Reserve the time of so many units for a call that starts at ``start_at``, which is now or later."""
    return GcraState(max(_due_at(state, now), start_at) + units * limit.interval, now)


def reserve_jointly(limit: RateLimit, units: int, now: float) -> Sum:
    """How a reservation that need not wait is made beside those of others."""
    free_until = now + (limit.effective_burst - 1) * limit.interval + JOINT_WAIT_SECONDS
    return Sum(latest=("seen_at",), raised=(Raise("due_at", now, units * limit.interval, free_until),))


def adjust_jointly(before: GcraState, after: GcraState) -> Sum:
    """How a correction is made beside those of others: none is given back once another has reserved."""
    more = after.due_at - before.due_at
    if more < 0:
        return Sum(latest=("seen_at",), optional=("due_at",))
    return Sum(latest=("seen_at",), raised=(Raise("due_at", -math.inf, more, math.inf),))


def adjust(state: GcraState, limit: RateLimit, units: int, due_at: float, now: float) -> GcraState:
    """Correct a reservation, which had moved ``due_at`` to this moment: the call took ``units`` more or,
    below 0, fewer. Time that has passed, or that later calls wait behind, is not given back.
    """
    more = units * limit.interval
    if more < 0:
        more = max(more, now - due_at) if state.due_at == due_at and now < due_at else 0.0
    return GcraState(_due_at(state, now) + more, now)


def expires_at(state: GcraState, now: float) -> float:
    """When the state means nothing any more."""
    return max(state.due_at, now)


def _due_at(state: GcraState, now: float) -> float:
    """Waits stay as long as they were when the clock is set back."""
    return state.due_at - max(state.seen_at - now, 0.0)
