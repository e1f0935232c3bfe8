"""Hedging: asking a second target while the first is late, for a share of the asks at most.

A token bucket for each feature, shared by everybody who asks for it: an ask earns a tenth of a hedge, a hedge
costs a whole one, and the bucket holds ten (the figures of gRPC's retry throttling). While everything is
late, hedges end by themselves, and the circuits decide again.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from llmfail.core.records.counters import CallCounters, percentile
from llmfail.core.records.record import (
    Record,
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    load_or_default,
    without_newer,
)

CREDITS_PER_HEDGE = 10
"""Of one hedge, in what an ask earns."""
MAX_CREDITS = 10 * CREDITS_PER_HEDGE
RETENTION_SECONDS = 30 * 24 * 3600.0
MIN_ANSWERS = 20
"""Answers that a target must have given before its usual latency is known."""
LATE_PERCENTILE = 0.95
"""The share of its answers that a target gives sooner, where ``p95`` says what is late."""


class TokenBucket(Record, frozen=True):
    """What asks have earned and hedges have not spent."""

    earned: Annotated[int, Meta(ge=0, le=MAX_CREDITS)] = MAX_CREDITS


def bucket_key(feature: str) -> str:
    return f"hedge/{feature}"


def debit(feature: str, values: Values, now: float) -> tuple[Writes, bool]:
    """Whether there may be a hedge now: one that can be paid for, and the payment kept."""
    earned = load_or_default(values[bucket_key(feature)], TokenBucket).earned
    if earned < CREDITS_PER_HEDGE:
        return {}, False
    writes = _write_bucket(feature, earned - CREDITS_PER_HEDGE, values, now)
    return writes, bool(writes)


def credit(feature: str, unused_hedges: int, *, asks: int = 1) -> StoreChange:
    """After so many asks; ``unused_hedges`` hedges were allowed and came to no call."""

    def change(values: Values, now: float) -> Writes:
        earned = load_or_default(values[bucket_key(feature)], TokenBucket).earned
        more = min(earned + asks + unused_hedges * CREDITS_PER_HEDGE, MAX_CREDITS)
        return _write_bucket(feature, more, values, now) if more != earned else {}

    return StoreChange((bucket_key(feature),), change)


def hedge_delay(counters: CallCounters) -> float | None:
    """Seconds after which an answer of this target is late by its own standards; None: nobody knows."""
    if counters.ok < MIN_ANSWERS:
        return None
    found = percentile(counters.latencies, LATE_PERCENTILE)
    return None if found is None else found / 1000


def _write_bucket(feature: str, earned: int, values: Values, now: float) -> Writes:
    return without_newer(
        {bucket_key(feature): Write(dump(TokenBucket(earned)), hourly_expiry(now + RETENTION_SECONDS))},
        values,
    )
