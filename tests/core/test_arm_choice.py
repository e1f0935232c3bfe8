"""Arms are chosen alike everywhere, in proportion to their weights, and change as seldom as can be."""

from collections import Counter

import pytest
from scipy import stats

from llmfail.core.arm_choice import choose_arm
from llmfail.core.model import Target

A, B, C = (Target.parse(name) for name in ("a/one", "b/one", "c/one"))
USERS = [f"user-{number}" for number in range(4000)]


def arms_of(weights, experiment="letters"):
    return {user: choose_arm(experiment, weights, user) for user in USERS}


@pytest.mark.parametrize("weights", [{A: 1, B: 1}, {A: 3, B: 1}, {A: 0.9, B: 0.05, C: 0.05}])
def test_shares_are_as_the_weights_are(weights):
    counts = Counter(arms_of(weights).values())
    for target, weight in weights.items():
        share = weight / sum(weights.values())
        low, high = stats.binom.interval(0.9999, len(USERS), share)
        assert low <= counts[target] <= high


def test_the_choice_depends_on_nothing_but_its_arguments():
    assert choose_arm("letters", {A: 1, B: 1}, "user-7") == choose_arm("letters", {B: 2, A: 2}, "user-7")


def test_two_experiments_divide_users_independently():
    first, second = arms_of({A: 1, B: 1}), arms_of({A: 1, B: 1}, "others")
    both = Counter(zip(first.values(), second.values(), strict=True))
    assert all(900 < count < 1100 for count in both.values())


def test_where_an_arm_grows_users_only_come_to_it():
    before, after = arms_of({A: 3, B: 1}), arms_of({A: 3, B: 3})
    moved = [user for user in USERS if before[user] != after[user]]
    assert {after[user] for user in moved} == {B}
    assert 0.2 < len(moved) / len(USERS) < 0.3  # a quarter has to move, and no more


def test_a_new_arm_takes_from_the_others_and_nobody_else_moves():
    before, after = arms_of({A: 1, B: 1}), arms_of({A: 1, B: 1, C: 1})
    assert {after[user] for user in USERS if before[user] != after[user]} == {C}


def test_an_arm_without_weight_has_nobody():
    assert set(arms_of({A: 1, B: 0}).values()) == {A}
