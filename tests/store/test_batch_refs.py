"""What is known of each line, by its ref."""

import contextlib

import pytest

from llmfail.store.batch_refs import BatchRefs, LineState


@pytest.fixture
def refs():
    with contextlib.closing(BatchRefs()) as made:
        yield made


def test_a_new_ref_was_not_known(refs):
    assert refs.add("a", LineState.ASKED) is LineState.NOTHING
    assert refs.add("b", LineState.NOTHING) is LineState.NOTHING


def test_what_is_found_of_a_ref_adds_up(refs):
    refs.add("a", LineState.FAILED)
    assert refs.add("a", LineState.ANSWERED) == LineState.FAILED
    assert refs.add("a", LineState.ANSWERED) == LineState.FAILED | LineState.ANSWERED


@pytest.mark.parametrize(
    ("one", "other"), [(7, "7"), ("a", "A"), ("a", "a "), ("\u00e9", "e\u0301"), ("", "\0")]
)
def test_refs_that_differ_are_two(refs, one, other):
    refs.add(one, LineState.ANSWERED)
    assert refs.add(other, LineState.ASKED) is LineState.NOTHING


@pytest.mark.parametrize("ref", [10**30, -1, "x" * 10_000, "\n", "日本"])
def test_any_id_of_json_is_one(refs, ref):
    refs.add(ref, LineState.ANSWERED)
    assert refs.add(ref, LineState.ASKED) is LineState.ANSWERED
