"""Student's t, and Fisher's exact test: what a fixed sample says of a difference. The mathematics is that of
textbooks; the incomplete beta function by its continued fraction (Abramowitz and Stegun, 26.5.8).
"""

from __future__ import annotations

from math import exp, inf, lgamma, log, sqrt

from llmfail.core.evaluation.interval import Interval
from llmfail.core.records.arm_counters import RunningMean

_PRECISION = 1e-14
_TINY = 1e-300
_TIES = 1 + 1e-9
"""Tables that are equally likely differ by their rounding."""


def mean_interval(sample: RunningMean, confidence: float = 0.95) -> Interval:
    """For a mean, by Student's t; everything is possible with fewer than two values."""
    if sample.count < 2:
        return Interval(-inf, inf)
    half = _find_t(1 - (1 - confidence) / 2, sample.count - 1) * sample.standard_error
    return Interval(sample.mean - half, sample.mean + half)


def compare_means(first: RunningMean, second: RunningMean) -> float | None:
    """The two-sided p-value of Welch's test; None where nothing varies or there is too little."""
    parts = [one.variance / one.count if one.count > 1 else 0.0 for one in (first, second)]
    spread = sum(parts)
    if min(first.count, second.count) < 2 or spread == 0:
        return None
    weights = parts[0] ** 2 / (first.count - 1) + parts[1] ** 2 / (second.count - 1)
    return 2 * _tail_of_t(abs(second.mean - first.mean) / sqrt(spread), spread**2 / weights)


def fisher_exact(passed: tuple[int, int], totals: tuple[int, int]) -> float:
    """The two-sided p-value for two shares: of all tables with these sums, those that are as unlikely as this
    one or more so.
    """
    (first, second), (first_total, second_total) = passed, totals
    all_passed, everything = first + second, first_total + second_total

    def likelihood(count: int) -> float:
        ways = _log_choose(first_total, count) + _log_choose(second_total, all_passed - count)
        return exp(ways - _log_choose(everything, all_passed))

    seen = likelihood(first) * _TIES
    counts = range(max(0, all_passed - second_total), min(first_total, all_passed) + 1)
    return min(1.0, sum(found for count in counts if (found := likelihood(count)) <= seen))


def _log_choose(total: int, count: int) -> float:
    return lgamma(total + 1) - lgamma(count + 1) - lgamma(total - count + 1)


def _find_t(share: float, freedom: float) -> float:
    """The value below which this share (above one half) of the distribution lies."""
    low, high = 0.0, 1.0
    while _tail_of_t(high, freedom) > 1 - share:
        low, high = high, high * 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if _tail_of_t(middle, freedom) > 1 - share:
            low = middle
        else:
            high = middle
    return high


def _tail_of_t(value: float, freedom: float) -> float:
    """The probability to exceed a value of at least 0."""
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value * value)) / 2


def _incomplete_beta(first: float, second: float, x: float) -> float:
    """Regularized: I_x(first, second)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (first + 1) / (first + second + 2):
        return 1 - _incomplete_beta(second, first, 1 - x)
    scale = lgamma(first + second) - lgamma(first) - lgamma(second) + first * log(x) + second * log(1 - x)
    return exp(scale) / first * _continued_fraction(first, second, x)


def _continued_fraction(first: float, second: float, x: float) -> float:
    """By the method of Lentz."""
    numerator, denominator = 1.0, 1 / _away_from_zero(1 - (first + second) * x / (first + 1))
    found = denominator
    for step in range(1, 10_000):
        even = step * (second - step) * x / ((first + 2 * step - 1) * (first + 2 * step))
        odd = -(first + step) * (first + second + step) * x / ((first + 2 * step) * (first + 2 * step + 1))
        for part in (even, odd):
            denominator = 1 / _away_from_zero(1 + part * denominator)
            numerator = _away_from_zero(1 + part / numerator)
            change = numerator * denominator
            found *= change
        if abs(change - 1) < _PRECISION:
            break
    return found


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
