"""Hedges are paid for by asks: a tenth each, ten in advance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.admission import hedge_budget
from llmfail.core.records.counters import BUCKET_GROWTH, CallCounters
from llmfail.core.records.record import Write, after_writes, dump
from llmfail.core.records.state_keys import hedge_key

KEY = hedge_key("c", "f")


def played(words):
    """Asks and late answers in any order; how many hedges there were."""
    values, hedges = {KEY: None}, 0
    for word in words:
        if word == "ask":
            values.update(after_writes(hedge_budget.credit(KEY, 0).change(values, 0.0)))
        else:
            writes, allowed = hedge_budget.debit(KEY, values, 0.0)
            values.update(after_writes(writes))
            hedges += allowed
    return hedges


@given(st.lists(st.sampled_from(["ask", "late"])))
def test_there_are_never_more_than_a_tenth_of_the_asks_and_ten(words):
    assert played(words) <= 10 + words.count("ask") // 10


@given(st.integers(0, 500))
def test_after_any_number_of_calm_asks_ten_may_be_late_at_once(asks):
    assert played(["ask"] * asks + ["late"] * 50) == 10


def test_a_hedge_that_came_to_nothing_is_given_back():
    writes, _ = hedge_budget.debit(KEY, {KEY: None}, 0.0)
    assert hedge_budget.credit(KEY, 1).change(after_writes(writes), 0.0)[KEY].text == dump(
        hedge_budget.TokenBucket()
    )


def test_a_full_bucket_is_not_written_again():
    assert hedge_budget.credit(KEY, 0).change({KEY: dump(hedge_budget.TokenBucket())}, 0.0) == {}


@pytest.mark.parametrize("text", ["", "{}", '{"v":1,"earned":-5}', '{"v":1,"earned":1000}'])
def test_a_damaged_bucket_is_a_fresh_one(text):
    writes, allowed = hedge_budget.debit(KEY, {KEY: text}, 0.0)
    assert allowed
    assert writes[KEY] == Write(
        dump(hedge_budget.TokenBucket(hedge_budget.MAX_CREDITS - hedge_budget.CREDITS_PER_HEDGE)),
        writes[KEY].expires_at,
    )


def test_a_bucket_of_a_newer_version_is_left_alone_and_gives_none():
    assert hedge_budget.debit(KEY, {KEY: '{"v":2,"earned":50}'}, 0.0) == ({}, False)


def test_features_have_buckets_of_their_own():
    assert len({hedge_key("c", "f"), hedge_key("c", "g"), hedge_key("d", "f")}) == 3


@pytest.mark.parametrize(
    ("tally", "late"),
    [
        (CallCounters(), None),
        (CallCounters(calls=100, ok=19, latencies={10: 19}), None),
        (CallCounters(calls=20, ok=20, latencies={10: 20}), BUCKET_GROWTH**10),
        (CallCounters(calls=100, ok=100, latencies={10: 95, 90: 5}), BUCKET_GROWTH**10),
        (CallCounters(calls=100, ok=100, latencies={10: 94, 90: 6}), BUCKET_GROWTH**90),
    ],
)
def test_p95_is_what_95_of_100_answers_stayed_under(tally, late):
    found = hedge_budget.hedge_delay(tally)
    assert (found is None) == (late is None)
    assert found is None or found == pytest.approx(late / 1000, abs=0.001)
