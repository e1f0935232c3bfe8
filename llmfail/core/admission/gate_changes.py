"""What the writes of one update change about circuits, credentials and budgets: found by comparing what was
stored with what is written, inside the update, so that of all processes only the one that made a change
finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from llmfail.core.admission import breaker
from llmfail.core.admission.breaker import Circuit, CircuitState
from llmfail.core.admission.budget import BudgetScope, Spending
from llmfail.core.admission.credential import ALL_MODELS, CredentialState
from llmfail.core.admission.gate import Gate
from llmfail.core.model import Target
from llmfail.core.records.record import Values, Writes, load, load_or_default

OPERATOR_DID_IT = "by the operator"


class CircuitChange(Struct, frozen=True):
    """``until``: when an open circuit may be tried again, in epoch seconds."""

    target: Target
    old: str
    new: str
    why: str
    until: float | None


class CredentialChange(Struct, frozen=True):
    """A credential is held back; ``is_for_all``: for every model."""

    target: Target
    is_for_all: bool
    why: str
    until: float | None


class BudgetChange(Struct, frozen=True):
    """What is spent has come to ``mark``, which is ``alert``, ``downgrade`` or ``limit``; in pico-dollars."""

    scope: BudgetScope
    mark: str
    spent: int


GateChange = CircuitChange | CredentialChange | BudgetChange


class WatchedRecords(Struct, frozen=True):
    """Whose records an update may change, and what came of the calls that it settles."""

    gates: Sequence[Gate]
    scopes: Sequence[BudgetScope] = ()
    outcomes: Mapping[Target, str] = {}


def find_changes(
    watched: WatchedRecords, before: Values, after: Writes, now: float
) -> tuple[GateChange, ...]:
    """In the order of gates, then of budgets."""
    if not after:
        return ()
    gates = {gate.target: gate for gate in watched.gates}.values()
    changes: list[GateChange] = []
    for gate in gates:
        why = watched.outcomes.get(gate.target, "")
        changes += _find_circuit_change(gate, before, after, now, why)
        changes += _find_credential_change(gate, before, after, now)
    changes += _find_crossings(dict.fromkeys(watched.scopes), before, after)
    return tuple(changes)


def _find_circuit_change(
    gate: Gate, before: Values, after: Writes, now: float, why: str
) -> Iterator[CircuitChange]:
    if gate.circuit_key not in after:
        return
    write = after[gate.circuit_key]
    circuit = load_or_default(write.text if write else None, Circuit)
    old, new = _name_state(load_or_default(before[gate.circuit_key], Circuit), now), _name_state(circuit, now)
    if old != new:
        until = breaker.view(circuit, now).retry_at
        yield CircuitChange(gate.target, old, new, _explain(circuit, new, why), until)


def _name_state(circuit: Circuit, now: float) -> str:
    """As it is stored: one whose wait is over is open until a trial is admitted."""
    circuit = breaker.normalize(circuit, now)
    return str(CircuitState.FORCED_OPEN if circuit.held else circuit.state)


def _explain(circuit: Circuit, new: str, why: str) -> str:
    match new:
        case CircuitState.HALF_OPEN:
            return "its wait is over, and a trial goes"
        case CircuitState.OPEN:
            return f"{why}, failures: {circuit.failures}" if why else f"failures: {circuit.failures}"
        case CircuitState.CLOSED if why != OPERATOR_DID_IT:
            return "its trials have succeeded"
        case _:
            return why or OPERATOR_DID_IT


def _find_credential_change(
    gate: Gate, before: Values, after: Writes, now: float
) -> Iterator[CredentialChange]:
    write = after.get(gate.credential_key)
    if write is None:
        return
    old, new = (
        load_or_default(before[gate.credential_key], CredentialState),
        load(write.text, CredentialState),
    )
    for scope in (ALL_MODELS, gate.target.model):
        block = new.blocks.get(scope) if new else None
        if block is None or block.since != now or scope in old.blocks:
            continue
        why = f"{block.kind}: {block.note}" if block.note else str(block.kind)
        yield CredentialChange(gate.target, scope == ALL_MODELS, why, block.until)


def _find_crossings(scopes: Iterable[BudgetScope], before: Values, after: Writes) -> Iterator[BudgetChange]:
    for scope in scopes:
        write = after.get(scope.key)
        new = load(write.text, Spending) if write else None
        if new is None:
            continue
        old = load_or_default(before[scope.key], Spending)
        marks = {"alert": scope.alert_at, "downgrade": scope.downgrade_at, "limit": scope.limit}
        for mark, amount in marks.items():
            if amount is not None and old.spent < amount <= new.spent:
                yield BudgetChange(scope, mark, new.spent)
