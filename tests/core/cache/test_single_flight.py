"""The rules of stored answers and flights, as plain values."""

import pytest

from llmfail.core.cache.single_flight import (
    Alone,
    Flight,
    Kept,
    Lead,
    Terms,
    answer_key,
    end,
    flight_key,
    keep,
    leave,
    take,
    young,
)
from llmfail.core.records.record import dump, kept_until

NOW = 1_700_000_000.0
PRINT = "f" * 64
KEPT = Kept("hello", "a/one", NOW)
MINE = Flight("mine", "me", NOW + 60)
THEIRS = Flight("theirs", "they", NOW + 60)
OVER = Flight("theirs", "they", NOW)


def taken(there, followed=None, *, dead=False):
    values = {flight_key(PRINT): None if there is None else dump(there)}
    return take(PRINT, MINE, followed, dead=dead, values=values, now=NOW)


LED = ({flight_key(PRINT): (dump(MINE), kept_until(MINE.ends_at))}, Lead())


@pytest.mark.parametrize(
    ("there", "followed", "dead", "expected"),
    [
        pytest.param(None, None, False, LED, id="nobody is out: lead"),
        pytest.param(MINE, None, False, ({}, Alone()), id="another target of this ask is out: alone"),
        pytest.param(THEIRS, None, False, ({}, THEIRS), id="somebody is: follow"),
        pytest.param(THEIRS, THEIRS, False, ({}, THEIRS), id="still: follow on"),
        pytest.param(None, THEIRS, False, ({}, Alone()), id="came back with nothing: go alone"),
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
    assert take(PRINT, MINE, None, dead=False, values=values, now=NOW) == ({}, Alone())


def test_a_damaged_flight_is_none():
    values = {flight_key(PRINT): "{"}
    assert take(PRINT, MINE, None, dead=False, values=values, now=NOW) == LED


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
    found = young(dump(Kept("hello", "a/one", NOW - age)), 60, NOW)
    assert (found is not None) is served


@pytest.mark.parametrize("text", [None, "", "{", "null", '{"v":1}', '{"v":2,"text":"x"}', '{"v":1,"text":3}'])
def test_what_is_no_record_of_ours_is_no_answer(text):
    assert young(text, 60, NOW) is None


def test_an_answer_is_stored_as_long_as_it_may_serve():
    ((key, write),) = keep(PRINT, KEPT, 3600, {answer_key(PRINT): None}).items()
    assert key == answer_key(PRINT)
    assert write.expires_at == NOW + 3600
    assert young(write.text, 1, NOW) == KEPT


def test_an_answer_of_a_newer_version_is_left_alone():
    assert keep(PRINT, KEPT, 3600, {answer_key(PRINT): '{"v":2}'}) == {}


@pytest.mark.parametrize(
    ("terms", "lasts", "reads"),
    [
        (Terms(60, 600), 600, True),
        (Terms(600, 60), 600, True),
        (Terms(0, 60), 60, False),
        (Terms(60, 600, refresh=True), 600, False),
    ],
)
def test_how_long_answers_last_and_whether_they_are_read(terms, lasts, reads):
    assert (terms.lasts, terms.reads) == (lasts, reads)


def test_a_lead_that_is_left_goes_to_the_first_who_comes_and_the_others_follow():
    left = leave(PRINT, "theirs", {flight_key(PRINT): dump(THEIRS)})
    ((key, write),) = left.items()
    writes, decision = take(PRINT, MINE, THEIRS, dead=False, values={key: write.text}, now=NOW)
    assert decision == Lead()
    (mine,) = writes.values()
    third = Flight("third", "it", NOW + 60)
    assert take(PRINT, third, THEIRS, dead=False, values={key: mine.text}, now=NOW) == ({}, MINE)


def test_only_its_own_lead_is_left():
    assert leave(PRINT, "mine", {flight_key(PRINT): dump(THEIRS)}) == {}
    assert leave(PRINT, "mine", {flight_key(PRINT): None}) == {}
