"""Answers that only count: settled together they come to the same as one after another."""

import hypothesis.strategies as st
from gate_states import build_reservation_request
from hypothesis import given
from msgspec.structs import replace

from llmfail.core.admission import gate_settlement
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.circuit import BreakerRules, Circuit, CircuitState, Ticket, TrialLease, WindowSlot
from llmfail.core.admission.credential import ALL_MODELS, Block, CredentialState
from llmfail.core.admission.gate import Admission, Gate, Settlement
from llmfail.core.admission.gate_settlement import SettledCall, is_plain, settle_answers
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.admission.reservation_request import Reservation
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Address, Request, Target, Usage
from llmfail.core.records.record import combine, dump
from llmfail.core.request.ask import to_messages
from llmfail.core.tokens import token_bounds
from llmfail.core.tokens.token_bounds import Calibration

NOW = 1_000_000.0
LONG = token_bounds.size_of(Request(to_messages("What is the capital of France? " * 40)))
RULES = {"a": BreakerRules(), "b": BreakerRules(ramp=60.0), "c": BreakerRules(enabled=False)}
GATES = [
    Gate(Target("p", model), Address("openai", "https://p.test/v1", model), "key", rules)
    for model, rules in RULES.items()
]
moments = st.sampled_from([NOW - 5000.0, NOW - 70.0, NOW - 1.0, NOW, NOW + 50.0])
circuits = st.builds(
    Circuit,
    state=st.sampled_from(
        [CircuitState.CLOSED, CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN]
    ),
    generation=st.integers(0, 1),
    at=moments,
    failures=st.integers(0, 2),
    slots=st.sampled_from([(), (WindowSlot(int(NOW / 6), 2, 2),)]),
    answered=st.dictionaries(st.integers(int(NOW / 6) - 12, int(NOW / 6) + 1), st.integers(1, 9), max_size=3),
    until=st.just(0.0) | moments,
    leases=st.sampled_from([(), (TrialLease("other", NOW + 9),)]),
)
kinds = st.sampled_from([Kind.QUOTA, Kind.AUTH])
blocks = st.builds(Block, kinds, st.none() | moments, st.just("note"), moments)
credentials = st.builds(
    CredentialState, st.dictionaries(st.sampled_from([ALL_MODELS, "a", "b"]), blocks, max_size=2)
)
usages = st.none() | st.builds(Usage, st.integers(0, 2000), output_tokens=st.just(5), estimated=st.booleans())
answers = st.builds(
    lambda gate, generation, at, size, usage: SettledCall(
        gate,
        Admission(Ticket(generation), at, frozenset(), Reservation(build_reservation_request(size=size), at)),
        Settlement(Outcome(Kind.OK), 9, 5, fallback=False, usage=usage),
    ),
    st.sampled_from(GATES),
    st.integers(0, 1),
    moments,
    st.sampled_from([LONG, replace(LONG, images=1)]),
    usages,
)


def records_of(circuit, credential, calibration):
    """The records of all gates, where there are any."""
    found = {}
    for gate in GATES:
        found |= {gate.circuit_key: circuit, gate.credential_key: credential}
        found[gate.keys_without_budgets[-1]] = calibration
    return {key: None if record is None else dump(record) for key, record in found.items()}


@given(
    st.none() | circuits,
    st.none() | credentials,
    st.none() | st.builds(Calibration, st.floats(0.5, 2.0), st.integers(0, 9)),
    st.lists(answers, max_size=6),
)
def test_settled_together_they_come_to_the_same_as_one_after_another(circuit, credential, calibration, given):
    together = combine(settle_answers(given))
    apart = combine([gate_settlement.settle(*one) for one in given])
    assert set(together.keys) == set(apart.keys)
    values = {**dict.fromkeys(together.keys), **records_of(circuit, credential, calibration)}
    assert together.change(values, NOW) == apart.change(values, NOW)


def test_an_answer_is_not_plain_that_was_a_trial_or_holds_something():
    plain = SettledCall(
        GATES[0],
        Admission(Ticket(0), NOW, frozenset(), Reservation(build_reservation_request(), NOW)),
        Settlement(Outcome(Kind.OK), 9, 5, fallback=False),
    )
    assert is_plain(plain)
    limited = replace(GATES[0], limits=(RateLimit("rate", "p", "requests", 60),))
    scoped = build_reservation_request(scopes=(BudgetScope("daily", "budget/daily", 5),))
    for other in (
        plain._replace(gate=limited),
        plain._replace(admission=replace(plain.admission, is_trial=True)),
        plain._replace(admission=replace(plain.admission, reservation=Reservation(scoped, NOW))),
        plain._replace(settlement=replace(plain.settlement, dropped_parameters=frozenset({"seed"}))),
        plain._replace(settlement=replace(plain.settlement, outcome=Outcome(Kind.TIMEOUT))),
    ):
        assert not is_plain(other)
