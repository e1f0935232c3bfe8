"""The circuit breaker of one target, as a state machine over a frozen record.

Every decision is ``(record, event, now, rules) -> record'``: the caller makes it atomic by running it inside
one store update. A transition happens at the next admission, so nothing needs a timer. Time is the store's
clock, in epoch seconds.

    closed ──(streak | rate)──> open ──(wait over, on admission)──> half_open
      ^                          ^                                     │  │
      └──────(success_threshold trials)────────────────────────────────┘  │
                                 └──────────(any failed trial)────────────┘

With a ``ramp`` a circuit that its trials have closed takes a growing share of the calls first, and a failure
opens it again at once. Which calls, a hash decides, so that every process decides alike.

A Retry-After opens nothing: that is a pause (``core.admission.pause``). A trial is a lease, so a killed
process cannot block recovery. Every transition and override begins a new generation, and results of an
earlier one do not count.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from msgspec.structs import replace

from llmfail.core.admission.circuit import (
    BreakerRules,
    CallResult,
    Circuit,
    CircuitRefusal,
    CircuitState,
    CircuitView,
    Ticket,
    TrialLease,
    add_answers,
    count_failure,
    drop_old_answers,
    has_high_failure_rate,
    normalize,
)
from llmfail.core.classification.outcome import CircuitEffect
from llmfail.core.hash_fraction import hash_fraction
from llmfail.core.records.joint_write import Sum

COUNTED_ANSWER = Sum(fixed=("generation",), latest=("at",), discarded=("answered/*",))
"""How the answer of a closed circuit is counted beside those of others."""
MAX_JITTER_SHARE = 0.1
"""A wait that has grown is up to this share longer."""
FIRST_SHARE = 0.1
"""The share of calls with which a ramp begins."""


def admit(
    circuit: Circuit,
    now: float,
    rules: BreakerRules,
    lease: TrialLease,
    share_key: str = "",
    head_start: float = 0.0,
) -> tuple[Circuit, Ticket | CircuitRefusal]:
    """Admit a call or refuse it; a trial takes the ``lease``. An unchanged record comes back as it was.
    ``share_key`` says which call it is for a circuit that ramps; one without is admitted by it in any case.
    ``head_start``: for so many seconds trials are left to others that will come.
    """
    free = not rules.enabled or circuit.state is CircuitState.CLOSED
    may_ramp = rules.enabled and circuit.until
    if free and not circuit.held and not may_ramp:
        return circuit, Ticket(circuit.generation)
    circuit = normalize(circuit, now)
    if circuit.held:
        return circuit, CircuitRefusal("held", _override_ends_at(circuit))
    if not free:
        return _admit_trial(circuit, now, rules, lease, head_start)
    if share_key and hash_fraction(share_key) >= share_of(circuit, now, rules):
        return circuit, CircuitRefusal("ramping", None)
    return circuit, Ticket(circuit.generation)


def share_of(circuit: Circuit, now: float, rules: BreakerRules) -> float:
    """The share of calls that a circuit takes which admits any: all of them, or what its ramp has come to."""
    is_begun = circuit.state is CircuitState.CLOSED and circuit.until
    if not is_begun or not rules.enabled or not rules.ramp or now >= circuit.until:
        return 1.0
    passed = 1 - (circuit.until - now) / rules.ramp
    return FIRST_SHARE + (1 - FIRST_SHARE) * max(passed, 0.0)


def is_counted_answer(before: Circuit, after: Circuit) -> bool:
    """Whether nothing but an answer in a closed circuit was counted."""
    return replace(after, at=before.at, answered=before.answered) == before


def settle(circuit: Circuit, ticket: Ticket, result: CallResult, now: float, rules: BreakerRules) -> Circuit:
    """Count the result of an admitted call: once, and only in the generation of its ticket."""
    if not rules.enabled:
        return circuit
    circuit = normalize(circuit, now)
    if ticket.generation != circuit.generation:
        return circuit
    if circuit.state is CircuitState.CLOSED:
        return _settle_closed(circuit, result, now, rules)
    if circuit.state is CircuitState.HALF_OPEN and any(lease.id == ticket.lease for lease in circuit.leases):
        others = tuple(lease for lease in circuit.leases if lease.id != ticket.lease)
        return _settle_trial(replace(circuit, leases=others, at=now), result, now, rules)
    return circuit


def count_answers(circuit: Circuit, tickets: Iterable[Ticket], now: float, rules: BreakerRules) -> Circuit:
    """The same for the answers of calls that were no trials, one after another."""
    if not rules.enabled:
        return circuit
    circuit = normalize(circuit, now)
    answers = sum(ticket.generation == circuit.generation for ticket in tickets)
    if not answers or circuit.state is not CircuitState.CLOSED:
        return circuit
    return _add_answers(circuit, answers, now, rules)


def reset(circuit: Circuit, now: float) -> Circuit:
    """A closed and empty circuit; calls under way do not count."""
    return Circuit(generation=circuit.generation + 1, at=now)


def force_open(circuit: Circuit, now: float, until: float | None = None) -> Circuit:
    """The circuit forced open, whatever its state, until ``until`` or a ``reset``."""
    circuit = normalize(circuit, now)
    return replace(circuit, held=True, held_until=until, generation=circuit.generation + 1, at=now)


def view(circuit: Circuit, now: float) -> CircuitView:
    """The state for display; an open circuit whose wait is over shows as half-open."""
    circuit = normalize(circuit, now)
    if circuit.held:
        return CircuitView(CircuitState.FORCED_OPEN, circuit.failures, _override_ends_at(circuit))
    if circuit.state is CircuitState.OPEN:
        if now < circuit.until:
            return CircuitView(CircuitState.OPEN, circuit.failures, circuit.until)
        return CircuitView(CircuitState.HALF_OPEN, circuit.failures, None)
    return CircuitView(circuit.state, circuit.failures, None)


def _override_ends_at(circuit: Circuit) -> float | None:
    """When a circuit that is forced open may admit again: not before its own wait is over as well."""
    if circuit.held_until is None or circuit.state is CircuitState.CLOSED:
        return circuit.held_until
    return max(circuit.held_until, circuit.until)


def _admit_trial(
    circuit: Circuit, now: float, rules: BreakerRules, lease: TrialLease, head_start: float
) -> tuple[Circuit, Ticket | CircuitRefusal]:
    """The others that have a head start have it again after each of their trials."""
    if circuit.state is CircuitState.OPEN and now < circuit.until:
        return circuit, CircuitRefusal("circuit_open", circuit.until)
    starts_at = head_start + (circuit.until if circuit.state is CircuitState.OPEN else circuit.at)
    if now < starts_at:
        return circuit, CircuitRefusal("probing", starts_at)
    if circuit.state is CircuitState.HALF_OPEN:
        return _grant_trial(circuit, now, rules, lease)
    trial = _enter_state(circuit, CircuitState.HALF_OPEN, now, reopenings=circuit.reopenings)
    return _grant_trial(trial, now, rules, lease)


def _grant_trial(
    circuit: Circuit, now: float, rules: BreakerRules, lease: TrialLease
) -> tuple[Circuit, Ticket | CircuitRefusal]:
    limit = max(1, min(rules.half_open_limit, rules.success_threshold - circuit.successes))
    if len(circuit.leases) >= limit:
        return circuit, CircuitRefusal("probing", min(other.until for other in circuit.leases))
    leased = replace(circuit, leases=(*circuit.leases, lease), at=now)
    return leased, Ticket(circuit.generation, lease.id)


def _settle_closed(circuit: Circuit, result: CallResult, now: float, rules: BreakerRules) -> Circuit:
    match result.effect:
        case CircuitEffect.NEUTRAL:
            return circuit
        case CircuitEffect.SUCCESS:
            return _add_answers(circuit, 1, now, rules)
        case CircuitEffect.FAILURE:
            failed = replace(
                circuit,
                failures=circuit.failures + 1,
                slots=count_failure(circuit.slots, now, rules),
                answered=drop_old_answers(circuit.answered, now, rules),
                at=now,
            )
            if share_of(circuit, now, rules) < 1:
                return _open_circuit(replace(failed, reopenings=failed.reopenings + 1), result, now, rules)
            return _open_circuit(failed, result, now, rules) if _must_open(failed, rules) else failed


def _add_answers(circuit: Circuit, answers: int, now: float, rules: BreakerRules) -> Circuit:
    answered = add_answers(circuit.answered, answers, now, rules)
    return replace(circuit, failures=0, answered=answered, at=now)


def _settle_trial(circuit: Circuit, result: CallResult, now: float, rules: BreakerRules) -> Circuit:
    match result.effect:
        case CircuitEffect.NEUTRAL:
            return circuit
        case CircuitEffect.FAILURE:
            failed = replace(circuit, failures=circuit.failures + 1, reopenings=circuit.reopenings + 1)
            return _open_circuit(failed, result, now, rules)
        case CircuitEffect.SUCCESS if circuit.successes + 1 >= rules.success_threshold:
            return _close_circuit(circuit, now, rules)
        case CircuitEffect.SUCCESS:
            return replace(circuit, successes=circuit.successes + 1)


def _close_circuit(circuit: Circuit, now: float, rules: BreakerRules) -> Circuit:
    """While it ramps, a re-opening follows on those before it."""
    closed = Circuit(generation=circuit.generation + 1, at=now)
    return replace(closed, until=now + rules.ramp, reopenings=circuit.reopenings) if rules.ramp else closed


def _must_open(circuit: Circuit, rules: BreakerRules) -> bool:
    return circuit.failures >= rules.failure_threshold or has_high_failure_rate(circuit, rules)


def _open_circuit(circuit: Circuit, result: CallResult, now: float, rules: BreakerRules) -> Circuit:
    base = rules.rate_limit_timeout if result.rate_limited else rules.recovery_timeout
    wait = _compute_backoff(base, circuit, now, rules)
    opened = _enter_state(circuit, CircuitState.OPEN, now, reopenings=circuit.reopenings)
    return replace(opened, failures=circuit.failures, until=now + wait)


def _compute_backoff(base: float, circuit: Circuit, now: float, rules: BreakerRules) -> float:
    """The wait grows from the second re-opening in a row on. The jitter is computed from the record, so that
    every process gets the same.
    """
    growths = circuit.reopenings - 1
    if growths < 1:
        return base
    fraction = zlib.crc32(f"{circuit.generation}:{now!r}".encode()) / 2**32
    ceiling = max(base, rules.max_recovery_timeout)
    try:
        grown = base * rules.backoff**growths
    except OverflowError:
        return ceiling
    return min(grown * (1 + MAX_JITTER_SHARE * fraction), ceiling)


def _enter_state(circuit: Circuit, state: CircuitState, now: float, reopenings: int) -> Circuit:
    return Circuit(state=state, generation=circuit.generation + 1, at=now, reopenings=reopenings)
