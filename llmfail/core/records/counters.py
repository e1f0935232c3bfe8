"""Counters and latencies per hour: of one target (``CallCounters``) and of all asks (``AskCounters``).

Latencies are counted in buckets that grow by a tenth, so a percentile is right within five per cent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import ceil, exp, log
from operator import attrgetter

from msgspec import field
from msgspec.structs import replace

from llmfail.core.records.counted_events import CountedAsk, CountedCall
from llmfail.core.records.record import Record

HOUR_SECONDS = 3600
RETENTION_HOURS = 24 * 8
BUCKET_GROWTH = 1.1
_LOG_OF_GROWTH = log(BUCKET_GROWTH)

Histogram = Mapping[int, int]
"""How many calls, per bucket of latency."""


class CallCounters(Record, frozen=True):
    """One hour of one target. ``cost`` in pico-dollars, of the calls whose price is known."""

    calls: int = 0
    ok: int = 0
    fallbacks: int = 0
    cost: int = 0
    unpriced: int = 0
    latencies: Histogram = field(default_factory=dict)
    last_error: str | None = None


class AskCounters(Record, frozen=True):
    """One hour of asks. ``errors``: asks that the service left without an answer; those that had none for
    want of a usable credential, because of a budget, or because the request was at fault are counted apart.
    ``met_open``: asks that found at least one circuit open. ``hits`` and ``misses``: asks that could use a
    stored answer.
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
    without_credential: int = 0
    over_budget: int = 0
    requests_at_fault: int = 0


def hour_of(moment: float) -> int:
    return int(moment // HOUR_SECONDS)


def counters_expiry(hour: int) -> float:
    """When the counters of an hour may be forgotten."""
    return float((hour + RETENTION_HOURS) * HOUR_SECONDS)


def count_calls(counters: CallCounters, calls: Sequence[CountedCall]) -> CallCounters:
    answered = [call.latency_ms for call in calls if call.ok]
    costs = [call.cost for call in calls if call.cost is not None]
    errors = filter(None, map(attrgetter("error"), reversed(calls)))
    return replace(
        counters,
        calls=counters.calls + len(calls),
        ok=counters.ok + len(answered),
        fallbacks=counters.fallbacks + sum(map(attrgetter("fallback"), calls)),
        cost=counters.cost + sum(costs),
        unpriced=counters.unpriced + len(calls) - len(costs),
        latencies=add_latencies(counters.latencies, answered),
        last_error=next(errors, counters.last_error),
    )


def count_asks(counters: AskCounters, asks: Sequence[CountedAsk]) -> AskCounters:
    answered = Counter(ask.tier for ask in asks if ask.missing is None)
    missing = Counter(map(attrgetter("missing"), asks))
    hits = Counter(map(attrgetter("hit"), asks))
    latencies = [*map(attrgetter("latency_ms"), asks)]
    return replace(
        counters,
        asks=counters.asks + len(asks),
        fallbacks=counters.fallbacks + answered[1] + answered[2] + answered[3],
        degraded=counters.degraded + answered[4],
        errors=counters.errors + missing["service"],
        met_open=counters.met_open + sum(map(attrgetter("saw_open_circuit"), asks)),
        latency_ms=counters.latency_ms + sum(latencies),
        latencies=add_latencies(counters.latencies, latencies),
        hits=counters.hits + hits[True],
        misses=counters.misses + hits[False],
        without_credential=counters.without_credential + missing["credential"],
        over_budget=counters.over_budget + missing["budget"],
        requests_at_fault=counters.requests_at_fault + missing["request"],
    )


def sum_call_counters(hours: Iterable[CallCounters]) -> CallCounters:
    """Several hours as one, the oldest first."""
    total = CallCounters()
    for hour in hours:
        total = CallCounters(
            calls=total.calls + hour.calls,
            ok=total.ok + hour.ok,
            fallbacks=total.fallbacks + hour.fallbacks,
            cost=total.cost + hour.cost,
            unpriced=total.unpriced + hour.unpriced,
            latencies=merge_histograms(total.latencies, hour.latencies),
            last_error=hour.last_error or total.last_error,
        )
    return total


def sum_ask_counters(hours: Iterable[AskCounters]) -> AskCounters:
    total = AskCounters()
    for hour in hours:
        total = AskCounters(
            asks=total.asks + hour.asks,
            fallbacks=total.fallbacks + hour.fallbacks,
            degraded=total.degraded + hour.degraded,
            errors=total.errors + hour.errors,
            met_open=total.met_open + hour.met_open,
            latency_ms=total.latency_ms + hour.latency_ms,
            latencies=merge_histograms(total.latencies, hour.latencies),
            hits=total.hits + hour.hits,
            misses=total.misses + hour.misses,
            without_credential=total.without_credential + hour.without_credential,
            over_budget=total.over_budget + hour.over_budget,
            requests_at_fault=total.requests_at_fault + hour.requests_at_fault,
        )
    return total


def add_latencies(histogram: Histogram, latencies: Iterable[int]) -> Histogram:
    """Latencies in milliseconds."""
    counts = Counter(histogram)
    counts.update(map(_bucket_of, latencies))
    return counts


def merge_histograms(left: Histogram, right: Histogram) -> Histogram:
    return {bucket: left.get(bucket, 0) + right.get(bucket, 0) for bucket in left.keys() | right.keys()}


@lru_cache(maxsize=4096)
def _bucket_of(latency_ms: int) -> int:
    return round(log(max(latency_ms, 1)) / _LOG_OF_GROWTH)


def percentile(latencies: Histogram, share: float) -> int | None:
    """The milliseconds that this share of the calls did not exceed; None without any call."""
    rank = ceil(share * sum(latencies.values()))
    for bucket in sorted(latencies):
        rank -= latencies[bucket]
        if rank <= 0:
            return round(exp(bucket * _LOG_OF_GROWTH))
    return None


def rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
