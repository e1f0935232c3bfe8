"""One ask as a value: its plan, its attempts, its calls that are not settled yet, and what can be read off
them. ``ask_machine.step`` makes the next value.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission.gate import Admission, Settlement
from llmfail.core.admission.reservation import ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Request, Target
from llmfail.core.receipt import TrailEntry
from llmfail.core.routing import candidates as rules
from llmfail.core.routing.attempt_result import FoundAnswer, PartialAnswer
from llmfail.core.routing.attribution import attribute_network
from llmfail.core.routing.candidates import Candidate, Requirements

MAX_RUNNING = 2
"""Attempts at once: one, and a hedge."""


class AskPlan(Struct, frozen=True):
    """What is decided before the ask begins. ``ends_at`` and ``wait_ends_at`` are moments on the monotonic
    clock; ``fair_deadline`` is the configured deadline, in seconds; ``hedge_delay`` in seconds, None where
    one attempt runs at a time; ``rate_limited`` are the targets with limits of our own; ``claim_of`` says
    what a call to a candidate asks of its gate at a moment.
    """

    id: str
    request: Request
    candidates: tuple[Candidate, ...]
    primary: Target
    ends_at: float
    wait_ends_at: float
    fair_deadline: float
    claim_of: Callable[[Candidate, float], ReservationRequest]
    rounds: int = 0
    target_retries: int = 0
    stop_on_refusal: bool = True
    hedge_delay: float | None = None
    is_streamed: bool = False
    is_shown: bool = False
    """Its text is shown as it comes."""
    is_cached: bool = False
    """Answers are stored and looked up."""
    rate_limited: frozenset[Target] = frozenset()


class Stage(StrEnum):
    """What the ask as a whole is doing."""

    SEEKING = "seeking a stored answer"
    ATTEMPTING = "attempting"
    VIEWING = "viewing the gates"
    PAUSING = "pausing between rounds"
    OVER = "over"
    INTERRUPTED = "interrupted"


class Phase(StrEnum):
    """What one attempt is doing: each but ENDED is one operation under way."""

    LOOKING_UP = "looking up"
    ADMITTING = "admitting"
    IN_ROW = "waiting for its place in a rate limit"
    CALLING = "calling"
    BACKING_OFF = "backing off"
    STORING = "storing its answer"
    ENDING_LEASE = "ending its lease"
    ENDED = "ended"


class PendingCall(Struct, frozen=True):
    """An admitted call that is not settled: what became of it as far as is known, and the host it went to."""

    target: Target
    admission: Admission
    settlement: Settlement
    host: str = ""
    is_over: bool = False

    @property
    def call_id(self) -> str:
        return self.admission.reservation.request.call_id


class AttemptState(Struct, frozen=True):
    """One candidate's turn. ``place`` is its place in the round; ``tries`` counts its calls, ``places`` the
    places in a rate limit that the present try has asked for; ``is_sent``: the cost of its call is unknown.
    """

    number: int
    place: int
    candidate: Candidate
    phase: Phase = Phase.LOOKING_UP
    is_hedge: bool = False
    has_lease: bool = False
    is_sent: bool = False
    is_cancelling: bool = False
    is_beaten: bool = False
    tries: int = 1
    places: int = 0
    dropped: frozenset[str] = frozenset()
    call_id: str = ""
    admission: Admission | None = None
    limit: float = 0.0
    sent_at: float = 0.0
    trail: tuple[TrailEntry, ...] = ()

    @property
    def target(self) -> Target:
        return self.candidate.target

    @property
    def held(self) -> int:
        """What its call may cost at worst, in pico-dollars."""
        return 0 if self.admission is None else self.admission.reservation.amount

    @property
    def has_called(self) -> bool:
        return any(entry.action == "called" for entry in self.trail)


class AskState(Struct, frozen=True):
    """``candidates``, ``attempts`` and ``outcomes`` are those of this round; ``committed`` is the attempt
    whose text is shown; ``spent`` in pico-dollars, at worst where the cost is unknown; ``needs``: what a
    target must have room for; ``stopped_at``: no target behind that place can help; ``claims`` were asked of
    a gate that has not answered; ``refused_by`` are the endpoints that took the request for a bad one;
    ``timer`` names what the hedge timer was armed for, ``debited_for`` the
    attempt that was late when a hedge was asked for.
    """

    plan: AskPlan
    needs: Requirements
    stage: Stage = Stage.ATTEMPTING
    round_number: int = 0
    candidates: tuple[Candidate, ...] = ()
    attempts: tuple[AttemptState, ...] = ()
    attempts_begun: int = 0
    calls_begun: int = 0
    trail: tuple[TrailEntry, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    spent: int = 0
    retry_at: float | None = None
    committed: int | None = None
    winner: int | None = None
    found: FoundAnswer | None = None
    partial: PartialAnswer | None = None
    stopped_at: int | None = None
    refused_by: frozenset[str] = frozenset()
    deadline_passed: bool = False
    may_hedge: bool = True
    debited_for: int | None = None
    timer: tuple[int, int] | None = None
    unused_hedges: int = 0
    claims: tuple[tuple[Target, ReservationRequest], ...] = ()
    calls: tuple[PendingCall, ...] = ()
    network_works: bool = False
    is_own_network_down: bool = False

    @property
    def stopped(self) -> bool:
        return self.stopped_at is not None

    @property
    def running(self) -> list[AttemptState]:
        return [one for one in self.attempts if one.phase is not Phase.ENDED]

    @property
    def waiting(self) -> tuple[Candidate, ...]:
        """The candidates of this round that have not had their turn."""
        return self.candidates[len(self.attempts) :]

    def attempt(self, number: int) -> AttemptState:
        return next(one for one in self.attempts if one.number == number)

    def seconds_left(self, now: float) -> float:
        return self.plan.ends_at - now

    def find_skip(self, candidate: Candidate) -> rules.CandidateSkip | None:
        return rules.find_skip(candidate, self.needs)

    def usable_after(self, attempt: AttemptState) -> list[Candidate]:
        return [one for one in self.candidates[attempt.place + 1 :] if self.find_skip(one) is None]

    def time_limit(self, attempt: AttemptState, now: float) -> float:
        """Seconds that a call may take, so that the candidates behind it have their share."""
        behind = [one.timeout for one in self.usable_after(attempt)]
        return rules.compute_attempt_timeout(self.seconds_left(now), [attempt.candidate.timeout, *behind])

    def fair_share(self, candidate: Candidate) -> float:
        """Seconds after which a target is to blame for running out of time."""
        return min(candidate.timeout, self.plan.fair_deadline / len(self.plan.candidates))

    @property
    def round_trail(self) -> tuple[TrailEntry, ...]:
        """By place; the beaten attempts first, and the one that decided last."""
        ordered = sorted(self.attempts, key=lambda one: (one.number == self.winner, not one.is_beaten))
        return tuple(entry for one in ordered for entry in one.trail)


def begin(plan: AskPlan) -> AskState:
    return AskState(plan, rules.requirements_of(plan.request))


def due_calls(state: AskState) -> list[PendingCall]:
    """Failures to settle with the next write. An answer is settled with the receipt; a host that could not be
    found waits for a sign that our own network works.
    """
    return [
        one
        for one in state.calls
        if one.is_over
        and one.settlement.outcome.kind is not Kind.OK
        and (state.network_works or not one.settlement.outcome.is_unreachable)
    ]


def settlement_of(state: AskState, call: PendingCall) -> Settlement:
    """What a call comes to, by all that is known now: a host that could not be found is the target's fault
    once another host has answered, or once the ask has ended and it is not our network.
    """
    is_proven = state.network_works or (state.stage is Stage.OVER and not state.is_own_network_down)
    outcome = call.settlement.outcome
    found = attribute_network(outcome, is_proven=is_proven)
    return call.settlement if found is outcome else replace(call.settlement, outcome=found)
