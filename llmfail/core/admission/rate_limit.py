"""The rate limiter as a value: the generic cell rate algorithm, one timestamp per limit.

A call that has to wait takes its place in the row at once: whoever comes later waits behind it, nobody is
woken to lose a race, and a process that dies while it waits leaves a gap, never a call too many.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmfail.core.records.record import Record

Unit = Literal["requests", "tokens"]

MINUTE = 61.0
"""Seconds over which the allowance of a minute is spread: a call that was admitted in time and reaches the
provider less than a second late is no call too many there.
"""


CLOSE = 1e-6
"""Seconds that are no wait: sums of intervals are not exact."""


class Limit(Struct, frozen=True):
    """So many units in any minute, and ``burst`` at once. Without a burst a tenth of the requests may come at
    once, and come off what follows, so that a minute never has more than the limit. ``key`` is where its
    state is kept; ``name`` is the provider or target that it holds for.
    """

    key: str
    name: str
    unit: Unit
    per_minute: int
    burst: int | None = None

    @property
    def at_once(self) -> int:
        if self.burst is not None:
            return self.burst
        return max(self.per_minute // 10, 1) if self.unit == "requests" else 1

    @property
    def interval(self) -> float:
        """Seconds that one unit takes."""
        lent = 0 if self.burst is not None else self.at_once - 1
        return MINUTE / (self.per_minute - lent)


class Flow(Record, frozen=True):
    """``due_at``: when everything that was let through will have taken its time; ``seen_at`` is the clock
    then.
    """

    due_at: float = 0.0
    seen_at: float = 0.0


def wait(flow: Flow, limit: Limit, now: float) -> float:
    """Seconds until the next call may start; 0 when it may at once."""
    left = _due(flow, now) - (limit.at_once - 1) * limit.interval - now
    return left if left > CLOSE else 0.0


def take(flow: Flow, limit: Limit, units: int, start_at: float, now: float) -> Flow:
    """Let a call of so many units start at that moment, which is now or later."""
    return Flow(max(_due(flow, now), start_at) + units * limit.interval, now)


def correct(flow: Flow, limit: Limit, units: int, due_at: float, now: float) -> Flow:
    """A call took so many units more (or, below 0, fewer) than it was let through for, which made ``due_at``
    then. Time that has gone by, or that others wait behind, is not given back.
    """
    more = units * limit.interval
    if more < 0:
        more = max(more, now - due_at) if flow.due_at == due_at and now < due_at else 0.0
    return Flow(_due(flow, now) + more, now)


def expires_at(flow: Flow, now: float) -> float:
    """When the state says nothing any more."""
    return max(flow.due_at, now)


def _due(flow: Flow, now: float) -> float:
    """A clock that was set back keeps the waits as long as they were."""
    return flow.due_at - max(flow.seen_at - now, 0.0)
