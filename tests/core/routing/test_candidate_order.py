"""Orders, obstacles, and the share of time that each target has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmfail.core.conversation import Message
from llmfail.core.model import Request, Target
from llmfail.core.pricing.price import Price, PricePeriod, Rate
from llmfail.core.routing.candidates import (
    Candidate,
    OrderInputs,
    compute_attempt_timeout,
    find_skip,
    fractions_of,
    order_candidates,
    requirements_of,
)
from llmfail.core.tokens.token_bounds import size_of

NOW = 1_800_000_000.0
REQUEST = Request((Message("user", "x" * 8000),), max_tokens=1000)


def candidate(name, **facts):
    return Candidate(Target("p", name), timeout=60.0, **facts)


def names(candidates):
    return "".join(one.target.model for one in candidates)


def price(usd):
    return Price((PricePeriod(input=Rate(usd), output=Rate(usd)),))


def test_listed_keeps_the_order():
    assert names(order_candidates([candidate("b"), candidate("a")], "listed", OrderInputs(NOW))) == "ba"


def test_cost_puts_the_cheapest_first_and_the_unknown_last():
    chain = [candidate("u"), candidate("d", price=price(9)), candidate("c", price=price(1))]
    assert names(order_candidates(chain, "cost", OrderInputs(NOW))) == "cdu"


def test_quality_puts_the_best_first_and_orders_the_unrated_by_price_the_dearer_first():
    chain = [
        candidate("c", price=price(1)),
        candidate("d", price=price(9)),
        candidate("l", quality=10),
        candidate("h", quality=90),
    ]
    assert names(order_candidates(chain, "quality", OrderInputs(NOW))) == "hldc"


def test_latency_tries_the_unmeasured_first_and_then_the_fastest():
    chain = [candidate("s", latency_ms=900), candidate("f", latency_ms=100), candidate("u")]
    assert names(order_candidates(chain, "latency", OrderInputs(NOW))) == "ufs"


@pytest.mark.parametrize(("turn", "expected"), [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc")])
def test_round_robin_begins_one_further_each_turn(turn, expected):
    assert (
        names(order_candidates(list(map(candidate, "abc")), "round_robin", OrderInputs(NOW, turn=turn)))
        == expected
    )


def test_a_session_keeps_its_place_when_other_targets_come_and_go():
    chain = list(map(candidate, "abcde"))
    for name in map(str, range(50)):
        fractions = fractions_of(name, chain)
        first = chain[fractions.index(max(fractions))]
        for gone in chain:
            rest = [one for one in chain if one is not gone]
            left = fractions_of(name, rest)
            assert gone is first or rest[left.index(max(left))] is first


def test_sessions_are_shared_out_by_weight():
    chain = [candidate("a", weight=9), candidate("b", weight=1)]
    inputs = (OrderInputs(NOW, fractions_of(str(number), chain)) for number in range(2000))
    firsts = [names(order_candidates(chain, "weighted", one))[0] for one in inputs]
    assert 0.87 < firsts.count("a") / len(firsts) < 0.93


def test_weighted_gives_first_place_by_weight():
    chain = [candidate("a", weight=9), candidate("b", weight=1), candidate("z", weight=0)]
    steps = [(i + 0.5) / 40 for i in range(40)]
    firsts = [
        names(order_candidates(chain, "weighted", OrderInputs(NOW, random_numbers=[x, y, 0.5])))
        for x in steps
        for y in steps
    ]
    share_of_a = sum(order[0] == "a" for order in firsts) / len(firsts)
    assert abs(share_of_a - 0.9) < 0.02
    assert all(order[2] == "z" for order in firsts)


def test_every_order_of_an_empty_chain_is_empty():
    for order in ("listed", "cost", "quality", "latency", "round_robin", "weighted"):
        assert order_candidates([], order, OrderInputs(NOW)) == ()


@pytest.mark.parametrize(
    ("facts", "overflowed", "reason"),
    [
        ({}, None, None),
        ({"missing_key": "set KEY"}, None, "no_key"),
        ({"max_output": 999}, None, "too_small"),
        ({"max_output": 1000}, None, None),
        ({"context": 999}, None, "too_small"),
        ({"context": 2000}, None, None),
        ({"context": 2000}, 2000, "too_small"),
        ({"context": 2001}, 2000, None),
        ({}, 2000, None),
    ],
)
def test_a_candidate_is_left_out_only_for_what_is_known(facts, overflowed, reason):
    needs = requirements_of(REQUEST, size_of(REQUEST))
    if overflowed is not None:
        needs = replace(needs, context=overflowed + 1)
    found = find_skip(candidate("a", **facts), needs)
    assert (found and found.reason) == reason


@pytest.mark.parametrize(
    ("left", "timeouts", "expected"),
    [
        (120, [60, 60], 60),
        (120, [60, 60, 60], 40),
        (120, [60, 10, 10], 60),
        (120, [100, 10, 30], 80),
        (120, [60], 60),
        (10, [60], 10),
        (3, [60, 60, 60], 1),
        (120, [60, 60, 60, 60], 40),
    ],
)
def test_the_first_has_all_it_wants_or_an_equal_part_or_a_third_at_least(left, timeouts, expected):
    assert compute_attempt_timeout(left, timeouts) == expected


@given(st.floats(0.01, 1000), st.lists(st.floats(0.01, 100), min_size=1, max_size=3))
def test_whoever_hangs_for_its_share_leaves_the_last_of_three_an_equal_part(left, timeouts):
    fair = left / len(timeouts)
    for place in range(len(timeouts)):
        given_ = compute_attempt_timeout(left, timeouts[place:])
        assert given_ <= timeouts[place]
        assert given_ >= min(timeouts[place], fair) * 0.999
        left -= given_
    assert left >= -1e-6


@given(st.floats(0.01, 1000), st.lists(st.floats(0.01, 100), min_size=4, max_size=12))
def test_c7_in_a_long_chain_nobody_has_less_than_a_third_of_what_is_left(left, timeouts):
    for place in range(len(timeouts)):
        given_ = compute_attempt_timeout(left, timeouts[place:])
        assert min(timeouts[place], left / 3) * 0.999 <= given_ <= timeouts[place]
        left -= given_
        assert left > -1e-6


def test_c7_eleven_keys_leave_the_primary_a_minute_of_three():
    assert compute_attempt_timeout(180, [60.0] * 11) == 60
