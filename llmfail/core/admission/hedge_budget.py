"""Hedging: asking a second target while the first is late, for a share of the asks at most.

A token bucket for each feature, shared by everybody who asks for it: an ask earns a tenth of a hedge, a hedge
costs a whole one, and the bucket holds ten (the figures of gRPC's retry throttling). While everything is
late, hedges end by themselves, and the circuits decide again.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmfail.core.records.counters import Tally, percentile
from llmfail.core.records.record import (
    Record,
    Step,
    Values,
    Write,
    Writes,
    dump,
    kept_until,
    ours,
    recall,
)

COST = 10
"""Of one hedge, in what an ask earns."""
MOST = 10 * COST
KEPT = 30 * 24 * 3600.0
ENOUGH = 20
"""Answers that a target must have given before its usual latency is known."""
LATE = 0.95
"""The share of its answers that a target gives sooner, where ``p95`` says what is late."""


class Bucket(Record, frozen=True):
    """What asks have earned and hedges have not spent."""

    earned: Annotated[int, Meta(ge=0, le=MOST)] = MOST


def key(feature: str) -> str:
    return f"hedge/{feature}"


def spend(feature: str, values: Values, now: float) -> tuple[Writes, bool]:
    """Whether there may be a hedge now: one that can be paid for, and the payment kept."""
    earned = recall(values[key(feature)], Bucket).earned
    if earned < COST:
        return {}, False
    writes = _kept(feature, earned - COST, values, now)
    return writes, bool(writes)


def earn(feature: str, unused: int, *, asks: int = 1) -> Step:
    """After so many asks; ``unused`` hedges were allowed and came to no call."""

    def change(values: Values, now: float) -> Writes:
        earned = recall(values[key(feature)], Bucket).earned
        more = min(earned + asks + unused * COST, MOST)
        return _kept(feature, more, values, now) if more != earned else {}

    return Step((key(feature),), change)


def late_after(tally: Tally) -> float | None:
    """Seconds after which an answer of this target is late by its own standards; None: nobody knows."""
    if tally.ok < ENOUGH:
        return None
    found = percentile(tally.latencies, LATE)
    return None if found is None else found / 1000


def _kept(feature: str, earned: int, values: Values, now: float) -> Writes:
    return ours({key(feature): Write(dump(Bucket(earned)), kept_until(now + KEPT))}, values)
