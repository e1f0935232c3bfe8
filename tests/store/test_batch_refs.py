"""What is known of each line, by its ref."""

import contextlib

import pytest

from llmfail.store.batch_refs import BatchRefs, KnownLine, LineState


@pytest.fixture
def refs():
    with contextlib.closing(BatchRefs()) as made:
        yield made


def test_a_new_ref_was_not_known(refs):
    assert refs.add("a", LineState.ASKED) == KnownLine()
    assert refs.add("b", LineState.NOTHING) == KnownLine()


def test_the_last_receipt_of_a_ref_counts(refs):
    refs.add("a", LineState.ANSWERED, "one")
    assert refs.add("a", LineState.FAILED, "two") == KnownLine(LineState.ANSWERED, "one")
    assert refs.add("a", LineState.ASKED) == KnownLine(LineState.FAILED, "two")


def test_what_is_no_receipt_of_an_ask_adds_up(refs):
    refs.add("a", LineState.ANSWERED, "one")
    refs.add("a", LineState.MALFORMED)
    refs.add("a", LineState.ASKED)
    known = refs.add("a", LineState.NOTHING)
    assert known == KnownLine(LineState.ANSWERED | LineState.MALFORMED | LineState.ASKED, "one")


@pytest.mark.parametrize(
    ("one", "other"), [(7, "7"), ("a", "A"), ("a", "a "), ("\u00e9", "e\u0301"), ("", "\0")]
)
def test_refs_that_differ_are_two(refs, one, other):
    refs.add(one, LineState.ANSWERED)
    assert refs.add(other, LineState.ASKED) == KnownLine()


@pytest.mark.parametrize("ref", [10**30, -1, "x" * 10_000, "\n", "日本"])
def test_any_id_of_json_is_one(refs, ref):
    refs.add(ref, LineState.ANSWERED)
    assert refs.add(ref, LineState.ASKED).state is LineState.ANSWERED
