"""Counters and latencies per hour: of one target (``Tally``) and of all asks (``Routing``).

Latencies are counted in buckets that grow by a tenth, so a percentile is right within five per cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, exp, log

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.records.record import Record

HOUR = 3600
KEPT_HOURS = 24 * 8
GROWTH = 1.1

Histogram = Mapping[int, int]
"""How many calls, per bucket of latency."""


class Tally(Record, frozen=True):
    """One hour of one target. ``cost`` in pico-dollars, of the calls whose price is known."""

    calls: int = 0
    ok: int = 0
    fallbacks: int = 0
    cost: int = 0
    unpriced: int = 0
    latencies: Histogram = field(default_factory=dict)
    last_error: str | None = None


class Routing(Record, frozen=True):
    """One hour of asks. ``met_open``: asks that found at least one circuit open. ``hits`` and ``misses``:
    asks for which a stored answer would have done.
    """

    asks: int = 0
    fallbacks: int = 0
    degraded: int = 0
    errors: int = 0
    met_open: int = 0
    latency_ms: int = 0
    latencies: Histogram = field(default_factory=dict)
    hits: int = 0
    misses: int = 0


class Thresholds(Struct, frozen=True):
    """Above which an alert stands; rates are shares, ``latency_p95`` is in seconds, ``cost_per_day`` USD."""

    circuit_open_rate: float
    fallback_rate: float
    latency_p95: float
    error_rate: float
    cost_per_day: float


class Alert(Struct, frozen=True):
    name: str
    level: str
    value: float
    threshold: float
    message: str


def hour_of(moment: float) -> int:
    return int(moment // HOUR)


def count_call(
    tally: Tally, *, ok: bool, fallback: bool, latency_ms: int, cost: int | None, error: str | None
) -> Tally:
    return replace(
        tally,
        calls=tally.calls + 1,
        ok=tally.ok + ok,
        fallbacks=tally.fallbacks + fallback,
        cost=tally.cost + (cost or 0),
        unpriced=tally.unpriced + (cost is None),
        latencies=observe(tally.latencies, latency_ms) if ok else tally.latencies,
        last_error=error or tally.last_error,
    )


def count_ask(
    routing: Routing, *, tier: int, ok: bool, met_open: bool, latency_ms: int, hit: bool | None = None
) -> Routing:
    """``hit``: whether a stored answer served; None where none would have done."""
    return replace(
        routing,
        asks=routing.asks + 1,
        fallbacks=routing.fallbacks + (ok and 1 <= tier <= 3),
        degraded=routing.degraded + (ok and tier == 4),
        errors=routing.errors + (not ok),
        met_open=routing.met_open + met_open,
        latency_ms=routing.latency_ms + latency_ms,
        latencies=observe(routing.latencies, latency_ms),
        hits=routing.hits + (hit is True),
        misses=routing.misses + (hit is False),
    )


def sum_tallies(tallies: Iterable[Tally]) -> Tally:
    """Several hours as one, the oldest first."""
    total = Tally()
    for tally in tallies:
        total = Tally(
            calls=total.calls + tally.calls,
            ok=total.ok + tally.ok,
            fallbacks=total.fallbacks + tally.fallbacks,
            cost=total.cost + tally.cost,
            unpriced=total.unpriced + tally.unpriced,
            latencies=merge(total.latencies, tally.latencies),
            last_error=tally.last_error or total.last_error,
        )
    return total


def sum_routings(routings: Iterable[Routing]) -> Routing:
    total = Routing()
    for routing in routings:
        total = Routing(
            asks=total.asks + routing.asks,
            fallbacks=total.fallbacks + routing.fallbacks,
            degraded=total.degraded + routing.degraded,
            errors=total.errors + routing.errors,
            met_open=total.met_open + routing.met_open,
            latency_ms=total.latency_ms + routing.latency_ms,
            latencies=merge(total.latencies, routing.latencies),
            hits=total.hits + routing.hits,
            misses=total.misses + routing.misses,
        )
    return total


def observe(latencies: Histogram, latency_ms: int) -> Histogram:
    bucket = round(log(max(latency_ms, 1)) / log(GROWTH))
    return {**latencies, bucket: latencies.get(bucket, 0) + 1}


def merge(left: Histogram, right: Histogram) -> Histogram:
    return {bucket: left.get(bucket, 0) + right.get(bucket, 0) for bucket in left.keys() | right.keys()}


def percentile(latencies: Histogram, share: float) -> int | None:
    """Milliseconds under which that share of the calls stayed; None without any call."""
    rank = ceil(share * sum(latencies.values()))
    for bucket in sorted(latencies):
        rank -= latencies[bucket]
        if rank <= 0:
            return round(exp(bucket * log(GROWTH)))
    return None


def rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def alerts(routing: Routing, spent: float, thresholds: Thresholds) -> tuple[Alert, ...]:
    """What is over its threshold; critical at twice the threshold. ``spent`` is in USD."""
    p95 = (percentile(routing.latencies, 0.95) or 0) / 1000
    watched = (
        ("circuit_open_rate", rate(routing.met_open, routing.asks), thresholds.circuit_open_rate, ""),
        ("fallback_rate", rate(routing.fallbacks, routing.asks), thresholds.fallback_rate, ""),
        ("latency_p95", p95, thresholds.latency_p95, " s"),
        ("error_rate", rate(routing.errors, routing.asks), thresholds.error_rate, ""),
        ("cost_per_day", spent, thresholds.cost_per_day, " USD"),
    )
    return tuple(_alert(*figures) for figures in watched if figures[1] > figures[2])


def _alert(name: str, value: float, threshold: float, unit: str) -> Alert:
    level = "critical" if value >= 2 * threshold else "warning"
    message = f"{name} is {_shown(value)}{unit}, above {_shown(threshold)}{unit}, in the last 24 hours"
    return Alert(name, level, value, threshold, message)


def _shown(value: float) -> str:
    """``0.1667``, ``2,000``: never as a power of ten."""
    return f"{value:,.4f}".rstrip("0").rstrip(".")
