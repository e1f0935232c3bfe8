"""Intervals hold what they promise, by simulation with known truth, and agree with scipy."""

import random
from itertools import pairwise

import pytest
from scipy import stats

from llmfail.core.evaluation.interval import (
    PairCounts,
    difference_sequence,
    mean_sequence,
    paired_difference_interval,
    wilson_interval,
)

RUNS = 1000


@pytest.mark.parametrize("truth", [0.7, 0.8, 0.9])
def test_wilson_covers_the_truth_in_95_of_100_runs(truth):
    dice = random.Random(1)
    covered = 0
    for _ in range(RUNS):
        low, high = wilson_interval(sum(dice.random() < truth for _ in range(200)), 200)
        covered += low <= truth <= high
    assert 0.93 <= covered / RUNS <= 0.97


@pytest.mark.parametrize(("first", "second"), [(0.9, 0.9), (0.9, 0.7), (0.7, 0.8)])
def test_the_interval_of_a_paired_difference_covers_the_truth(first, second):
    dice = random.Random(2)
    covered = 0
    for _ in range(RUNS):
        outcomes = [(dice.random() < first, dice.random() < second) for _ in range(200)]
        counts = PairCounts(200, sum(a and not b for a, b in outcomes), sum(b and not a for a, b in outcomes))
        low, high = paired_difference_interval(counts)
        covered += low <= second - first <= high
    assert 0.93 <= covered / RUNS <= 0.97


@pytest.mark.parametrize(("passed", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (17, 40), (999, 1000)])
def test_wilson_agrees_with_scipy(passed, total):
    theirs = stats.binomtest(passed, total).proportion_ci(method="wilson")
    assert wilson_interval(passed, total) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_without_a_value_everything_is_possible():
    assert wilson_interval(0, 0) == (0, 1)
    assert paired_difference_interval(PairCounts(0, 0, 0)) == (-1, 1)
    assert mean_sequence(0.0, 0) == (0, 1)


def test_looking_after_each_value_misses_the_truth_in_at_most_5_of_100_runs():
    dice = random.Random(3)
    missed = 0
    for _ in range(200):
        total = 0
        for count in range(1, 501):
            total += dice.random() < 0.8
            low, high = mean_sequence(total / count, count)
            if not low <= 0.8 <= high:
                missed += 1
                break
    assert missed / 200 <= 0.05


def test_a_sequence_narrows_and_tells_a_large_difference():
    widths = [high - low for low, high in (mean_sequence(0.5, count) for count in (10, 100, 1000, 10000))]
    assert all(wide > narrow for wide, narrow in pairwise(widths))
    assert difference_sequence(mean_sequence(0.5, 2000, 0.025), mean_sequence(0.8, 2000, 0.025)).low > 0
