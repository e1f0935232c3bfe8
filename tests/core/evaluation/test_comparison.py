"""A verdict is right as often as it says, by simulation with known quality."""

import random

import pytest
from scipy import stats

from llmfail.core.evaluation.comparison import (
    Quality,
    compare_pairs,
    count_pairs,
    judge_quality,
    mcnemar_exact,
)
from llmfail.core.evaluation.interval import Interval, PairCounts

RUNS = 500
LINES = 200
MARGIN = 0.1


def share_of(verdict, first, second):
    dice = random.Random(4)
    found = 0
    for _ in range(RUNS):
        outcomes = [(dice.random() < first, dice.random() < second) for _ in range(LINES)]
        found += compare_pairs(count_pairs(outcomes), MARGIN).quality is verdict
    return found / RUNS


@pytest.mark.parametrize("quality", [0.7, 0.8, 0.9])
def test_an_equal_fallback_is_called_worse_in_at_most_5_of_100_runs(quality):
    assert share_of(Quality.WORSE, quality, quality) <= 0.05


@pytest.mark.parametrize("quality", [0.7, 0.8, 0.9])
def test_one_that_is_worse_by_20_points_is_found_in_at_least_85_of_100_runs(quality):
    assert share_of(Quality.WORSE, quality, quality - 0.2) >= 0.85
    assert share_of(Quality.AS_GOOD, quality, quality - 0.2) <= 0.01


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(-0.05, 0.05), Quality.AS_GOOD),
        (Interval(-0.05, -0.01), Quality.AS_GOOD),
        (Interval(-0.3, -0.01), Quality.WORSE),
        (Interval(-0.2, 0.1), Quality.UNDECIDED),
        (Interval(-0.1, 0.1), Quality.UNDECIDED),
        (Interval(-0.3, 0.0), Quality.UNDECIDED),
    ],
)
def test_the_bounds_decide(interval, verdict):
    assert judge_quality(interval, MARGIN) is verdict


def test_pairs_are_counted():
    outcomes = [(True, True), (True, False), (True, False), (False, True), (False, False)]
    assert count_pairs(outcomes) == PairCounts(5, 2, 1)
    assert compare_pairs(PairCounts(5, 2, 1), MARGIN).difference == pytest.approx(-0.2)
    assert compare_pairs(PairCounts(0, 0, 0), MARGIN).quality is Quality.UNDECIDED


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 5), (3, 9), (10, 10), (40, 12)])
def test_mcnemar_agrees_with_scipy(first, second):
    theirs = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(theirs, abs=1e-6)
