"""A Retry-After pauses one target for one credential; the circuit stays as it was."""

import pytest
from gate_states import GateStore
from msgspec.structs import replace

from llmfail.core.admission import operator_override
from llmfail.core.admission import pause as pauses
from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.admission.gate import Admission, Gate
from llmfail.core.admission.pause import Pause, find_pause
from llmfail.core.classification.outcome import CONSEQUENCES, CircuitEffect, Kind, Outcome
from llmfail.core.model import Address, Target

ADDRESS = Address("openai", "https://p.test/v1", "a")
GATE = Gate(Target("p", "a"), ADDRESS, "key", BreakerRules())
ONE_FAILURE_OPENS = Gate(Target("p", "a"), ADDRESS, "key", BreakerRules(failure_threshold=1))


@pytest.fixture
def store():
    return GateStore()


def look(store, gate=GATE):
    view = store.view(gate)
    return view.state, view.failures, view.open_reason


def test_c1_a_retry_after_is_a_pause_and_afterwards_the_circuit_is_closed_with_its_failures(store):
    store.call(GATE, Kind.TIMEOUT)
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    refused = store.admit(GATE)
    assert (refused.reason, refused.retry_at, refused.open_reason) == (
        "circuit_open",
        store.now + 30,
        "pause",
    )
    assert look(store) == ("open", 1, "pause")
    store.now += 29.9
    assert store.admit(GATE).retry_at == pytest.approx(store.now + 0.1)
    store.now += 0.2
    assert look(store) == ("closed", 1, None)
    assert store.admit(GATE).ticket.lease is None


def test_c1_a_failure_after_a_pause_is_one_failure_and_no_re_opening(store):
    store.call(GATE, Kind.RATE_LIMITED, retry_after=1)
    store.now += 1
    store.call(GATE, Kind.SERVER_ERROR)
    assert look(store) == ("closed", 1, None)


def test_a_rate_limit_that_names_its_end_is_no_failure_however_often_it_comes(store):
    for _ in range(20):
        store.call(GATE, Kind.RATE_LIMITED, retry_after=1)
        store.now += 1
    assert look(store) == ("closed", 0, None)


@pytest.mark.parametrize("kind", ["overloaded", "server_error"])
def test_a_broken_server_that_names_a_time_has_failed_and_pauses(store, kind):
    for number in range(1, 6):
        store.call(GATE, Kind(kind), retry_after=2)
        assert look(store)[1] == number
        store.now += 2
    assert look(store) == ("open", 5, "failures")


def test_of_an_opening_and_a_pause_the_longer_one_refuses(store):
    store.call(ONE_FAILURE_OPENS, Kind.OVERLOADED, retry_after=90)
    assert store.admit(ONE_FAILURE_OPENS).open_reason == "pause"
    assert store.admit(ONE_FAILURE_OPENS).retry_at == store.now + 90
    store.now += 90
    assert look(store, ONE_FAILURE_OPENS)[0] == "half_open"
    store.call(ONE_FAILURE_OPENS, Kind.OVERLOADED, retry_after=30)
    refused = store.admit(ONE_FAILURE_OPENS)
    assert (refused.open_reason, refused.retry_at) == ("failures", store.now + 60)


def test_a_trial_that_meets_a_rate_limit_proves_nothing_and_leaves_its_place(store):
    one_at_a_time = replace(GATE, rules=BreakerRules(failure_threshold=1, half_open_limit=1))
    store.call(one_at_a_time, Kind.TIMEOUT)
    store.now += 60
    store.call(one_at_a_time, Kind.RATE_LIMITED, retry_after=5)
    assert look(store, one_at_a_time) == ("open", 0, "pause")
    store.now += 5
    assert look(store, one_at_a_time)[0] == "half_open"
    assert isinstance(store.admit(one_at_a_time), Admission)


def test_two_accounts_at_one_host_do_not_share_a_pause(store):
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    assert isinstance(store.admit(replace(GATE, identity="another key")), Admission)
    assert isinstance(
        store.admit(replace(GATE, address=Address("openai", "https://p.test/v1", "b"))), Admission
    )


def test_a_pause_is_lengthened_and_never_shortened(store):
    calls = [store.admit(GATE) for _ in range(3)]
    ends = []
    for call, hint in zip(calls, (30, 10, 60), strict=True):
        store.settle(GATE, call, Outcome(Kind.RATE_LIMITED, retry_after=hint))
        ends.append(store.admit(GATE).retry_at - store.now)
    assert ends == [30, 30, 60]


def test_reset_ends_a_pause_and_says_so(store):
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    writes, changed = operator_override.reset(GATE, store.read(GATE.keys), store.now)
    store.write(writes)
    assert changed
    assert isinstance(store.admit(GATE), Admission)
    assert not operator_override.reset(GATE, store.read(GATE.keys), store.now)[1]


def test_a_pause_that_is_over_is_nothing_to_reset(store):
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    store.now += 30
    store.call(GATE, Kind.OK)
    assert not operator_override.reset(GATE, store.read(GATE.keys), store.now)[1]


def test_a_target_that_is_forced_open_is_shown_as_that(store):
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    keys = (*GATE.keys, GATE.known_targets_key)
    store.write(operator_override.trip(GATE, 5.0, store.read(keys), store.now)[0])
    assert look(store) == ("forced_open", 0, None)
    store.now += 5
    assert look(store) == ("open", 0, "pause")


def test_where_the_breaker_is_disabled_there_are_no_pauses(store):
    off = replace(GATE, rules=BreakerRules(enabled=False))
    store.call(off, Kind.RATE_LIMITED, retry_after=30)
    assert isinstance(store.admit(off), Admission)
    assert isinstance(store.admit(GATE), Admission)
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    assert isinstance(store.admit(off), Admission)


def test_a_clock_that_is_set_back_leaves_what_is_left_of_a_pause(store):
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    store.now -= 1000
    assert store.admit(GATE).retry_at == store.now + 30
    store.now += 29
    assert store.admit(GATE).retry_at == store.now + 1
    store.now += 1
    assert isinstance(store.admit(GATE), Admission)


def test_a_pause_of_a_newer_version_is_left_alone(store):
    newer = '{"v":99,"until":5e9}'
    store.values[GATE.pause_key] = newer
    store.call(GATE, Kind.RATE_LIMITED, retry_after=30)
    assert store.values[GATE.pause_key] == newer


@pytest.mark.parametrize(
    ("hint", "max_pause", "seconds"),
    [
        (0.0, 3600.0, 1.0),
        (0.2, 3600.0, 1.0),
        (1.0, 3600.0, 1.0),
        (30.5, 3600.0, 30.5),
        (3600.0, 3600.0, 3600.0),
        (7200.0, 3600.0, 3600.0),
        (7200.0, 86400.0, 7200.0),
        (30.0, 10.0, 10.0),
        (0.2, 0.5, 0.5),
        (30.0, 0.0, None),
        (None, 3600.0, None),
    ],
)
def test_c5_a_hint_is_obeyed_between_a_second_and_max_pause(hint, max_pause, seconds):
    assert find_pause(Outcome(Kind.RATE_LIMITED, retry_after=hint), max_pause) == seconds


def test_a_rate_limit_counts_where_no_hint_is_obeyed(store):
    gate = replace(GATE, rules=BreakerRules(max_pause=0))
    store.call(gate, Kind.RATE_LIMITED, retry_after=30)
    assert look(store, gate) == ("closed", 1, None)


@pytest.mark.parametrize("kind", Kind)
def test_only_what_counts_against_a_circuit_pauses(kind):
    counts = CONSEQUENCES[kind].circuit_effect is CircuitEffect.FAILURE
    assert (find_pause(Outcome(kind, retry_after=30), 3600) is not None) == counts


def test_a_store_may_not_drop_a_pause_before_its_end(store):
    admitted = store.admit(GATE)
    writes = store.settle(GATE, admitted, Outcome(Kind.RATE_LIMITED, retry_after=3000))
    assert writes[GATE.pause_key].expires_at >= store.now + 3000


def test_a_pause_is_over_at_its_end():
    pause = pauses.lengthen(Pause(), 30.0, 100.0)
    assert [pauses.find_end(pause, now) for now in (100.0, 129.9, 130.0)] == [130.0, 130.0, None]
