"""After closing, a circuit with a ramp takes a growing share of the asks, the same in every process."""

import pytest
from gate_states import GateStore

from llmfail.core.admission import breaker
from llmfail.core.admission import circuit as circuits
from llmfail.core.admission.circuit import (
    BreakerRules,
    CallResult,
    Circuit,
    CircuitRefusal,
    CircuitState,
    Ticket,
    TrialLease,
)
from llmfail.core.admission.gate import Admission, Gate, circuit_write
from llmfail.core.classification.outcome import CircuitEffect, Kind
from llmfail.core.model import Address, Target

NOW = 1_000_000.0
RULES = BreakerRules(failure_threshold=3, success_threshold=1, recovery_timeout=60.0, ramp=120.0)
RAMPING = Circuit(generation=3, at=NOW, until=NOW + 120)
FAILED, OK = CallResult(CircuitEffect.FAILURE), CallResult(CircuitEffect.SUCCESS)


def is_taken(circuit, key, now, rules=RULES):
    _, answer = breaker.admit(circuit, now, rules, TrialLease("l", now + 60), key)
    return not isinstance(answer, CircuitRefusal)


@pytest.mark.parametrize(("seconds", "share"), [(0, 0.1), (30, 0.325), (60, 0.55), (119.999, 1), (120, 1)])
def test_the_share_grows_from_a_tenth_to_all(seconds, share):
    now = NOW + seconds
    assert breaker.share_of(RAMPING, now, RULES) == pytest.approx(share, abs=1e-4)
    taken = sum(is_taken(RAMPING, f"ask-{number}", now) for number in range(4000))
    assert taken / 4000 == pytest.approx(share, abs=0.02)


def test_who_is_taken_once_is_taken_until_the_end():
    for number in range(100):
        answers = [is_taken(RAMPING, f"ask-{number}", NOW + seconds) for seconds in range(121)]
        assert answers == sorted(answers)
        assert answers[-1]


def test_a_call_that_can_go_nowhere_else_is_taken_and_so_is_any_without_a_ramp():
    assert is_taken(RAMPING, "", NOW)
    flat = BreakerRules(success_threshold=1)
    assert all(is_taken(RAMPING, f"ask-{number}", NOW, flat) for number in range(50))


def test_two_targets_that_ramp_together_leave_out_different_asks():
    keys = [f"ask-{number}" for number in range(1000)]
    both = sum(is_taken(RAMPING, f"{key} a", NOW) and is_taken(RAMPING, f"{key} b", NOW) for key in keys)
    assert both < 40


def test_a_failure_while_ramping_opens_at_once_and_follows_on_the_openings_before():
    store, gate = GateStore(), Gate(Target("p", "m"), Address("openai", "https://p.test/v1", "m"), "k", RULES)
    for _ in range(3):
        store.call(gate, Kind.SERVER_ERROR)
    waits = []
    for _ in range(3):
        store.now = store.view(gate).retry_at
        store.call(gate, Kind.OK)
        assert store.view(gate).share == pytest.approx(0.1)
        store.now += 10
        store.call(gate, Kind.SERVER_ERROR)
        waits.append(store.view(gate).retry_at - store.now)
    assert waits[0] == 60
    assert waits[0] < waits[1] < waits[2]


def test_once_the_ramp_is_over_one_failure_is_one_of_three_again():
    circuit = breaker.settle(RAMPING, Ticket(3), FAILED, NOW + 120, RULES)
    assert (circuit.state, circuit.failures, circuit.until) == (CircuitState.CLOSED, 1, 0.0)


def test_a_reset_ends_a_ramp():
    assert breaker.share_of(breaker.reset(RAMPING, NOW + 1), NOW + 1, RULES) == 1


def test_a_clock_that_is_set_back_neither_shortens_nor_lengthens_a_ramp():
    circuit = breaker.settle(RAMPING, Ticket(3), OK, NOW + 60, RULES)
    back = circuits.normalize(circuit, NOW - 1000)
    assert breaker.share_of(back, NOW - 1000, RULES) == pytest.approx(0.55)


def test_the_gate_leaves_an_ask_to_others_only_where_it_may():
    store, gate = GateStore(), Gate(Target("p", "m"), Address("openai", "https://p.test/v1", "m"), "k", RULES)
    store.write({gate.circuit_key: circuit_write(RAMPING, RULES)})
    store.now = NOW
    answers = [store.admit(gate, ask_id=f"ask-{number}") for number in range(200)]
    refused = [one for one in answers if not isinstance(one, Admission)]
    assert 160 < len(refused) < 195
    assert {(one.reason, one.retry_at) for one in refused} == {("ramping", None)}
    assert isinstance(store.admit(gate), Admission)
