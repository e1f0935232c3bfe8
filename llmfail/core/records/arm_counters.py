"""What became of the asks of one arm of an experiment. What was answered from the cache tells of an earlier
ask, so it is counted and is part of no other figure.
"""

from __future__ import annotations

from math import sqrt

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.records.counters import Histogram, add_latencies
from llmfail.core.records.record import Record

COUNTERS_LIFETIME = 400 * 86400.0
"""Seconds that they are kept after the last ask."""


class RunningMean(Struct, frozen=True):
    """Some values by their number, mean and sum of squared distances from it (Welford), which gives the
    variance without loss.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def variance(self) -> float:
        """Estimated without bias; 0 of fewer than two values."""
        return max(self.squares, 0.0) / (self.count - 1) if self.count > 1 else 0.0

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return sqrt(self.variance / self.count) if self.count else 0.0

    def add(self, value: float) -> RunningMean:
        count = self.count + 1
        mean = self.mean + (value - self.mean) / count
        return RunningMean(count, mean, self.squares + (value - self.mean) * (value - mean))

    def remove(self, value: float) -> RunningMean:
        """Without a value that was added."""
        if self.count <= 1:
            return RunningMean()
        count = self.count - 1
        mean = self.mean - (value - self.mean) / count
        return RunningMean(count, mean, self.squares - (value - self.mean) * (value - mean))


class ArmCounters(Record, frozen=True):
    """``hits``: asks that the cache answered. Of the others: ``served``: answered by the arm's own target;
    ``judged``: its target gave an answer, which ``fit`` what is expected or not; ``cost`` in US dollars,
    ``unpriced``: of unknown cost; ``latency`` in seconds, of asks that were answered. ``feedback`` from 0
    (bad) to 1 (good).
    """

    asks: int = 0
    hits: int = 0
    served: int = 0
    judged: int = 0
    fit: int = 0
    unpriced: int = 0
    cost: RunningMean = RunningMean()
    latency: RunningMean = RunningMean()
    latencies: Histogram = field(default_factory=dict)
    feedback: RunningMean = RunningMean()


class ArmOutcome(Struct, frozen=True):
    """One ask. ``fits`` is None where the arm's target gave no answer, ``cost`` where it is not known."""

    is_hit: bool
    is_served: bool
    fits: bool | None
    cost: float | None
    latency_ms: int | None


def count_outcome(counters: ArmCounters, outcome: ArmOutcome) -> ArmCounters:
    if outcome.is_hit:
        return replace(counters, asks=counters.asks + 1, hits=counters.hits + 1)
    took, cost = outcome.latency_ms, outcome.cost
    return replace(
        counters,
        asks=counters.asks + 1,
        served=counters.served + outcome.is_served,
        judged=counters.judged + (outcome.fits is not None),
        fit=counters.fit + (outcome.fits is True),
        unpriced=counters.unpriced + (cost is None),
        cost=counters.cost if cost is None else counters.cost.add(cost),
        latency=counters.latency if took is None else counters.latency.add(took / 1000),
        latencies=counters.latencies if took is None else add_latencies(counters.latencies, [took]),
    )


def count_feedback(counters: ArmCounters, score: float, earlier: float | None) -> ArmCounters:
    """``earlier``: what was said of the same ask before, which counts no longer."""
    known = counters.feedback if earlier is None else counters.feedback.remove(earlier)
    return replace(counters, feedback=known.add(score))
