"""Figures of fixed samples agree with scipy to six digits."""

import random
from statistics import variance

import pytest
from scipy import stats

from llmfail.core.evaluation.distribution import compare_means, fisher_exact, mean_interval
from llmfail.core.records.arm_counters import RunningMean


def running_mean(values):
    found = RunningMean()
    for value in values:
        found = found.add(value)
    return found


def draw(seed, count, mean=1.0, spread=1.0):
    dice = random.Random(seed)
    return [dice.gauss(mean, spread) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 10, 200, 5000])
def test_the_interval_of_a_mean(count):
    values = draw(count, count, 0.0004, 0.0001)
    theirs = stats.t.interval(0.95, count - 1, loc=sum(values) / count, scale=stats.sem(values))
    assert mean_interval(running_mean(values)) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("counts", [(2, 2), (10, 300), (400, 350)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 2.0])
def test_the_comparison_of_two_means(counts, shift):
    first, second = draw(1, counts[0]), draw(2, counts[1], 1.0 + shift, 3.0)
    theirs = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert compare_means(running_mean(first), running_mean(second)) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(
    ("passed", "totals"),
    [
        ((8, 5), (10, 10)),
        ((0, 0), (7, 9)),
        ((5, 5), (10, 10)),
        ((93, 70), (100, 100)),
        ((9000, 9100), (10**4, 10**4)),
    ],
)
def test_the_comparison_of_two_shares(passed, totals):
    theirs = stats.fisher_exact([[passed[0], totals[0] - passed[0]], [passed[1], totals[1] - passed[1]]])
    assert fisher_exact(passed, totals) == pytest.approx(theirs.pvalue, rel=1e-6)


def test_what_does_not_vary_or_is_too_little_tells_nothing():
    assert compare_means(running_mean([1.0, 1.0]), running_mean([2.0, 2.0])) is None
    assert compare_means(running_mean([1.0]), running_mean([2.0, 3.0])) is None
    assert mean_interval(RunningMean()).low == -float("inf")


def test_a_running_mean_forgets_a_value_as_if_it_had_never_been():
    values = draw(3, 50, 1e6, 1.0)
    found = running_mean([*values, 17.0]).remove(17.0)
    assert found.mean == pytest.approx(sum(values) / 50)
    assert found.variance == pytest.approx(variance(values), rel=1e-4)
    assert running_mean([3.0]).remove(3.0) == RunningMean()
