"""The gate of one target: credential, circuit, rate limits and budgets; one admission, one settlement.

Both are pure changes for a store's ``update``, so each is one atomic step over everything it decides on.
"""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from llmfail.core.admission import breaker, reservation
from llmfail.core.admission import credential as credentials
from llmfail.core.admission.breaker import (
    Circuit,
    Lease,
    Rules,
    State,
    Ticket,
    Verdict,
)
from llmfail.core.admission.credential import Block, Credential
from llmfail.core.admission.rate_limit import Limit
from llmfail.core.admission.refusal import Refused
from llmfail.core.admission.reservation import Claim, Grant, Paid
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Target, Usage
from llmfail.core.receipt import Skip, iso
from llmfail.core.records.counters import (
    HOUR,
    KEPT_HOURS,
    Tally,
    count_call,
    hour_of,
)
from llmfail.core.records.record import (
    Names,
    Record,
    Step,
    Values,
    Write,
    Writes,
    dump,
    kept_until,
    load,
    ours,
    recall,
    together,
)

QUIRK_MEMORY = 30 * 24 * 3600.0
TARGETS = "targets"
"""The record that names every target that was ever called."""


class Gate(Struct, frozen=True):
    """What admission to one target rests on. ``identity`` names the credential, see ``credential``;
    ``renewed``: it is a token that changes by itself. ``limits`` hold for the target or for its provider.
    """

    target: Target
    identity: str
    rules: Rules
    renewed: bool = False
    limits: tuple[Limit, ...] = ()

    @property
    def circuit_key(self) -> str:
        return f"circuit/{self.target}"

    @property
    def credential_key(self) -> str:
        return f"credential/{self.target.provider}/{self.identity}"

    @property
    def quirks_key(self) -> str:
        return f"quirks/{self.target}"

    @property
    def hold_key(self) -> str:
        return hold_key(self.target.provider)

    @property
    def keys(self) -> tuple[str, ...]:
        """What a look at the circuit needs."""
        return (self.circuit_key, self.credential_key, self.quirks_key, self.hold_key)

    def keys_with(self, claim: Claim) -> tuple[str, ...]:
        """What the admission and the settlement of this claim need."""
        return (*self.keys, *reservation.keys(self.target, self.limits, claim))


class Hold(Record, frozen=True):
    """An operator's hold on a provider, until a moment or, with None, until it is reset."""

    until: float | None = None


class Admitted(Struct, frozen=True):
    """One call may go. ``at`` is the store's clock; ``quirks`` are the parameters to leave out."""

    ticket: Ticket
    at: float
    quirks: frozenset[str]
    grant: Grant


class Settlement(Struct, frozen=True):
    """What became of an admitted call. ``quirks`` are parameters without which it succeeded; ``cost`` is None
    when nobody knows it.
    """

    outcome: Outcome
    latency_ms: int
    cost: int | None
    fallback: bool
    quirks: frozenset[str] = frozenset()
    usage: Usage | None = None


class Look(Struct, frozen=True):
    """A gate as a reader should see it. ``retry_at`` is None when it admits now or never by itself."""

    state: str
    failures: int
    retry_at: float | None
    refusal: Refused | None


def hold_key(provider: str) -> str:
    """Where an operator's hold on a whole provider is kept."""
    return f"hold/{provider}"


def tally_key(target: Target, hour: int) -> str:
    return f"tally/{target}/{hour}"


def admit(gate: Gate, claim: Claim, values: Values, now: float) -> tuple[Writes, Admitted | Refused]:
    """Ask for a call. Needs ``gate.keys_with`` the budgets of the claim."""
    circuit = recall(values[gate.circuit_key], Circuit)
    credential = recall(values[gate.credential_key], Credential)
    credential_after, block = credentials.admit(credential, gate.target.model, now)
    held = _held(gate, values, now)
    if held is not None:
        return {}, held
    if block is not None:
        return {}, _blocked(block)
    allowed = reservation.admit(gate.target, gate.limits, claim, values, now)
    wait = 0.0 if isinstance(allowed, Refused) else allowed[1].wait
    lease = Lease(claim.call, now + wait + claim.lasts)
    circuit_after, answer = breaker.admit(circuit, now, gate.rules, lease)
    writes: dict[str, Write | None] = {}
    if circuit_after != circuit:
        writes[gate.circuit_key] = circuit_write(circuit_after, gate.rules)
    if isinstance(answer, breaker.Refusal):
        return ours(writes, values), _refused(answer)
    if isinstance(allowed, Refused):
        return {}, allowed
    taken, grant = allowed
    writes |= taken
    if credential_after != credential:
        writes[gate.credential_key] = Write(dump(credential_after))
    quirks = recall(values[gate.quirks_key], Names).names
    return ours(writes, values), Admitted(answer, now, quirks, grant)


def settle(gate: Gate, admitted: Admitted, settlement: Settlement) -> Step:
    """Tell what became of it: circuit, credential, quirks, budgets, rates and counters, each written only
    when it changed.
    """
    keys = (
        *gate.keys_with(admitted.grant.claim),
        tally_key(gate.target, hour_of(admitted.at)),
        TARGETS,
    )
    return Step(keys, partial(_settle, gate, admitted, settlement))


def withdraw(gate: Gate, claim: Claim) -> Step:
    """Give back what was claimed, when nobody has learnt whether it was given."""
    place = Step((gate.circuit_key,), partial(_withdraw, gate, claim.call))
    return together([place, reservation.withdraw(claim)])


def look(gate: Gate, values: Values, now: float, claim: Claim | None = None) -> Look:
    """The same decision as ``admit``, without asking for a place; writes nothing. Without a claim money and
    rate limits are left out, and ``gate.keys`` are enough.
    """
    circuit = recall(values[gate.circuit_key], Circuit)
    view = breaker.view(circuit, now)
    block = credentials.blocked(recall(values[gate.credential_key], Credential), gate.target.model, now)
    held = _held(gate, values, now)
    if held is not None:
        return Look(State.FORCED_OPEN, view.failures, held.retry_at, held)
    if block is not None:
        return Look("disabled", view.failures, block.until, _blocked(block))
    _, answer = breaker.admit(circuit, now, gate.rules, Lease("", now))
    if isinstance(answer, breaker.Refusal):
        return Look(view.state, view.failures, answer.retry_at, _refused(answer))
    allowed = claim and reservation.admit(gate.target, gate.limits, claim, values, now)
    return Look(view.state, view.failures, None, allowed if isinstance(allowed, Refused) else None)


def _settle(gate: Gate, admitted: Admitted, settlement: Settlement, values: Values, now: float) -> Writes:
    paid = Paid(settlement.usage, settlement.cost)
    writes = {
        **_settle_circuit(gate, admitted.ticket, settlement.outcome, values, now),
        **_settle_credential(gate, admitted, settlement.outcome, values, now),
        **reservation.settle(gate.target, gate.limits, admitted.grant, paid, values, now),
        **_learn(gate, settlement.quirks, values, now),
        **_count(gate, admitted, settlement, values),
    }
    return ours(writes, values)


def _withdraw(gate: Gate, lease_id: str, values: Values, now: float) -> Writes:
    ticket = Ticket(recall(values[gate.circuit_key], Circuit).generation, lease_id)
    return ours(_settle_circuit(gate, ticket, Outcome(Kind.CANCELLED), values, now), values)


_REASONS = {
    "circuit_open": "its circuit is open",
    "probing": "its circuit is being tried by others",
    "held": "held open by the operator",
}


def _refused(refusal: breaker.Refusal) -> Refused:
    until = f" until {iso(refusal.retry_at)}" if refusal.retry_at is not None else ""
    return Refused(Skip(refusal.reason), refusal.retry_at, _REASONS[refusal.reason] + until)


def _held(gate: Gate, values: Values, now: float) -> Refused | None:
    hold = load(values[gate.hold_key], Hold)
    if hold is None or (hold.until is not None and hold.until <= now):
        return None
    return _refused(breaker.Refusal("held", hold.until))


def _blocked(block: Block) -> Refused:
    note = f"{block.kind}: {block.note}" if block.note else str(block.kind)
    return Refused(Skip.DISABLED, block.until, note, block.kind)


def _settle_circuit(
    gate: Gate, ticket: Ticket, outcome: Outcome, values: Values, now: float
) -> dict[str, Write]:
    circuit = recall(values[gate.circuit_key], Circuit)
    verdict = Verdict(
        effect=outcome.consequence.effect,
        rate_limited=outcome.kind is Kind.RATE_LIMITED,
        retry_after=outcome.retry_after,
    )
    after = breaker.settle(circuit, ticket, verdict, now, gate.rules)
    return {} if after == circuit else {gate.circuit_key: circuit_write(after, gate.rules)}


def _settle_credential(
    gate: Gate, admitted: Admitted, outcome: Outcome, values: Values, now: float
) -> dict[str, Write]:
    credential = recall(values[gate.credential_key], Credential)
    after = credentials.settle(
        credential, gate.target.model, outcome, now, admitted_at=admitted.at, renewed=gate.renewed
    )
    return {} if after == credential else {gate.credential_key: Write(dump(after))}


def _learn(gate: Gate, quirks: frozenset[str], values: Values, now: float) -> dict[str, Write]:
    known = recall(values[gate.quirks_key], Names).names
    if quirks <= known:
        return {}
    return {gate.quirks_key: Write(dump(Names(known | quirks)), kept_until(now + QUIRK_MEMORY))}


def _count(gate: Gate, admitted: Admitted, settlement: Settlement, values: Values) -> dict[str, Write]:
    outcome = settlement.outcome
    if outcome.kind is Kind.CANCELLED:
        return {}
    hour = hour_of(admitted.at)
    key = tally_key(gate.target, hour)
    ok = outcome.kind is Kind.OK
    tally = count_call(
        recall(values[key], Tally),
        ok=ok,
        fallback=ok and settlement.fallback,
        latency_ms=settlement.latency_ms,
        cost=settlement.cost,
        error=None if ok else f"{outcome.kind}: {outcome.note}".rstrip(": "),
    )
    writes = {key: Write(dump(tally), float((hour + KEPT_HOURS) * HOUR))}
    return {**writes, **named(gate, values)}


def named(gate: Gate, values: Values) -> dict[str, Write]:
    """This target among those that ``status`` and ``reset --all`` know, whatever the configuration names."""
    known = recall(values[TARGETS], Names).names
    return {} if str(gate.target) in known else {TARGETS: Write(dump(Names(known | {str(gate.target)})))}


def circuit_write(circuit: breaker.Circuit, rules: Rules) -> Write:
    expires_at = breaker.expires_at(circuit, rules)
    return Write(dump(circuit), None if expires_at is None else kept_until(expires_at))
