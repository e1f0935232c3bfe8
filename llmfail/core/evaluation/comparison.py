"""Two targets on the same lines: is the second as good as the first."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from math import comb

from msgspec import Struct

from llmfail.core.evaluation.interval import Interval, PairCounts, paired_difference_interval


class Quality(StrEnum):
    AS_GOOD = "as good"
    WORSE = "worse"
    UNDECIDED = "cannot tell"


class Comparison(Struct, frozen=True):
    """``difference``: the second's pass rate less the first's, with its interval at 95 %. ``p_value`` is that
    of McNemar's exact test: how often two equally good targets would differ so much or more.
    """

    counts: PairCounts
    difference: float
    interval: Interval
    p_value: float
    quality: Quality


def count_pairs(outcomes: Iterable[tuple[bool, bool]]) -> PairCounts:
    pairs = only_first = only_second = 0
    for first, second in outcomes:
        pairs += 1
        only_first += first and not second
        only_second += second and not first
    return PairCounts(pairs, only_first, only_second)


def compare_pairs(counts: PairCounts, margin: float) -> Comparison:
    interval = paired_difference_interval(counts)
    difference = (counts.only_second - counts.only_first) / counts.pairs if counts.pairs else 0.0
    return Comparison(
        counts=counts,
        difference=difference,
        interval=interval,
        p_value=mcnemar_exact(counts.only_first, counts.only_second),
        quality=judge_quality(interval, margin),
    )


def judge_quality(interval: Interval, margin: float) -> Quality:
    """As good: it is not worse by the margin or more. Worse: it is worse by something, and may be by the
    margin.
    """
    if interval.low > -margin:
        return Quality.AS_GOOD
    return Quality.WORSE if interval.high < 0 else Quality.UNDECIDED


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The two-sided p-value: the discordant pairs are tosses of a fair coin."""
    total = only_first + only_second
    fewer = min(only_first, only_second)
    tail = sum(comb(total, count) for count in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**total))
