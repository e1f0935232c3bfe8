"""The circuit of one target as a record, what decides on it, and what the breaker answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.classification.outcome import CircuitEffect
from llmfail.core.records.record import Record

STREAK_MEMORY_SECONDS = 3600.0
"""Seconds without a result after which a streak of failures is forgotten."""
SLOTS_PER_WINDOW = 10
"""The rate window is counted in so many slots."""


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


def count_failure(slots: tuple[WindowSlot, ...], now: float, rules: BreakerRules) -> tuple[WindowSlot, ...]:
    """The window with one more failure, without slots that are too old."""
    number = _slot_number(now, rules)
    kept = tuple(slot for slot in slots if number - SLOTS_PER_WINDOW < slot.number < number)
    calls, failures = next(((s.calls, s.failures) for s in slots if s.number == number), (0, 0))
    return (*kept, WindowSlot(number, calls + 1, failures + 1))


def add_answers(
    answered: Mapping[int, int], answers: int, now: float, rules: BreakerRules
) -> Mapping[int, int]:
    number = _slot_number(now, rules)
    return {**drop_old_answers(answered, now, rules), number: answered.get(number, 0) + answers}


def drop_old_answers(answered: Mapping[int, int], now: float, rules: BreakerRules) -> Mapping[int, int]:
    last = _slot_number(now, rules)
    return {number: calls for number, calls in answered.items() if last - SLOTS_PER_WINDOW < number <= last}


def has_high_failure_rate(circuit: Circuit, rules: BreakerRules) -> bool:
    calls = sum(slot.calls for slot in circuit.slots) + sum(circuit.answered.values())
    failures = sum(slot.failures for slot in circuit.slots)
    return calls >= rules.volume_threshold and failures / calls >= rules.failure_rate


def _slot_number(now: float, rules: BreakerRules) -> int:
    return int(now / (rules.window / SLOTS_PER_WINDOW))
