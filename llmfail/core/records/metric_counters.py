"""What only ever grows, for monitors: asks, calls and skips of one configuration since its first ask, and
what its calls have used. Unlike the counters of an hour they are never dropped, so that what a monitor reads
twice does not shrink. They have as many entries as the configuration has names: what is not named in it is
``other``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import field
from msgspec.structs import replace

from llmfail.core.records.record import Record

OTHER = "other"
"""Stands for every name that the configuration does not have."""
SEPARATOR = "\t"
"""Between the labels of one entry; no name contains it."""
SECONDS_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
"""Upper ends of the buckets for the seconds of an ask."""

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


class CountedEntry(NamedTuple):
    """One entry of a trail as it is counted; ``action`` is called or skipped."""

    action: str
    target: str
    outcome: str


def join_labels(*labels: str) -> str:
    return SEPARATOR.join(labels)


def add(entries: Entries, name: str, amount: int = 1) -> Entries:
    return {**entries, name: entries.get(name, 0) + amount} if amount else entries


def count_ask_metrics(
    metrics: AskMetrics, request: str, trail: Iterable[CountedEntry], latency_ms: int
) -> AskMetrics:
    """``request`` is its labels, joined."""
    attempts, skips = dict(metrics.attempts), dict(metrics.skips)
    for entry in trail:
        counted = attempts if entry.action == "called" else skips
        name = join_labels(entry.target, entry.outcome)
        counted[name] = counted.get(name, 0) + 1
    bucket = next(
        (index for index, end in enumerate(SECONDS_BUCKETS) if latency_ms <= end * 1000), len(SECONDS_BUCKETS)
    )
    return replace(
        metrics,
        requests=add(metrics.requests, request),
        attempts=attempts,
        skips=skips,
        seconds={**metrics.seconds, bucket: metrics.seconds.get(bucket, 0) + 1},
        total_ms=metrics.total_ms + latency_ms,
    )


def count_use_metrics(
    metrics: UseMetrics, target: str, feature: str, tokens: Mapping[str, int], cost: int | None
) -> UseMetrics:
    """``tokens`` by their kind."""
    counted = metrics.tokens
    for kind, amount in tokens.items():
        counted = add(counted, join_labels(target, kind), amount)
    return replace(
        metrics,
        tokens=counted,
        cost=add(metrics.cost, join_labels(target, feature), cost or 0),
        calls=add(metrics.calls, target),
        unpriced=add(metrics.unpriced, target) if cost is None else metrics.unpriced,
    )
