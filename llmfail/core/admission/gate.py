"""The gate of one target: credential, pause, circuit, rate limits and budgets; one admission, one settlement.

Both are pure changes for a store's ``update``, so each is one atomic step over all that it decides on.
"""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from llmfail.core.admission import breaker, budget_holds, reservation
from llmfail.core.admission import circuit as circuits
from llmfail.core.admission import credential as credentials
from llmfail.core.admission import pause as pauses
from llmfail.core.admission import refusal as refusals
from llmfail.core.admission.circuit import (
    BreakerRules,
    Circuit,
    CircuitRefusal,
    CircuitState,
    Ticket,
    TrialLease,
)
from llmfail.core.admission.credential import CredentialState
from llmfail.core.admission.pause import Pause
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.admission.refusal import OpenReason, Refusal
from llmfail.core.admission.reservation_request import Reservation, ReservationRequest
from llmfail.core.classification.outcome import Outcome
from llmfail.core.model import Address, Target, Usage
from llmfail.core.receipt import SkipReason
from llmfail.core.records import state_keys
from llmfail.core.records.record import (
    NameSet,
    Record,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    load,
    load_or_default,
    without_newer,
)

PROBE_HEAD_START_SECONDS = 10.0
"""For so long the trials of a target that is probed are left to a watch; users take them when none comes."""
NO_GENERATION = -1
"""No circuit is of this generation."""


class Gate(Struct, frozen=True, dict=True):
    """What admission to one target depends on. ``identity`` names the credential
    (``credential.identity_of``); ``renews_itself``: the key is a token that changes by itself. ``limits`` are
    those of the target and of its provider. ``namespace`` keeps what a stranger's configuration learns
    apart from what others know of the same address. ``is_probed``: a watch makes its trials, if one runs.
    """

    target: Target
    address: Address
    identity: str
    rules: BreakerRules
    renews_itself: bool = False
    limits: tuple[RateLimit, ...] = ()
    namespace: str = ""
    is_probed: bool = False

    @cached_property
    def circuit_key(self) -> str:
        return state_keys.circuit_key(self.address, self.namespace)

    @cached_property
    def credential_key(self) -> str:
        return state_keys.credential_key(self.address, self.identity, self.namespace)

    @cached_property
    def pause_key(self) -> str:
        return state_keys.pause_key(self.address, self.identity, self.namespace)

    @cached_property
    def dropped_parameters_key(self) -> str:
        return state_keys.dropped_parameters_key(self.address, self.namespace)

    @cached_property
    def override_key(self) -> str:
        return state_keys.provider_override_key(self.address)

    @cached_property
    def known_targets_key(self) -> str:
        return state_keys.known_targets_key(self.address)

    def call_counters_key(self, hour: int) -> str:
        return state_keys.call_counters_key(self.address, hour)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys that ``view`` needs without a request."""
        return (
            self.circuit_key,
            self.pause_key,
            self.credential_key,
            self.dropped_parameters_key,
            self.override_key,
        )

    @cached_property
    def keys_without_budgets(self) -> tuple[str, ...]:
        """The keys that the admission and the settlement of a request in no budget need."""
        limits = (limit.key for limit in self.limits)
        return (*self.keys, state_keys.calibration_key(self.address), *limits)

    def keys_with_budgets(self, request: ReservationRequest) -> tuple[str, ...]:
        """The keys that the admission and the settlement of this request need."""
        if not request.scopes:
            return self.keys_without_budgets
        return (*self.keys_without_budgets, *budget_holds.keys_of(request))

    def __hash__(self) -> int:
        return hash(self.keys)


class ProviderOverride(Record, frozen=True):
    """An operator's command that forces all targets of a provider open, until a moment or (None) a reset."""

    until: float | None = None

    def is_active(self, now: float) -> bool:
        return self.until is None or now < self.until


class Admission(Struct, frozen=True):
    """One call may be made. ``at`` is the store's clock; ``dropped_parameters`` stay out of the request.
    ``is_trial``: its answer closes a circuit or frees a credential, as far as is known.
    """

    ticket: Ticket
    at: float
    dropped_parameters: frozenset[str]
    reservation: Reservation
    is_trial: bool = False


class Settlement(Struct, frozen=True):
    """The result of an admitted call. It succeeded without ``dropped_parameters``; an unknown ``cost`` is
    None.
    """

    outcome: Outcome
    latency_ms: int
    cost: int | None
    fallback: bool
    dropped_parameters: frozenset[str] = frozenset()
    usage: Usage | None = None


class GateView(Struct, frozen=True):
    """A gate for display. ``retry_at`` is None when it admits calls now, or only after a reset; ``share`` is
    the share of calls that its circuit takes.
    """

    state: str
    failures: int
    retry_at: float | None
    refusal: Refusal | None
    share: float = 1.0

    @property
    def open_reason(self) -> OpenReason | None:
        return self.refusal.open_reason if self.refusal is not None else None


def admit(
    gate: Gate, request: ReservationRequest, values: Values, now: float
) -> tuple[Writes, Admission | Refusal]:
    """Admit one call or refuse it. ``values`` must have ``gate.keys_with_budgets(request)``."""
    if request.is_forced:
        return _admit_forced(gate, request, values, now)
    circuit = load_or_default(values[gate.circuit_key], Circuit)
    credential = load_or_default(values[gate.credential_key], CredentialState)
    credential_after, block = credentials.admit(credential, gate.target.model, now)
    override = _refuse_when_forced_open(gate, values, now)
    blocked = override or (None if block is None else refusals.refuse_for_block(block))
    if blocked is not None:
        return {}, blocked
    writes = _normalize_pause(gate, values, now)
    paused = _refuse_while_paused(gate, circuit, values, now)
    if paused is not None:
        return without_newer({**writes, **_normalize_circuit(gate, circuit, now)}, values), paused
    reserved = reservation.admit(gate.address, gate.limits, request, values, now)
    wait = 0.0 if isinstance(reserved, Refusal) else reserved[1].wait
    lease = TrialLease(request.call_id, now + wait + request.lease_seconds)
    share_key = f"{request.ask_id} {gate.circuit_key}" if request.ask_id else ""
    head_start = 0.0 if request.is_probe or not gate.is_probed else PROBE_HEAD_START_SECONDS
    circuit_after, ticket = breaker.admit(circuit, now, gate.rules, lease, share_key, head_start)
    if circuit_after != circuit:
        writes[gate.circuit_key] = circuit_write(circuit_after, gate.rules)
    if isinstance(ticket, CircuitRefusal):
        return without_newer(writes, values), refusals.refuse_for_circuit(ticket)
    if isinstance(reserved, Refusal):
        return _note_refusal(reserved, request, values, now), reserved
    limit_writes, held = reserved
    writes |= limit_writes
    if credential_after != credential:
        writes[gate.credential_key] = Write(dump(credential_after))
    dropped = load_or_default(values[gate.dropped_parameters_key], NameSet).names
    is_trial = ticket.lease is not None or credential_after != credential
    return without_newer(writes, values), Admission(ticket, now, dropped, held, is_trial)


def _admit_forced(
    gate: Gate, request: ReservationRequest, values: Values, now: float
) -> tuple[Writes, Admission | Refusal]:
    """Past circuit, pause, credential and operator. Its ticket is of no generation, so that its result leaves
    the circuit as it is.
    """
    reserved = reservation.admit(gate.address, gate.limits, request, values, now)
    if isinstance(reserved, Refusal):
        return _note_refusal(reserved, request, values, now), reserved
    writes, held = reserved
    dropped = load_or_default(values[gate.dropped_parameters_key], NameSet).names
    return without_newer(writes, values), Admission(Ticket(NO_GENERATION), now, dropped, held, is_trial=True)


def _note_refusal(refusal: Refusal, request: ReservationRequest, values: Values, now: float) -> Writes:
    """A budget remembers that it refuses; nothing else that stands in the way of a call is written down."""
    is_over_budget = refusal.reason is SkipReason.OVER_BUDGET
    return budget_holds.mark_refused(request, values, now) if is_over_budget else {}


def view(gate: Gate, values: Values, now: float, request: ReservationRequest | None = None) -> GateView:
    """The decision of ``admit`` without its writes; without a request, only about circuit and credential, and
    whether a probe would be admitted.
    """
    circuit = load_or_default(values[gate.circuit_key], Circuit)
    view = breaker.view(circuit, now)
    block = credentials.find_block(
        load_or_default(values[gate.credential_key], CredentialState), gate.target.model, now
    )
    override = _refuse_when_forced_open(gate, values, now)
    if override is not None:
        return GateView(CircuitState.FORCED_OPEN, view.failures, override.retry_at, override)
    if block is not None:
        return GateView("disabled", view.failures, block.until, refusals.refuse_for_block(block))
    paused = _refuse_while_paused(gate, circuit, values, now)
    if paused is not None:
        return GateView(CircuitState.OPEN, view.failures, paused.retry_at, paused)
    leaves_trials = gate.is_probed and request is not None and not request.is_probe
    head_start = PROBE_HEAD_START_SECONDS if leaves_trials else 0.0
    _, answer = breaker.admit(circuit, now, gate.rules, TrialLease("", now), head_start=head_start)
    if isinstance(answer, CircuitRefusal):
        return GateView(view.state, view.failures, answer.retry_at, refusals.refuse_for_circuit(answer))
    reserved = request and reservation.admit(gate.address, gate.limits, request, values, now)
    refusal = reserved if isinstance(reserved, Refusal) else None
    return GateView(view.state, view.failures, None, refusal, breaker.share_of(circuit, now, gate.rules))


def _refuse_while_paused(gate: Gate, circuit: Circuit, values: Values, now: float) -> Refusal | None:
    """The refusal of a pause, unless the circuit refuses for longer, or because an operator says so."""
    if values[gate.pause_key] is None:
        return None
    pause = load_or_default(values[gate.pause_key], Pause)
    ends_at = pauses.find_end(pause, now)
    if ends_at is None or not gate.rules.enabled:
        return None
    shown = breaker.view(circuit, now)
    is_longer = shown.state is CircuitState.OPEN and shown.retry_at is not None and shown.retry_at >= ends_at
    if shown.state is CircuitState.FORCED_OPEN or is_longer:
        return None
    return refusals.refuse_for_pause(ends_at, is_rate_limit=pause.is_rate_limit)


def _refuse_when_forced_open(gate: Gate, values: Values, now: float) -> Refusal | None:
    override = load(values[gate.override_key], ProviderOverride)
    if override is None or not override.is_active(now):
        return None
    return refusals.refuse_for_circuit(CircuitRefusal("held", override.until))


def _normalize_pause(gate: Gate, values: Values, now: float) -> dict[str, Write | None]:
    """Write down a clock that was set back, so that the pause does not grow while the clock catches up."""
    if values[gate.pause_key] is None:
        return {}
    before = load_or_default(values[gate.pause_key], Pause)
    return (
        pauses.build_writes(gate.pause_key, before, pauses.normalize(before, now))
        if gate.rules.enabled
        else {}
    )


def _normalize_circuit(gate: Gate, circuit: Circuit, now: float) -> dict[str, Write]:
    """The same for the wait of a circuit that is not closed, beneath a pause."""
    if circuit.state is CircuitState.CLOSED:
        return {}
    after = circuits.normalize(circuit, now)
    return {} if after == circuit else {gate.circuit_key: circuit_write(after, gate.rules)}


def circuit_write(circuit: Circuit, rules: BreakerRules) -> Write:
    expires_at = circuits.expires_at(circuit, rules)
    return Write(dump(circuit), None if expires_at is None else hourly_expiry(expires_at))
