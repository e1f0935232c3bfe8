"""What the result of an admitted call changes at the gate of its target, in one step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from llmfail.core.admission import breaker, budget_holds, reservation
from llmfail.core.admission import credential as credentials
from llmfail.core.admission import pause as pauses
from llmfail.core.admission.budget_unit import ActualUse
from llmfail.core.admission.circuit import CallResult, Circuit, Ticket
from llmfail.core.admission.credential import CredentialState
from llmfail.core.admission.gate import Admission, Gate, Settlement, circuit_write
from llmfail.core.admission.pause import Pause
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import CircuitEffect, Kind, Outcome
from llmfail.core.records.counted_events import group_by
from llmfail.core.records.known_targets import TargetNames, add_target
from llmfail.core.records.record import (
    NameSet,
    StoreChange,
    Values,
    Write,
    Writes,
    combine,
    dump,
    hourly_expiry,
    load_or_default,
    without_newer,
)

MAX_DROPPED_NAMES = 500
"""A program may make a schema of its own for each request; what is beyond is learnt again."""
DROPPED_RETENTION_SECONDS = 30 * 24 * 3600.0
_UNREGISTERED = frozenset({Kind.CANCELLED, Kind.MODEL_NOT_FOUND})
"""Outcomes that tell of no target that there is."""


class SettledCall(NamedTuple):
    """An admitted call, and what came of it."""

    gate: Gate
    admission: Admission
    settlement: Settlement


def settle(gate: Gate, admission: Admission, settlement: Settlement) -> StoreChange:
    """Settle an admitted call: circuit, credential, dropped parameters, budgets and rates, each written only
    when it changed.
    """
    keys = (*gate.keys_with_budgets(admission.reservation.request), gate.known_targets_key)
    return StoreChange(keys, partial(_settle, gate, admission, settlement))


def is_plain(call: SettledCall) -> bool:
    """Whether its settlement only counts: that of an answer that was no trial and held nothing."""
    gate, admission, settlement = call
    is_free = not admission.reservation.request.scopes and not gate.limits
    is_ordinary = not admission.is_trial and not settlement.dropped_parameters
    return is_free and is_ordinary and settlement.outcome.kind is Kind.OK


def settle_answers(answers: Iterable[SettledCall]) -> list[StoreChange]:
    """Settle plain answers, as ``settle`` would one after another, by one change for each gate."""
    return [
        StoreChange(
            (*gate.keys_without_budgets, gate.known_targets_key), partial(_settle_answers, gate, some)
        )
        for gate, some in group_by(attrgetter("gate"), answers).items()
    ]


def cancel_reservation(gate: Gate, request: ReservationRequest) -> StoreChange:
    """Give back what was reserved for a call when it is not known whether the admission was written."""
    trial = StoreChange((gate.circuit_key,), partial(_cancel_trial, gate, request.call_id))
    return combine([trial, budget_holds.cancel(request)])


def register_target(gate: Gate, values: Values) -> dict[str, Write]:
    """Add this target to those that ``status`` and ``reset --all`` know, whatever the configuration names."""
    known = load_or_default(values[gate.known_targets_key], TargetNames)
    after = add_target(known, str(gate.target))
    return {} if after is known else {gate.known_targets_key: Write(dump(after))}


def _settle(gate: Gate, admission: Admission, settlement: Settlement, values: Values, now: float) -> Writes:
    is_answered = settlement.outcome.kind is Kind.OK
    actual = ActualUse(settlement.usage, settlement.cost, is_answered=is_answered)
    writes = {
        **_settle_circuit(gate, admission.ticket, settlement.outcome, values, now),
        **_settle_pause(gate, settlement.outcome, values, now),
        **_settle_credential(gate, [(admission, settlement.outcome)], values, now),
        **reservation.settle(gate.address, gate.limits, admission.reservation, actual, values, now),
        **_remember_dropped(gate, settlement.dropped_parameters, values, now),
        **({} if settlement.outcome.kind in _UNREGISTERED else register_target(gate, values)),
    }
    return without_newer(writes, values)


def _settle_answers(gate: Gate, answers: Sequence[SettledCall], values: Values, now: float) -> Writes:
    circuit = load_or_default(values[gate.circuit_key], Circuit)
    tickets = [one.admission.ticket for one in answers]
    results = [(one.admission, one.settlement.outcome) for one in answers]
    samples = [(one.admission.reservation.request.size, one.settlement.usage) for one in answers]
    writes: dict[str, Write | None] = {
        **_write_circuit(gate, circuit, breaker.count_answers(circuit, tickets, now, gate.rules)),
        **_settle_credential(gate, results, values, now),
        **reservation.learn_calibration(gate.address, samples, values, now),
        **register_target(gate, values),
    }
    return without_newer(writes, values)


def _cancel_trial(gate: Gate, lease_id: str, values: Values, now: float) -> Writes:
    ticket = Ticket(load_or_default(values[gate.circuit_key], Circuit).generation, lease_id)
    return without_newer(_settle_circuit(gate, ticket, Outcome(Kind.CANCELLED), values, now), values)


def _settle_circuit(
    gate: Gate, ticket: Ticket, outcome: Outcome, values: Values, now: float
) -> dict[str, Write]:
    """A rate limit that says when it ends is no failure: the pause is all that follows from it."""
    circuit = load_or_default(values[gate.circuit_key], Circuit)
    is_rate_limited = outcome.kind is Kind.RATE_LIMITED
    is_pause_alone = is_rate_limited and pauses.find_pause(outcome, gate.rules.max_pause) is not None
    effect = CircuitEffect.NEUTRAL if is_pause_alone else outcome.consequence.circuit_effect
    after = breaker.settle(circuit, ticket, CallResult(effect, is_rate_limited), now, gate.rules)
    return _write_circuit(gate, circuit, after)


def _write_circuit(gate: Gate, before: Circuit, after: Circuit) -> dict[str, Write]:
    if after == before:
        return {}
    write = circuit_write(after, gate.rules)
    how = breaker.COUNTED_ANSWER if breaker.is_counted_answer(before, after) else None
    return {gate.circuit_key: write._replace(how=how)}


def _settle_pause(gate: Gate, outcome: Outcome, values: Values, now: float) -> dict[str, Write | None]:
    seconds = pauses.find_pause(outcome, gate.rules.max_pause)
    if seconds is None or not gate.rules.enabled:
        return {}
    before = load_or_default(values[gate.pause_key], Pause)
    is_rate_limit = outcome.kind is Kind.RATE_LIMITED
    after = pauses.lengthen(before, seconds, now, is_rate_limit=is_rate_limit)
    return pauses.build_writes(gate.pause_key, before, after)


def _settle_credential(
    gate: Gate, results: Sequence[tuple[Admission, Outcome]], values: Values, now: float
) -> dict[str, Write]:
    """What admitted calls say of their credential, one after another."""
    if values[gate.credential_key] is None and all(outcome.kind is Kind.OK for _, outcome in results):
        return {}
    before = after = load_or_default(values[gate.credential_key], CredentialState)
    for admission, outcome in results:
        after = credentials.settle(
            after,
            gate.target.model,
            outcome,
            now,
            admitted_at=admission.at,
            renews_itself=gate.renews_itself,
        )
    return {} if after == before else {gate.credential_key: Write(dump(after))}


def _remember_dropped(gate: Gate, dropped: frozenset[str], values: Values, now: float) -> dict[str, Write]:
    if not dropped:
        return {}
    known = load_or_default(values[gate.dropped_parameters_key], NameSet).names
    if dropped <= known:
        return {}
    return {
        gate.dropped_parameters_key: Write(
            dump(NameSet(dropped if len(known) >= MAX_DROPPED_NAMES else known | dropped)),
            hourly_expiry(now + DROPPED_RETENTION_SECONDS),
        )
    }
