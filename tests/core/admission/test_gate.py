"""Admission and settlement of one target: circuit, credential, quirks and counters in one step each."""

import json

import pytest
from gate_states import GateStore
from msgspec.structs import replace

from llmfail.core.admission import operator_override
from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.admission.credential import MAX_BLOCKED_MODELS, CredentialState
from llmfail.core.admission.gate import Admission, Gate
from llmfail.core.admission.refusal import Refusal
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Address, Target
from llmfail.core.records.record import NameSet, load_or_default

A, B = Target("p", "a"), Target("p", "b")
RULES = BreakerRules(failure_threshold=2, success_threshold=1, half_open_limit=1)


@pytest.fixture
def book():
    return GateStore()


def gate(target=A, identity="k1", rules=RULES):
    return Gate(target, Address("openai", "https://p.test/v1", target.model), identity, rules)


def test_admission_to_a_healthy_target_writes_nothing(book):
    assert isinstance(book.admit(gate()), Admission)
    assert book.values == {}


def test_failures_open_and_the_refusal_says_until_when(book):
    book.call(gate(), Kind.TIMEOUT)
    book.call(gate(), Kind.SERVER_ERROR)
    refused = book.admit(gate())
    assert (refused.reason, refused.retry_at) == ("circuit_open", book.now + 60)
    assert isinstance(book.admit(gate(B)), Admission)


@pytest.mark.parametrize("kind", ["auth", "billing"])
def test_a_bad_credential_stops_every_model_until_the_key_changes(book, kind):
    book.call(gate(), Kind(kind))
    refused = book.admit(gate(B))
    assert (refused.reason, refused.cause) == ("disabled", kind)
    assert isinstance(book.admit(gate(B, identity="k2")), Admission)


@pytest.mark.parametrize("kind", ["permission", "model_not_found", "quota"])
def test_what_concerns_one_model_stops_that_model_alone(book, kind):
    book.call(gate(), Kind(kind))
    assert book.admit(gate()).reason == "disabled"
    assert isinstance(book.admit(gate(B)), Admission)


def test_a_bad_key_is_never_tried_again_by_itself(book):
    book.call(gate(), Kind.AUTH)
    book.now += 10**8
    assert book.admit(gate()).retry_at is None


@pytest.mark.parametrize("kind", ["billing", "permission", "model_not_found"])
def test_what_people_mend_is_tried_once_an_hour_by_one(book, kind):
    book.call(gate(), Kind(kind))
    book.now += 3600
    assert isinstance(book.admit(gate()), Admission)
    assert isinstance(book.admit(gate()), Refusal)
    book.now += 3600
    assert isinstance(book.admit(gate()), Admission)


def test_a_quota_ends_when_the_provider_said(book):
    book.call(gate(), Kind.QUOTA, quota_resets_at=book.now + 500)
    assert book.admit(gate()).retry_at == book.now + 500
    book.now += 500
    assert isinstance(book.admit(gate()), Admission)
    assert isinstance(book.admit(gate()), Admission)


def test_an_answer_proves_the_credential_good(book):
    book.call(gate(), Kind.BILLING)
    book.now += 3600
    book.call(gate(), Kind.OK)
    assert isinstance(book.admit(gate(B)), Admission)


def test_a_trial_is_a_call_whose_answer_others_wait_for(book):
    assert not book.admit(gate()).is_trial
    book.call(gate(), Kind.BILLING)
    book.now += 3600
    assert book.admit(gate()).is_trial
    for _ in range(2):
        book.call(gate(B, identity="k2"), Kind.TIMEOUT)
    book.now += 60
    assert book.admit(gate(B, identity="k2")).is_trial


def test_a_disabled_target_takes_no_trial_from_its_circuit(book):
    book.call(gate(), Kind.TIMEOUT)
    book.call(gate(), Kind.TIMEOUT)
    book.now += 60
    book.call(gate(), Kind.AUTH)
    before = book.values[gate().circuit_key]
    assert book.admit(gate()).reason == "disabled"
    assert book.values[gate().circuit_key] == before


def test_reset_closes_and_enables_and_says_whether_it_changed_anything(book):
    book.call(gate(), Kind.AUTH)
    writes, changed = operator_override.reset(gate(), book.read(gate().keys), book.now)
    book.write(writes)
    assert changed
    assert isinstance(book.admit(gate()), Admission)
    assert not operator_override.reset(gate(), book.read(gate().keys), book.now)[1]


def test_trip_holds_for_so_long(book):
    writes, _ = operator_override.trip(
        gate(), 100.0, book.read([*gate().keys, gate().known_targets_key]), book.now
    )
    book.write(writes)
    assert (book.admit(gate()).reason, book.admit(gate()).retry_at) == ("held", book.now + 100)
    book.now += 100
    assert isinstance(book.admit(gate()), Admission)


def test_a_quirk_is_remembered_for_its_target(book):
    admitted = book.admit(gate())
    book.settle(gate(), admitted, Outcome(Kind.OK), dropped_parameters=frozenset({"temperature"}))
    assert book.admit(gate()).dropped_parameters == {"temperature"}
    assert book.admit(gate(B)).dropped_parameters == frozenset()


def test_a_target_is_known_from_its_first_call_that_was_not_cancelled(book):
    book.call(gate(), Kind.CANCELLED)
    assert gate().known_targets_key not in book.values
    book.call(gate(), Kind.TIMEOUT)
    assert load_or_default(book.values[gate().known_targets_key], NameSet).names == {"p/a"}


def test_a_model_that_its_provider_does_not_have_is_no_target(book):
    book.call(gate(), Kind.MODEL_NOT_FOUND)
    assert gate().known_targets_key not in book.values
    assert book.admit(gate()).reason == "disabled"


def test_any_number_of_invented_models_leaves_a_record_of_bounded_length(book):
    book.call(gate(), Kind.MODEL_NOT_FOUND)
    for number in range(MAX_BLOCKED_MODELS + 5):
        book.now += 1
        book.call(gate(Target("p", f"invented-{number}")), Kind.MODEL_NOT_FOUND)
    blocks = load_or_default(book.values[gate().credential_key], CredentialState).blocks
    assert len(blocks) == MAX_BLOCKED_MODELS
    assert f"invented-{MAX_BLOCKED_MODELS + 4}" in blocks
    assert "a" not in blocks


def test_a_damaged_list_of_targets_is_written_anew_even_if_the_name_stands_in_it(book):
    book.values[gate().known_targets_key] = '{"v":1,"names":["p/a"'
    book.call(gate(), Kind.OK)
    assert load_or_default(book.values[gate().known_targets_key], NameSet).names == {"p/a"}


def test_looking_says_what_admission_would_and_takes_no_place(book):
    book.call(gate(), Kind.TIMEOUT)
    assert (book.view(gate()).state, book.view(gate()).refusal) == ("closed", None)
    book.call(gate(), Kind.TIMEOUT)
    assert book.view(gate()).state == "open"
    book.now += 60
    before = dict(book.values)
    assert (book.view(gate()).state, book.view(gate()).refusal) == ("half_open", None)
    assert book.values == before


def test_a_circuit_of_a_newer_version_is_left_alone(book):
    newer = json.dumps({"v": 99, "state": "something"})
    book.values[gate().circuit_key] = newer
    book.call(gate(), Kind.TIMEOUT)
    assert book.values[gate().circuit_key] == newer


def test_a_switched_off_breaker_never_refuses(book):
    off = gate(rules=replace(RULES, enabled=False))
    for _ in range(10):
        book.call(off, Kind.TIMEOUT)
    assert isinstance(book.admit(off), Admission)
