"""What is known of each line, by its ref."""

import contextlib

import pytest

from llmfail.store.batch_refs import Known, Refs


@pytest.fixture
def refs():
    with contextlib.closing(Refs()) as made:
        yield made


def test_a_new_ref_was_not_known(refs):
    assert refs.add("a", Known.ASKED) is Known.NOTHING
    assert refs.add("b", Known.NOTHING) is Known.NOTHING


def test_what_is_found_of_a_ref_adds_up(refs):
    refs.add("a", Known.FAILED)
    assert refs.add("a", Known.ANSWERED) == Known.FAILED
    assert refs.add("a", Known.ANSWERED) == Known.FAILED | Known.ANSWERED


@pytest.mark.parametrize(
    ("one", "other"), [(7, "7"), ("a", "A"), ("a", "a "), ("\u00e9", "e\u0301"), ("", "\0")]
)
def test_refs_that_differ_are_two(refs, one, other):
    refs.add(one, Known.ANSWERED)
    assert refs.add(other, Known.ASKED) is Known.NOTHING


@pytest.mark.parametrize("ref", [10**30, -1, "x" * 10_000, "\n", "日本"])
def test_any_id_of_json_is_one(refs, ref):
    refs.add(ref, Known.ANSWERED)
    assert refs.add(ref, Known.ASKED) is Known.ANSWERED
