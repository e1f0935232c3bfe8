"""Intervals for shares and means: what a count says of the truth behind it.

* Wilson: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
* Paired difference: D. G. Bonett and R. M. Price, Adjusted Wald confidence interval for a difference of
  binomial proportions based on paired data, 2012.
* Confidence sequence: H. Robbins, Statistical methods related to the law of the iterated logarithm, 1970; the
  normal mixture, for bounded values.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import NamedTuple, TypeVar

Number = TypeVar("Number", int, float)

Z_95 = 1.959963984540054
"""The 97.5th percentile of the normal distribution: two sides of a confidence of 95 %."""
SEQUENCE_TUNING_COUNT = 100
"""The number of values at which the confidence sequence is about as narrow as it can be."""


class Interval(NamedTuple):
    low: float
    high: float


class PairCounts(NamedTuple):
    """Of so many paired outcomes, how often only the first and only the second passed."""

    pairs: int
    only_first: int
    only_second: int


def nearest_rank(ordered: Sequence[Number], share: float) -> Number | None:
    """The value that this share of them does not exceed; None of nothing."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def wilson_interval(passed: int, total: int) -> Interval:
    """For a share, at 95 %. Without a single value everything is possible."""
    if total == 0:
        return Interval(0.0, 1.0)
    share = passed / total
    square = Z_95 * Z_95
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z_95 * sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return Interval(0.0 if passed == 0 else middle - half, 1.0 if passed == total else middle + half)


def paired_difference_interval(counts: PairCounts) -> Interval:
    """For the second's share less the first's, at 95 %."""
    if counts.pairs == 0:
        return Interval(-1.0, 1.0)
    total = counts.pairs + 2
    gained, lost = (counts.only_second + 1) / total, (counts.only_first + 1) / total
    difference = gained - lost
    half = Z_95 * sqrt((gained + lost - difference * difference) / total)
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))


def mean_sequence(mean: float, count: int, alpha: float = 0.05) -> Interval:
    """For the mean of values in 0..1, after so many of them: with a probability of 1 - ``alpha`` the truth
    is inside at every count at once, so that somebody may look at any time and stop when they like.
    """
    if count == 0:
        return Interval(0.0, 1.0)
    variance = 0.25  # values in 0..1 are sub-Gaussian with it (Hoeffding)
    mixture = 1 / (variance * SEQUENCE_TUNING_COUNT)
    spread = variance * count * mixture + 1
    half = sqrt(2 * variance * spread / (variance * count * mixture) * log(sqrt(spread) / alpha) / count)
    return Interval(max(0.0, mean - half), min(1.0, mean + half))


def difference_sequence(first: Interval, second: Interval) -> Interval:
    """For the second mean less the first, from their sequences; each of half the ``alpha``."""
    return Interval(second.low - first.high, second.high - first.low)
