"""The circuit breaker of one target, as a state machine over a frozen record.

Every decision is ``(record, event, now, rules) -> record'``: the caller makes it atomic by running it
inside one store update. Transitions are lazy, so nothing needs a timer. Time is the store's clock, in
epoch seconds.

    closed ──(streak | rate | Retry-After)──> open ──(wait over, on admission)──> half_open
      ^                                        ^                                     │  │
      └──────(success_threshold trials)────────┼─────────────────────────────────────┘  │
                                               └──────────(any failed trial)────────────┘

A trial is a lease, so a killed process cannot block recovery. Every transition and override makes a new
generation, so an answer to a question of an earlier generation counts for nothing.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification.outcome import Effect
from llmfail.core.records.record import Record

STREAK_MEMORY = 3600.0
"""Seconds without news after which a streak is forgotten."""
HINT_RANGE = (1.0, 3600.0)
"""A Retry-After is believed within these bounds, in seconds."""
SLOTS = 10
"""The rate window is counted in so many slots."""
JITTER = 0.1
"""A re-opening waits up to this share longer."""


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"


class Rules(Struct, frozen=True):
    """Durations in seconds. The names are those of the ``breaker`` section of the configuration."""

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
    enabled: bool = True


class Lease(NamedTuple):
    """A place among the trials, given back by itself at ``until``."""

    id: str
    until: float


class Slot(NamedTuple):
    """Calls and failures in one slot of the rate window."""

    number: int
    calls: int
    failures: int


class Circuit(Record, frozen=True):
    """The record. ``at`` is the moment of its last change; ``until`` is when an open circuit admits
    trials; ``held`` is the operator's hold, until ``held_until`` or, when that is None, for ever.
    """

    state: State = State.CLOSED
    generation: int = 0
    at: float = 0.0
    failures: int = 0
    slots: tuple[Slot, ...] = ()
    until: float = 0.0
    reopenings: int = 0
    successes: int = 0
    leases: tuple[Lease, ...] = ()
    held: bool = False
    held_until: float | None = None


class Ticket(Struct, frozen=True):
    """The right to one call, to be settled once. A trial's ticket names its lease."""

    generation: int
    lease: str | None = None


class Refusal(Struct, frozen=True):
    reason: Literal["circuit_open", "probing", "held"]
    retry_at: float | None


class Verdict(Struct, frozen=True):
    """What a call says about the target. ``retry_after`` is the provider's own wait, in seconds."""

    effect: Effect
    rate_limited: bool = False
    retry_after: float | None = None


class View(Struct, frozen=True):
    """What a circuit looks like at a moment. ``retry_at`` is None when it admits now or never will."""

    state: State
    failures: int
    retry_at: float | None


def admit(circuit: Circuit, now: float, rules: Rules, lease: Lease) -> tuple[Circuit, Ticket | Refusal]:
    """Ask for a place; ``lease`` is what a trial would hold. An unchanged record comes back as it was."""
    free = not rules.enabled or circuit.state is State.CLOSED
    if free and not circuit.held:
        return circuit, Ticket(circuit.generation)
    circuit = current(circuit, now)
    if circuit.held:
        return circuit, Refusal("held", _hold_ends_at(circuit))
    return (circuit, Ticket(circuit.generation)) if free else _try(circuit, now, rules, lease)


def settle(circuit: Circuit, ticket: Ticket, verdict: Verdict, now: float, rules: Rules) -> Circuit:
    """Tell what became of an admitted call. A ticket counts once and only in its own generation."""
    if not rules.enabled:
        return circuit
    circuit = current(circuit, now)
    if ticket.generation != circuit.generation:
        return _lengthen(circuit, verdict, now)
    if circuit.state is State.CLOSED:
        return _settle_closed(circuit, verdict, now, rules)
    if circuit.state is State.HALF_OPEN and any(held.id == ticket.lease for held in circuit.leases):
        rest = tuple(held for held in circuit.leases if held.id != ticket.lease)
        return _settle_trial(replace(circuit, leases=rest, at=now), verdict, now, rules)
    return circuit


def believed(hint: float) -> float:
    """A provider's Retry-After, as far as it is believed, in seconds."""
    lowest, highest = HINT_RANGE
    return min(max(hint, lowest), highest)


def reset(circuit: Circuit, now: float) -> Circuit:
    """Closed, empty, released; whatever is under way counts for nothing."""
    return Circuit(generation=circuit.generation + 1, at=now)


def hold(circuit: Circuit, now: float, until: float | None = None) -> Circuit:
    """The operator's hold, over whatever state is underneath; ``reset`` ends it, or ``until``."""
    circuit = current(circuit, now)
    return replace(circuit, held=True, held_until=until, generation=circuit.generation + 1, at=now)


def view(circuit: Circuit, now: float) -> View:
    """The state as a reader should see it; an open circuit whose wait is over shows as half-open."""
    circuit = current(circuit, now)
    if circuit.held:
        return View(State.FORCED_OPEN, circuit.failures, _hold_ends_at(circuit))
    if circuit.state is State.OPEN:
        if now < circuit.until:
            return View(State.OPEN, circuit.failures, circuit.until)
        return View(State.HALF_OPEN, circuit.failures, None)
    return View(circuit.state, circuit.failures, None)


def expires_at(circuit: Circuit, rules: Rules) -> float | None:
    """When the record has nothing more to say, so that a store may drop it; None: never."""
    if circuit.held:
        return None
    memory = max(STREAK_MEMORY, rules.window)
    ends = (lease.until for lease in circuit.leases)
    return max(circuit.at, circuit.until, *ends) + memory + rules.max_recovery_timeout


def current(circuit: Circuit, now: float) -> Circuit:
    """The record as of ``now``: a clock set back keeps remaining durations, and what has run out is gone."""
    if now < circuit.at:
        circuit = _set_back(circuit, circuit.at - now)
    if circuit.held_until is not None and circuit.held_until <= now:
        circuit = replace(circuit, held=False, held_until=None)
    if any(lease.until <= now for lease in circuit.leases):
        circuit = replace(circuit, leases=tuple(lease for lease in circuit.leases if lease.until > now))
    if circuit.state is State.CLOSED and circuit.failures and now - circuit.at >= STREAK_MEMORY:
        circuit = replace(circuit, failures=0)
    return circuit


def _hold_ends_at(circuit: Circuit) -> float | None:
    """When a held circuit may admit again: not before the wait beneath is over as well."""
    return None if circuit.held_until is None else max(circuit.held_until, circuit.until)


def _set_back(circuit: Circuit, by: float) -> Circuit:
    return replace(
        circuit,
        at=circuit.at - by,
        until=circuit.until - by,
        leases=tuple(Lease(lease.id, lease.until - by) for lease in circuit.leases),
        held_until=None if circuit.held_until is None else circuit.held_until - by,
        slots=(),
    )


def _try(circuit: Circuit, now: float, rules: Rules, lease: Lease) -> tuple[Circuit, Ticket | Refusal]:
    if circuit.state is State.HALF_OPEN:
        return _lease(circuit, now, rules, lease)
    if now < circuit.until:
        return circuit, Refusal("circuit_open", circuit.until)
    trial = _enter(circuit, State.HALF_OPEN, now, reopenings=circuit.reopenings)
    return _lease(trial, now, rules, lease)


def _lease(circuit: Circuit, now: float, rules: Rules, lease: Lease) -> tuple[Circuit, Ticket | Refusal]:
    places = max(1, min(rules.half_open_limit, rules.success_threshold - circuit.successes))
    if len(circuit.leases) >= places:
        return circuit, Refusal("probing", min(held.until for held in circuit.leases))
    taken = replace(circuit, leases=(*circuit.leases, lease), at=now)
    return taken, Ticket(circuit.generation, lease.id)


def _settle_closed(circuit: Circuit, verdict: Verdict, now: float, rules: Rules) -> Circuit:
    match verdict.effect:
        case Effect.NEUTRAL:
            return circuit
        case Effect.SUCCESS:
            return replace(circuit, failures=0, slots=_count(circuit.slots, now, rules, failed=0), at=now)
        case Effect.FAILURE:
            failed = replace(
                circuit,
                failures=circuit.failures + 1,
                slots=_count(circuit.slots, now, rules, failed=1),
                at=now,
            )
            return _open(failed, verdict, now, rules) if _must_open(failed, verdict, rules) else failed


def _settle_trial(circuit: Circuit, verdict: Verdict, now: float, rules: Rules) -> Circuit:
    match verdict.effect:
        case Effect.NEUTRAL:
            return circuit
        case Effect.FAILURE:
            failed = replace(circuit, failures=circuit.failures + 1, reopenings=circuit.reopenings + 1)
            return _open(failed, verdict, now, rules)
        case Effect.SUCCESS if circuit.successes + 1 >= rules.success_threshold:
            return Circuit(generation=circuit.generation + 1, at=now)
        case Effect.SUCCESS:
            return replace(circuit, successes=circuit.successes + 1)


def _must_open(circuit: Circuit, verdict: Verdict, rules: Rules) -> bool:
    if verdict.retry_after is not None or circuit.failures >= rules.failure_threshold:
        return True
    calls = sum(slot.calls for slot in circuit.slots)
    failures = sum(slot.failures for slot in circuit.slots)
    return calls >= rules.volume_threshold and failures / calls >= rules.failure_rate


def _open(circuit: Circuit, verdict: Verdict, now: float, rules: Rules) -> Circuit:
    wait = believed(verdict.retry_after) if verdict.retry_after is not None else None
    if wait is None:
        base = rules.rate_limit_timeout if verdict.rate_limited else rules.recovery_timeout
        wait = _backed_off(base, circuit, now, rules)
    opened = _enter(circuit, State.OPEN, now, reopenings=circuit.reopenings)
    return replace(opened, failures=circuit.failures, until=now + wait)


def _backed_off(base: float, circuit: Circuit, now: float, rules: Rules) -> float:
    """The jitter is drawn from the record itself, so that every process computes the same."""
    if not circuit.reopenings:
        return base
    draw = zlib.crc32(f"{circuit.generation}:{now!r}".encode()) / 2**32
    ceiling = max(base, rules.max_recovery_timeout)
    try:
        grown = base * rules.backoff**circuit.reopenings
    except OverflowError:
        return ceiling
    return min(grown * (1 + JITTER * draw), ceiling)


def _lengthen(circuit: Circuit, verdict: Verdict, now: float) -> Circuit:
    """A late answer counts for nothing, except that a later hint may lengthen a wait; never shorten it."""
    if circuit.state is not State.OPEN or verdict.retry_after is None or verdict.effect is not Effect.FAILURE:
        return circuit
    until = now + believed(verdict.retry_after)
    return replace(circuit, until=until, at=now) if until > circuit.until else circuit


def _enter(circuit: Circuit, state: State, now: float, reopenings: int) -> Circuit:
    return Circuit(state=state, generation=circuit.generation + 1, at=now, reopenings=reopenings)


def _count(slots: tuple[Slot, ...], now: float, rules: Rules, *, failed: int) -> tuple[Slot, ...]:
    """The window with one more call; slots that have left it are gone."""
    number = int(now / (rules.window / SLOTS))
    kept = tuple(slot for slot in slots if number - SLOTS < slot.number < number)
    calls, failures = next(((s.calls, s.failures) for s in slots if s.number == number), (0, 0))
    return (*kept, Slot(number, calls + 1, failures + failed))
