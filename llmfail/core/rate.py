"""The rate limiter as a value: the generic cell rate algorithm, one timestamp per limit.

A call that has to wait takes its place in the row at once: whoever comes later waits behind it, nobody is
woken to lose a race, and a process that dies while it waits leaves a gap, never a call too many.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmfail.core.record import Record

Unit = Literal["requests", "tokens"]

MINUTE = 61.0
"""Seconds over which the allowance of a minute is spread: a call that was admitted in time and reaches the
provider less than a second late is no call too many there.
"""


class Limit(Struct, frozen=True):
    """So many units in any minute, ``burst`` more at once. ``key`` is where its state is kept; ``name`` is
    the provider or target that it holds for.
    """

    key: str
    name: str
    unit: Unit
    per_minute: int
    burst: int = 1

    @property
    def interval(self) -> float:
        """Seconds that one unit takes."""
        return MINUTE / self.per_minute


class Flow(Record, frozen=True):
    """``due_at``: when everything that was let through will have taken its time; ``seen_at`` is the clock
    then.
    """

    due_at: float = 0.0
    seen_at: float = 0.0


def wait(flow: Flow, limit: Limit, now: float) -> float:
    """Seconds until the next call may start; 0 when it may at once."""
    return max(0.0, _due(flow, now) - (limit.burst - 1) * limit.interval - now)


def take(flow: Flow, limit: Limit, units: int, start_at: float, now: float) -> Flow:
    """Let a call of so many units start at that moment, which is now or later."""
    return Flow(max(_due(flow, now), start_at) + units * limit.interval, now)


def correct(flow: Flow, limit: Limit, units: int, now: float) -> Flow:
    """A call took so many units more (or, below 0, fewer) than it was let through for."""
    return Flow(_due(flow, now) + units * limit.interval, now)


def expires_at(flow: Flow, now: float) -> float:
    """When the state says nothing any more."""
    return max(flow.due_at, now)


def _due(flow: Flow, now: float) -> float:
    """A clock that was set back keeps the waits as long as they were."""
    return flow.due_at - max(flow.seen_at - now, 0.0)
