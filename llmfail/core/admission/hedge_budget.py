"""Hedging: asking a second target while the first is late, for a limited share of the asks.

Each feature of a configuration has one token bucket for all processes: an ask earns a tenth of a hedge, a
hedge costs a whole one, and the bucket holds ten (the figures of gRPC's retry throttling). When every target
is late, the bucket runs empty, hedging stops, and the circuit breakers decide again.
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
"""The price of a hedge; an ask earns one credit."""
MAX_CREDITS = 10 * CREDITS_PER_HEDGE
RETENTION_SECONDS = 30 * 24 * 3600.0
MIN_ANSWERS = 20
"""Answers that a target must have given before its usual latency is known."""
LATE_PERCENTILE = 0.95
"""With ``p95`` a target is late once it takes longer than it did for this share of its answers."""


class TokenBucket(Record, frozen=True):
    """The balance of one feature: the credits that asks earned, less those that hedges spent."""

    earned: Annotated[int, Meta(ge=0, le=MAX_CREDITS)] = MAX_CREDITS


def debit(key: str, values: Values, now: float) -> tuple[Writes, bool]:
    """Whether the balance pays for a hedge now, and the writes that take the price from it."""
    earned = load_or_default(values[key], TokenBucket).earned
    if earned < CREDITS_PER_HEDGE:
        return {}, False
    writes = _write_bucket(key, earned - CREDITS_PER_HEDGE, values, now)
    return writes, bool(writes)


def credit(key: str, unused_hedges: int, *, asks: int = 1) -> StoreChange:
    """Add what so many asks earn, and refund ``unused_hedges``, which were paid for but made no call."""

    def change(values: Values, now: float) -> Writes:
        earned = load_or_default(values[key], TokenBucket).earned
        more = min(earned + asks + unused_hedges * CREDITS_PER_HEDGE, MAX_CREDITS)
        return _write_bucket(key, more, values, now) if more != earned else {}

    return StoreChange((key,), change)


def hedge_delay(counters: CallCounters) -> float | None:
    """Seconds after which this target is late by its own history; None with too few answers."""
    if counters.ok < MIN_ANSWERS:
        return None
    found = percentile(counters.latencies, LATE_PERCENTILE)
    return None if found is None else found / 1000


def _write_bucket(key: str, earned: int, values: Values, now: float) -> Writes:
    return without_newer(
        {key: Write(dump(TokenBucket(earned)), hourly_expiry(now + RETENTION_SECONDS))},
        values,
    )
