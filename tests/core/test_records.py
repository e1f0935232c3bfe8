"""What is stored comes back; what is damaged counts as nothing; what is newer is left alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core import codec
from llmfail.core.breaker import Circuit, Lease, Slot, State
from llmfail.core.credential import Block, Credential
from llmfail.core.outcome import Kind
from llmfail.core.record import VERSION, Step, Write, load, newer, ours, together
from llmfail.core.stats import Routing, Tally

CIRCUIT = Circuit(
    State.HALF_OPEN, 7, 1.5, 3, (Slot(1, 2, 1),), 9.0, 2, 1, (Lease("a", 4.0), Lease("b", 5.0)), float("inf")
)
CREDENTIAL = Credential({"": Block(Kind.AUTH, None, "bad key"), "m/x": Block(Kind.QUOTA, 5.0, "")})
TALLY = Tally(5, 4, 1, 99, 1, {3: 2, 40: 1}, "timeout: late")
ROUTING = Routing(9, 1, 0, 1, 1, 5000, {72: 9})

ROUND_TRIPS = [
    (codec.dump_circuit, codec.load_circuit, CIRCUIT),
    (codec.dump_circuit, codec.load_circuit, Circuit()),
    (codec.dump_credential, codec.load_credential, CREDENTIAL),
    (codec.dump_tally, codec.load_tally, TALLY),
    (codec.dump_routing, codec.load_routing, ROUTING),
    (codec.dump_names, codec.load_names, frozenset({"a/b", "c"})),
]
LOADERS = [
    (codec.load_circuit, Circuit()),
    (codec.load_credential, Credential()),
    (codec.load_tally, Tally()),
    (codec.load_routing, Routing()),
    (codec.load_names, frozenset()),
]


@pytest.mark.parametrize(("dump", "read", "value"), ROUND_TRIPS)
def test_a_record_comes_back_as_it_was(dump, read, value):
    assert read(dump(value)) == value


@pytest.mark.parametrize(("read", "fresh"), LOADERS)
@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", "7", '{"v":1}', '{"v":"1"}', "[" * 100_000])
def test_a_damaged_record_counts_as_none(read, fresh, text):
    assert read(text) == fresh


@pytest.mark.parametrize(("dump", "read", "value"), ROUND_TRIPS)
@given(data=st.data())
def test_a_field_of_the_wrong_kind_makes_the_record_damaged_and_never_raises(dump, read, value, data):
    fields = json.loads(dump(value))
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(
        st.sampled_from([None, True, "x", [], {}, [[1]], -1.5, float("nan"), {"a": "b"}])
    )
    loaded = read(json.dumps(fields))
    assert type(loaded) is type(value)


def test_a_record_of_a_newer_version_is_not_used_and_not_overwritten():
    text = json.dumps({"v": VERSION + 1, "names": ["x"]})
    assert newer(text)
    assert codec.load_names(text) == frozenset()
    writes = {"a": Write("1"), "b": Write("2"), "c": None}
    assert ours(writes, {"a": text, "b": "damaged", "c": None}) == {"b": Write("2"), "c": None}


def test_only_a_version_that_is_higher_is_newer():
    for text in (None, "", "{}", json.dumps({"v": VERSION}), '{"v": "9"}'):
        assert not newer(text)


def test_load_gives_the_reader_what_was_stored():
    assert load(json.dumps({"v": VERSION, "n": 3}), lambda fields: fields["n"]) == 3


def test_changes_made_together_see_what_came_before_them():
    def more(key):
        return Step([key, "n"], lambda values, now: {"n": Write(f"{values['n'] or ''}{key}")})

    step = together([more("a"), more("b")])
    assert set(step.keys) == {"a", "b", "n"}
    assert step.change(dict.fromkeys(step.keys), 0.0) == {"n": Write("ab")}
