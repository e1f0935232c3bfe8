"""Stored answers: a limit that holds, and room that is given back."""

import sqlite3
import stat

import pytest

from llmfail.core.cache.single_flight import answer_key, flight_key
from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.store.answer_store import AnswerStore, CacheSize

NOW = 1_700_000_000.0
LARGE = "x" * 20_000
SLACK = 100_000
"""Bytes of a few pages, and of the row that was written last."""


@pytest.fixture
def open_answers(tmp_path):
    opened = []

    def open_answers(most=1_000_000):
        opened.append(AnswerStore(tmp_path, most, 2.0, lambda: NOW))
        return opened[-1]

    yield open_answers
    for answers in opened:
        answers.close()


def keep(answers, name, text=LARGE, *, until=NOW + 3600):
    answers.update((), lambda values, now: ({answer_key(name): Write(text, until)}, None))


def kept(answers, *names):
    values, _ = answers.read([answer_key(name) for name in names])
    return [name for name in names if values[answer_key(name)] is not None]


def test_they_never_take_more_than_their_room(open_answers):
    answers = open_answers()
    for number in range(300):
        keep(answers, str(number), until=NOW + 3600 + number)
        assert answers.measure_size().bytes <= 1_000_000 + SLACK
    assert answers.measure_size().entries > 10


def test_what_ends_first_goes_first(open_answers):
    answers = open_answers()
    keep(answers, "lasting", until=NOW + 10**6)
    for number in range(100):
        keep(answers, str(number), until=NOW + 3600 + number)
    assert kept(answers, "0", "1", "99", "lasting") == ["99", "lasting"]


def test_a_flight_is_not_pushed_out(open_answers):
    answers = open_answers()
    answers.update((), lambda values, now: ({flight_key("f"): Write("flight", NOW + 1)}, None))
    for number in range(200):
        keep(answers, str(number))
    assert answers.read([flight_key("f")])[0] == {flight_key("f"): "flight"}


def test_a_lowered_limit_is_reached_within_a_few_writes(open_answers):
    answers = open_answers(10_000_000)
    for number in range(200):
        keep(answers, str(number), until=NOW + 3600 + number)
    answers.close()
    smaller = open_answers(500_000)
    for number in range(10):
        keep(smaller, f"new {number}", until=NOW + 10**6 + number)
    assert smaller.measure_size().bytes <= 500_000 + SLACK


def test_what_has_just_come_stays_and_no_more_goes_than_must(open_answers):
    answers = open_answers()
    for number in range(60):
        keep(answers, str(number), "x" * 60_000, until=NOW + 3600 + number)
        assert kept(answers, str(number))
        assert answers.measure_size().entries >= min(number + 1, 12)


def test_an_answer_larger_than_the_room_leaves_the_file_usable(open_answers):
    answers = open_answers(100_000)
    keep(answers, "huge", "x" * 1_000_000)
    keep(answers, "small", "x", until=NOW + 7200)
    assert kept(answers, "small") == ["small"] or answers.measure_size().entries == 0
    keep(answers, "another", "x", until=NOW + 7200)
    assert kept(answers, "another") == ["another"]


def test_a_file_that_is_full_stays_as_large_as_it_is(open_answers, tmp_path):
    answers = open_answers()
    for number in range(200):
        keep(answers, str(number), until=NOW + 3600 + number)
    answers.close()
    assert (tmp_path / "answers.sqlite3").stat().st_size <= 1_000_000 + SLACK + 32 * len(LARGE)


def test_clearing_gives_the_space_back(open_answers, tmp_path):
    answers = open_answers()
    for number in range(20):
        keep(answers, str(number))
    assert answers.clear() == 20
    assert answers.measure_size().entries == 0
    answers.close()
    assert (tmp_path / "answers.sqlite3").stat().st_size < 50_000
    assert LARGE.encode() not in (tmp_path / "answers.sqlite3").read_bytes()


def test_clearing_leaves_those_alone_who_are_out_for_an_answer(open_answers):
    answers = open_answers()
    answers.update((), lambda values, now: ({flight_key("f"): Write("flight", NOW + 60)}, None))
    keep(answers, "a")
    assert answers.clear() == 1
    assert answers.read([flight_key("f")])[0] == {flight_key("f"): "flight"}


def test_a_database_without_its_table_is_set_aside_like_any_damaged_file(open_answers, tmp_path):
    answers = open_answers()
    keep(answers, "a")
    answers.close()
    with sqlite3.connect(tmp_path / "answers.sqlite3") as connection:
        connection.execute("DROP TABLE state")
    connection.close()
    keep(answers, "b")
    assert kept(answers, "a", "b") == ["b"]


def test_clearing_while_another_has_it_open_clears_all_the_same(open_answers):
    one, other = open_answers(), open_answers()
    keep(one, "a")
    assert kept(other, "a") == ["a"]
    assert one.clear() == 1
    assert kept(other, "a") == []
    keep(other, "b")
    assert kept(one, "b") == ["b"]


def test_to_look_or_clear_where_nothing_is_makes_nothing(open_answers, tmp_path):
    answers = open_answers()
    assert (answers.measure_size(), answers.clear()) == (CacheSize(0, 0), 0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("answers")]


def test_only_the_owner_may_read_them(open_answers, tmp_path):
    keep(open_answers(), "a")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if "sqlite3" in path.name} == {
        0o600
    }


def test_a_file_of_a_newer_version_is_left_alone(open_answers, tmp_path):
    answers = open_answers()
    keep(answers, "a")
    answers.close()
    with sqlite3.connect(tmp_path / "answers.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for verb in (answers.measure_size, answers.clear, lambda: keep(answers, "b")):
        with pytest.raises(StoreError, match="newer llmfail"):
            verb()
