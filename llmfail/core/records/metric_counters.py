"""What only ever grows, for monitors: asks, calls and skips of one configuration since its first ask, and
what its calls have used. Unlike the counters of an hour they are never dropped, so that what a monitor reads
twice does not shrink. They have as many entries as the configuration has names: what is not named in it is
``other``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import TypeVar

from msgspec import field
from msgspec.structs import replace

from llmfail.core.records.counted_events import CountedAsk, CountedCall, group_by
from llmfail.core.records.record import Record

OTHER = "other"
"""Stands for every name that the configuration does not have."""
SEPARATOR = "\t"
"""Between the labels of one entry; no name contains it."""
SECONDS_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Upper ends of the buckets for the seconds of an ask."""
_TOKENS_BY_KIND = {
    "input": attrgetter("input_tokens"),
    "cached_input": attrgetter("cached_input_tokens"),
    "cache_write": attrgetter("cache_write_tokens"),
    "output": attrgetter("output_tokens"),
}
K = TypeVar("K")

Entries = Mapping[str, int]
"""A count, or pico-dollars, per labels joined by the separator."""


class AskMetrics(Record, frozen=True):
    """``requests`` by feature, source, tier and status (``ok`` or the kind of error); ``attempts`` by target
    and outcome; ``skips`` by target and reason; ``seconds``: how many asks took at most so many of
    ``SECONDS_BUCKETS``, by index, and one more for those that took longer.
    """

    requests: Entries = field(default_factory=dict)
    attempts: Entries = field(default_factory=dict)
    skips: Entries = field(default_factory=dict)
    seconds: Mapping[int, int] = field(default_factory=dict)
    total_ms: int = 0


class UseMetrics(Record, frozen=True):
    """``tokens`` by target and kind; ``cost`` in pico-dollars, by target and feature; ``calls`` of a target
    that answered or may have been charged, and how many of them have no known price (``unpriced``).
    """

    tokens: Entries = field(default_factory=dict)
    cost: Entries = field(default_factory=dict)
    calls: Entries = field(default_factory=dict)
    unpriced: Entries = field(default_factory=dict)


def join_labels(*labels: str) -> str:
    return SEPARATOR.join(labels)


def count_ask_metrics(metrics: AskMetrics, asks: Sequence[CountedAsk]) -> AskMetrics:
    latencies = [*map(attrgetter("latency_ms"), asks)]
    return replace(
        metrics,
        requests=_add(metrics.requests, Counter(map(attrgetter("request"), asks))),
        attempts=_add(metrics.attempts, Counter(chain.from_iterable(map(attrgetter("attempts"), asks)))),
        skips=_add(metrics.skips, Counter(chain.from_iterable(map(attrgetter("skips"), asks)))),
        seconds=_add(metrics.seconds, Counter(map(_seconds_bucket_of, latencies))),
        total_ms=metrics.total_ms + sum(latencies),
    )


def count_use_metrics(metrics: UseMetrics, calls: Sequence[CountedCall]) -> UseMetrics:
    """Calls that answered, or may have been charged."""
    tokens: Counter[str] = Counter()
    cost: Counter[str] = Counter()
    for (target, feature), its_calls in group_by(attrgetter("target", "feature"), calls).items():
        cost[join_labels(target, feature)] += sum(call.cost or 0 for call in its_calls)
        reported = [call.usage for call in its_calls if call.usage is not None]
        for kind, tokens_of in _TOKENS_BY_KIND.items():
            tokens[join_labels(target, kind)] += sum(map(tokens_of, reported))
    return replace(
        metrics,
        tokens=_add(metrics.tokens, tokens),
        cost=_add(metrics.cost, cost),
        calls=_add(metrics.calls, Counter(map(attrgetter("target"), calls))),
        unpriced=_add(metrics.unpriced, Counter(call.target for call in calls if call.cost is None)),
    )


def _add(entries: Mapping[K, int], more: Mapping[K, int]) -> Mapping[K, int]:
    """An entry is made by the first amount that is not zero."""
    return {**entries, **{name: entries.get(name, 0) + amount for name, amount in more.items() if amount}}


def _seconds_bucket_of(latency_ms: int) -> int:
    return bisect_left(SECONDS_BUCKETS, latency_ms / 1000)
