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
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.classification.outcome import CircuitEffect
from llmfail.core.hash_fraction import hash_fraction
from llmfail.core.records.joint_write import Sum
from llmfail.core.records.record import Record

STREAK_MEMORY_SECONDS = 3600.0
"""Seconds without a result after which a streak of failures is forgotten."""
SLOTS_PER_WINDOW = 10
"""The rate window is counted in so many slots."""
COUNTED_ANSWER = Sum(fixed=("generation",), latest=("at",), discarded=("answered/*",))
"""How the answer of a closed circuit is counted beside those of others."""
MAX_JITTER_SHARE = 0.1
"""A wait that has grown is up to this share longer."""
FIRST_SHARE = 0.1
"""The share of calls with which a ramp begins."""


class CircuitState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"


class BreakerRules(Struct, frozen=True):
    """Durations in seconds. The names are those of the ``breaker`` section of the configuration.
    ``max_pause`` is how long a Retry-After is obeyed; ``ramp`` is how long the share of a target grows after
    its circuit has closed.
    """

    failure_threshold: int = 5
    failure_rate: float = 0.5
    volume_threshold: int = 10
    window: float = 60.0
    recovery_timeout: float = 60.0
    rate_limit_timeout: float = 120.0
    backoff: float = 2.0
    max_recovery_timeout: float = 600.0
    half_open_limit: int = 3
    success_threshold: int = 3
    max_pause: float = 3600.0
    ramp: float = 0.0
    enabled: bool = True


class TrialLease(NamedTuple):
    """The right to one trial; it expires at ``until``."""

    id: str
    until: float


class WindowSlot(NamedTuple):
    """Calls and failures in one slot of the rate window. The calls that were answered are counted apart."""

    number: int
    calls: int
    failures: int


class Circuit(Record, frozen=True):
    """The record. ``at`` is the moment of its last change; ``until`` is when an open circuit admits trials,
    or when the ramp of a closed one ends; ``held``: an operator forced it open, until ``held_until`` or
    (None) a reset. ``answered`` are the calls that succeeded, by the slot of the rate window.
    """

    state: CircuitState = CircuitState.CLOSED
    generation: int = 0
    at: float = 0.0
    failures: int = 0
    slots: tuple[WindowSlot, ...] = ()
    answered: Mapping[int, int] = field(default_factory=dict)
    until: float = 0.0
    reopenings: int = 0
    successes: int = 0
    leases: tuple[TrialLease, ...] = ()
    held: bool = False
    held_until: float | None = None


class Ticket(Struct, frozen=True):
    """The right to one call, to be settled once. A trial's ticket names its lease."""

    generation: int
    lease: str | None = None


class CircuitRefusal(Struct, frozen=True):
    reason: Literal["circuit_open", "probing", "held", "ramping"]
    retry_at: float | None


class CallResult(Struct, frozen=True):
    """The result of a call for the breaker."""

    effect: CircuitEffect
    rate_limited: bool = False


class CircuitView(Struct, frozen=True):
    """A circuit for display. ``retry_at`` is None when it admits calls now, or only after a reset."""

    state: CircuitState
    failures: int
    retry_at: float | None


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


def expires_at(circuit: Circuit, rules: BreakerRules) -> float | None:
    """When the record means nothing any more, so that a store may drop it; None: never."""
    if circuit.held:
        return None
    memory = max(STREAK_MEMORY_SECONDS, rules.window)
    ends = (lease.until for lease in circuit.leases)
    return max(circuit.at, circuit.until, *ends) + memory + rules.max_recovery_timeout


def normalize(circuit: Circuit, now: float) -> Circuit:
    """The record as of ``now``, without what has expired. When the clock was set back, durations stay."""
    if now < circuit.at:
        circuit = _shift_clock(circuit, circuit.at - now)
    if circuit.held_until is not None and circuit.held_until <= now:
        circuit = replace(circuit, held=False, held_until=None)
    if any(lease.until <= now for lease in circuit.leases):
        circuit = replace(circuit, leases=tuple(lease for lease in circuit.leases if lease.until > now))
    if (
        circuit.state is CircuitState.CLOSED
        and circuit.failures
        and now - circuit.at >= STREAK_MEMORY_SECONDS
    ):
        circuit = replace(circuit, failures=0)
    if circuit.state is CircuitState.CLOSED and circuit.until and now >= circuit.until:
        circuit = replace(circuit, until=0.0, reopenings=0)
    return circuit


def _override_ends_at(circuit: Circuit) -> float | None:
    """When a circuit that is forced open may admit again: not before its own wait is over as well."""
    if circuit.held_until is None or circuit.state is CircuitState.CLOSED:
        return circuit.held_until
    return max(circuit.held_until, circuit.until)


def _shift_clock(circuit: Circuit, by: float) -> Circuit:
    return replace(
        circuit,
        at=circuit.at - by,
        until=circuit.until - by if circuit.until else 0.0,
        leases=tuple(TrialLease(lease.id, lease.until - by) for lease in circuit.leases),
        held_until=None if circuit.held_until is None else circuit.held_until - by,
        slots=(),
        answered={},
    )


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
            return replace(circuit, failures=0, answered=_count_answer(circuit.answered, now, rules), at=now)
        case CircuitEffect.FAILURE:
            failed = replace(
                circuit,
                failures=circuit.failures + 1,
                slots=_count_failure(circuit.slots, now, rules),
                answered=_drop_old(circuit.answered, now, rules),
                at=now,
            )
            if share_of(circuit, now, rules) < 1:
                return _open_circuit(replace(failed, reopenings=failed.reopenings + 1), result, now, rules)
            return _open_circuit(failed, result, now, rules) if _must_open(failed, rules) else failed


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
    if circuit.failures >= rules.failure_threshold:
        return True
    calls = sum(slot.calls for slot in circuit.slots) + sum(circuit.answered.values())
    failures = sum(slot.failures for slot in circuit.slots)
    return calls >= rules.volume_threshold and failures / calls >= rules.failure_rate


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


def _count_failure(slots: tuple[WindowSlot, ...], now: float, rules: BreakerRules) -> tuple[WindowSlot, ...]:
    """The window with one more failure, without slots that are too old."""
    number = _slot_number(now, rules)
    kept = tuple(slot for slot in slots if number - SLOTS_PER_WINDOW < slot.number < number)
    calls, failures = next(((s.calls, s.failures) for s in slots if s.number == number), (0, 0))
    return (*kept, WindowSlot(number, calls + 1, failures + 1))


def _count_answer(answered: Mapping[int, int], now: float, rules: BreakerRules) -> Mapping[int, int]:
    number = _slot_number(now, rules)
    return {**_drop_old(answered, now, rules), number: answered.get(number, 0) + 1}


def _drop_old(answered: Mapping[int, int], now: float, rules: BreakerRules) -> Mapping[int, int]:
    last = _slot_number(now, rules)
    return {number: calls for number, calls in answered.items() if last - SLOTS_PER_WINDOW < number <= last}


def _slot_number(now: float, rules: BreakerRules) -> int:
    return int(now / (rules.window / SLOTS_PER_WINDOW))
