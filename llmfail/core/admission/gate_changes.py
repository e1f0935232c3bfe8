"""What the writes of one update change about circuits, credentials and budgets: found by comparing what was
stored with what is written, inside the update, so that of all processes only the one that made a change
finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from llmfail.core.admission import circuit as circuits
from llmfail.core.admission.budget import BudgetScope, Spending
from llmfail.core.admission.circuit import Circuit, CircuitState
from llmfail.core.admission.credential import ALL_MODELS, CredentialState
from llmfail.core.admission.gate import Gate
from llmfail.core.admission.pause import Pause, find_end
from llmfail.core.model import Target
from llmfail.core.records.record import Values, Writes, load, load_or_default

PAUSED = "paused"
"""The state of a closed circuit whose target has named a time before which not to come again."""
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
    """What is spent has come to ``mark``, which is ``alert``, ``downgrade`` or ``limit``, or (``refused``) it
    has refused a call for the first time in its period; in the unit of the budget.
    """

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
    written = {gate.circuit_key, gate.pause_key} & after.keys()
    if not written:
        return
    values = {**before, **{key: None if (write := after[key]) is None else write.text for key in written}}
    old, _ = _name_state(gate, before, now)
    new, until = _name_state(gate, values, now)
    if old != new:
        circuit = load_or_default(values[gate.circuit_key], Circuit)
        yield CircuitChange(gate.target, old, new, _explain(circuit, new, why), until)


def _name_state(gate: Gate, values: Values, now: float) -> tuple[str, float | None]:
    """As it is stored: one whose wait is over is open until a trial is admitted. A pause is told where the
    circuit itself is closed. With it, until when.
    """
    circuit = circuits.normalize(load_or_default(values[gate.circuit_key], Circuit), now)
    if circuit.held:
        return str(CircuitState.FORCED_OPEN), circuit.held_until
    pause_ends_at = find_end(load_or_default(values[gate.pause_key], Pause), now)
    if circuit.state is CircuitState.CLOSED and pause_ends_at is not None:
        return PAUSED, pause_ends_at
    return str(circuit.state), circuit.until if circuit.state is CircuitState.OPEN else None


def _explain(circuit: Circuit, new: str, why: str) -> str:
    match new:
        case CircuitState.HALF_OPEN:
            return "its wait is over, and a trial goes"
        case CircuitState.OPEN:
            return f"{why}, failures: {circuit.failures}" if why else f"failures: {circuit.failures}"
        case CircuitState.CLOSED if why != OPERATOR_DID_IT:
            ramps = ", and its share of calls grows" if circuit.until else ""
            return f"its trials have succeeded{ramps}"
        case "paused":
            return why or "it has named a time"
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
        if new.refused and not old.refused:
            yield BudgetChange(scope, "refused", new.spent)
