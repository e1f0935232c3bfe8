"""What is stored comes back; what is damaged counts as nothing; what is newer is left alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.admission.circuit import Circuit, CircuitState, TrialLease, WindowSlot
from llmfail.core.admission.credential import Block, CredentialState
from llmfail.core.classification.outcome import Kind
from llmfail.core.records.counters import AskCounters, CallCounters
from llmfail.core.records.record import (
    VERSION,
    NameSet,
    StoreChange,
    Write,
    combine,
    dump,
    is_newer,
    load,
    load_fields,
    load_or_default,
    without_newer,
)

RECORDS = [
    Circuit(
        state=CircuitState.HALF_OPEN,
        generation=7,
        at=1.5,
        failures=3,
        slots=(WindowSlot(1, 2, 1),),
        until=9.0,
        reopenings=2,
        successes=1,
        leases=(TrialLease("a", 4.0), TrialLease("b", 5.0)),
        held=True,
    ),
    Circuit(),
    CredentialState({"": Block(Kind.AUTH, None, "bad key"), "m/x": Block(Kind.QUOTA, 5.0, "")}),
    CallCounters(5, 4, 1, 99, 1, {3: 2, 40: 1}, "timeout: late"),
    AskCounters(9, 1, 0, 1, 1, 5000, {72: 9}),
    NameSet(frozenset({"a/b", "c"})),
]
DAMAGED = [
    None,
    "",
    "{",
    "[]",
    "null",
    "7",
    '{"v":"1"}',
    "[" * 100_000,
    '{"v":1,"at":NaN}',
    "\ud800",
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_comes_back_as_it_was(record):
    assert load(dump(record), type(record)) == record
    assert json.loads(dump(record))["v"] == VERSION


@pytest.mark.parametrize("kind", sorted({type(record) for record in RECORDS}, key=str))
@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_counts_as_none(kind, text):
    assert load(text, kind) is None
    assert load_or_default(text, kind) == kind()
    assert not is_newer(text)


@pytest.mark.parametrize("record", RECORDS)
@given(data=st.data())
def test_a_field_of_the_wrong_kind_never_raises(record, data):
    fields = json.loads(dump(record))
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(st.sampled_from([None, True, "x", [], {}, [[1]], -1.5, {"a": "b"}, "⚡" * 9]))
    assert type(load_or_default(json.dumps(fields), type(record))) is type(record)


def test_a_record_of_a_newer_version_is_not_used_and_not_overwritten():
    text = json.dumps({"v": VERSION + 1, "names": ["x"]})
    assert is_newer(text)
    assert load_or_default(text, NameSet) == NameSet()
    writes = {"a": Write("1"), "b": Write("2"), "c": None}
    assert without_newer(writes, {"a": text, "b": "damaged", "c": None}) == {"b": Write("2"), "c": None}


def test_fields_without_a_type_come_back_without_the_version():
    assert load_fields(dump({"n": 3})) == {"n": 3}
    assert load_fields(json.dumps({"v": VERSION + 1, "n": 3})) is None


def test_changes_made_together_see_what_came_before_them():
    def more(key):
        return StoreChange([key, "n"], lambda values, now: {"n": Write(f"{values['n'] or ''}{key}")})

    step = combine([more("a"), more("b")])
    assert set(step.keys) == {"a", "b", "n"}
    assert step.change(dict.fromkeys(step.keys), 0.0) == {"n": Write("ab")}
