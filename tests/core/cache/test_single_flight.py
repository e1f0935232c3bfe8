"""The rules of stored answers and flights, as plain values."""

import pytest

from llmfail.core.cache.single_flight import (
    CachePolicy,
    FlightLease,
    GoAlone,
    IsLeader,
    StoredAnswer,
    acquire,
    answer_key,
    end,
    flight_key,
    hand_over,
    load_if_fresh,
    store_answer,
)
from llmfail.core.records.record import Write, dump, hourly_expiry

NOW = 1_700_000_000.0
PRINT = "f" * 64
KEPT = StoredAnswer("hello", "a/one", NOW)
MINE = FlightLease("mine", "me", NOW + 60)
THEIRS = FlightLease("theirs", "they", NOW + 60)
OVER = FlightLease("theirs", "they", NOW)


def taken(there, followed=None, *, dead=False):
    values = {flight_key(PRINT): None if there is None else dump(there)}
    return acquire(PRINT, MINE, followed, leader_is_dead=dead, values=values, now=NOW)


LED = ({flight_key(PRINT): Write(dump(MINE), hourly_expiry(MINE.ends_at))}, IsLeader())


@pytest.mark.parametrize(
    ("there", "followed", "dead", "expected"),
    [
        pytest.param(None, None, False, LED, id="nobody is out: lead"),
        pytest.param(MINE, None, False, ({}, GoAlone()), id="another target of this ask is out: alone"),
        pytest.param(THEIRS, None, False, ({}, THEIRS), id="somebody is: follow"),
        pytest.param(THEIRS, THEIRS, False, ({}, THEIRS), id="still: follow on"),
        pytest.param(None, THEIRS, False, ({}, GoAlone()), id="came back with nothing: go alone"),
        pytest.param(OVER, None, False, LED, id="its time is over: lead"),
        pytest.param(OVER, THEIRS, False, LED, id="its time is over while one waited: lead"),
        pytest.param(THEIRS, THEIRS, True, LED, id="its process is dead: lead"),
        pytest.param(THEIRS, OVER, True, ({}, THEIRS), id="somebody else leads since: follow"),
    ],
)
def test_who_leads_and_who_follows(there, followed, dead, expected):
    assert taken(there, followed, dead=dead) == expected


def test_a_flight_of_a_newer_version_is_left_alone():
    values = {flight_key(PRINT): '{"v":2,"name":"n"}'}
    assert acquire(PRINT, MINE, None, leader_is_dead=False, values=values, now=NOW) == ({}, GoAlone())


def test_a_damaged_flight_is_none():
    values = {flight_key(PRINT): "{"}
    assert acquire(PRINT, MINE, None, leader_is_dead=False, values=values, now=NOW) == LED


def test_only_its_own_flight_is_ended():
    values = {flight_key(PRINT): dump(THEIRS)}
    assert end(PRINT, "theirs", values) == {flight_key(PRINT): None}
    assert end(PRINT, "mine", values) == {}
    assert end(PRINT, "mine", {flight_key(PRINT): None}) == {}


@pytest.mark.parametrize(
    ("age", "served"),
    [(0, True), (60, True), (60.001, False), (-0.001, False), (-1e9, False)],
)
def test_an_answer_serves_up_to_its_age_and_never_from_the_future(age, served):
    found = load_if_fresh(dump(StoredAnswer("hello", "a/one", NOW - age)), 60, NOW)
    assert (found is not None) is served


@pytest.mark.parametrize("text", [None, "", "{", "null", '{"v":1}', '{"v":2,"text":"x"}', '{"v":1,"text":3}'])
def test_what_is_no_record_of_ours_is_no_answer(text):
    assert load_if_fresh(text, 60, NOW) is None


def test_an_answer_is_stored_as_long_as_it_may_serve():
    ((key, write),) = store_answer(PRINT, KEPT, 3600, {answer_key(PRINT): None}).items()
    assert key == answer_key(PRINT)
    assert write.expires_at == NOW + 3600
    assert load_if_fresh(write.text, 1, NOW) == KEPT


def test_an_answer_of_a_newer_version_is_left_alone():
    assert store_answer(PRINT, KEPT, 3600, {answer_key(PRINT): '{"v":2}'}) == {}


@pytest.mark.parametrize(
    ("terms", "lasts", "reads"),
    [
        (CachePolicy(60, 600), 600, True),
        (CachePolicy(600, 60), 600, True),
        (CachePolicy(0, 60), 60, False),
        (CachePolicy(60, 600, refresh=True), 600, False),
    ],
)
def test_how_long_answers_last_and_whether_they_are_read(terms, lasts, reads):
    assert (terms.lifetime, terms.can_read) == (lasts, reads)


def test_a_lead_that_is_left_goes_to_the_first_who_comes_and_the_others_follow():
    left = hand_over(PRINT, "theirs", {flight_key(PRINT): dump(THEIRS)})
    ((key, write),) = left.items()
    writes, decision = acquire(PRINT, MINE, THEIRS, leader_is_dead=False, values={key: write.text}, now=NOW)
    assert decision == IsLeader()
    (mine,) = writes.values()
    third = FlightLease("third", "it", NOW + 60)
    assert acquire(PRINT, third, THEIRS, leader_is_dead=False, values={key: mine.text}, now=NOW) == ({}, MINE)


def test_only_its_own_lead_is_left():
    assert hand_over(PRINT, "mine", {flight_key(PRINT): dump(THEIRS)}) == {}
    assert hand_over(PRINT, "mine", {flight_key(PRINT): None}) == {}
