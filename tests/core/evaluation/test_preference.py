"""A judge is asked in both orders; one that goes by the place is found out, and a fair one is not."""

import random

import pytest

from llmfail.core.evaluation.preference import (
    BothOrders,
    is_as_good,
    measure_place_bias,
    read_choice,
    write_question,
)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("1", "1"),
        (" 2.\n", "2"),
        ("TIE", "tie"),
        ("Answer 1 is shorter, but answer 2 is right. 2", "2"),
        ("both are fine", None),
        ("", None),
        ("12", None),
    ],
)
def test_the_last_choice_that_is_named_counts(reply, choice):
    assert read_choice(reply) == choice


@pytest.mark.parametrize(
    ("orders", "as_good"),
    [
        (("1", "2"), False),  # the primary's answer in both orders
        (("2", "1"), True),
        (("1", "1"), True),
        (("tie", "2"), True),
        (("1", None), None),
    ],
)
def test_only_a_preference_in_both_orders_counts(orders, as_good):
    assert is_as_good(BothOrders(*orders)) is as_good


def test_the_question_has_both_answers_in_their_places_and_the_rubric():
    question = write_question("my {request}", "my {x}", "my y", "be kind")
    places = [question.index(part) for part in ("be kind", "my {request}", "my {x}", "my y")]
    assert places == sorted(places)


def test_a_judge_that_always_prefers_the_first_place_is_found_out():
    bias = measure_place_bias([BothOrders("1", "1")] * 20)
    assert (bias.judged, bias.first, bias.decides) == (20, 20, True)
    assert measure_place_bias([BothOrders("2", "2")] * 20).decides


def test_a_judge_that_leans_to_a_place_is_found_out_and_a_fair_one_with_slips_is_not():
    dice = random.Random(5)

    def judge(stick, first_place):
        place = "1" if dice.random() < first_place else "2"
        return BothOrders(place, place) if dice.random() < stick else BothOrders("1", "2")

    def count_found(stick, first_place):
        runs = ([judge(stick, first_place) for _ in range(200)] for _ in range(100))
        return sum(measure_place_bias(run).decides for run in runs)

    assert count_found(0.4, 0.9) >= 95
    assert count_found(0.2, 0.5) <= 4


def test_replies_without_a_choice_are_left_out():
    assert measure_place_bias([BothOrders(None, "1")]).judged == 0
