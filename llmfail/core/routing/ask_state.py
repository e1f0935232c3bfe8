"""One ask as a value: its plan, its attempts, its calls that are not settled yet, and what can be read off
them. ``ask_machine.step`` makes the next value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission.gate import Admission, Settlement
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Request, Target
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing import candidates as rules
from llmfail.core.routing.attempt_result import FoundAnswer, PartialAnswer
from llmfail.core.routing.attribution import attribute_network
from llmfail.core.routing.candidates import Candidate, Requirements
from llmfail.core.tokens.token_bounds import PromptSize

if TYPE_CHECKING:
    from llmfail.core.answer_piece import RelayedReply

MAX_RUNNING = 2
"""Attempts at once: one, and a hedge."""


class AskPlan(Struct, frozen=True):
    """What is decided before the ask begins. ``ends_at`` and ``wait_ends_at`` are moments on the monotonic
    clock; ``fair_deadline`` is the configured deadline, in seconds; ``hedge_delay`` in seconds, None where
    one attempt runs at a time; ``reservation_request_of`` says what a call to a candidate asks of its gate at
    a moment.
    """

    id: str
    request: Request
    size: PromptSize
    candidates: tuple[Candidate, ...]
    primary: Target
    ends_at: float
    wait_ends_at: float
    fair_deadline: float
    reservation_request_of: Callable[[Candidate, float], ReservationRequest]
    rounds: int = 0
    target_retries: int = 0
    stop_on_refusal: bool = True
    hedge_delay: float | None = None
    is_streamed: bool = False
    is_shown: bool = False
    """It is shown as it comes."""
    is_for_program: bool = False
    """All of it is shown, to a program."""
    is_cached: bool = False
    """Answers are stored and looked up."""


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
    WAITING_FOR_RATE_LIMIT = "waiting for its place in a rate limit"
    CALLING = "calling"
    BACKING_OFF = "backing off"
    STORING = "storing its answer"
    ENDING_LEASE = "ending its lease"
    ENDED = "ended"


ATTEMPTING, OVER, ENDED = Stage.ATTEMPTING, Stage.OVER, Phase.ENDED
"""Looked at after every event: Python 3.11 finds a member of an enum no quicker than it calls a function."""


class PendingCall(Struct, frozen=True):
    """An admitted call that is not settled: what became of it as far as is known, and the host it went to."""

    call_id: str
    target: Target
    admission: Admission
    settlement: Settlement
    host: str = ""
    is_over: bool = False


NOT_SENT = Settlement(Outcome(Kind.CANCELLED), latency_ms=0, cost=0, fallback=False)
"""What an admitted call comes to whose caller is stopped before it is sent."""
SENT = replace(NOT_SENT, cost=None)
"""The same once it is sent, when nobody knows what it costs."""


class AttemptState(Struct, frozen=True):
    """One candidate's turn. ``index`` counts the candidates of the round from 0; ``tries`` counts its calls;
    ``admission_requests`` counts how often the present try has asked its gate; ``held`` is what its call may
    cost at worst, in pico-dollars; ``is_sent``: the cost of its call is unknown; ``has_lost``: it ends
    because of another attempt. ``admitted_at`` and ``sent_at`` are on
    the monotonic clock, ``admitted_wall`` is the same moment in epoch seconds.
    """

    number: int
    index: int
    candidate: Candidate
    phase: Phase = Phase.LOOKING_UP
    is_hedge: bool = False
    has_lease: bool = False
    is_sent: bool = False
    is_cancelling: bool = False
    has_lost: bool = False
    tries: int = 1
    admission_requests: int = 0
    dropped: frozenset[str] = frozenset()
    call_id: str = ""
    admission: Admission | None = None
    held: int = 0
    limit: float = 0.0
    admitted_at: float = 0.0
    admitted_wall: float = 0.0
    sent_at: float = 0.0
    trail: tuple[TrailEntry, ...] = ()

    def has_called(self) -> bool:
        return "called" in [entry.action for entry in self.trail]


class AskState(Struct, frozen=True):
    """The ask as it is after an event. A round gives each of its candidates one attempt."""

    plan: AskPlan
    needs: Requirements
    """What a target must have room for."""
    stage: Stage = Stage.ATTEMPTING
    round_number: int = 0
    """The rounds that have begun."""
    walks: int = 0
    """The rounds that have ended and in which a target was called; the others only waited."""
    candidates: tuple[Candidate, ...] = ()
    """The candidates of this round."""
    attempts: tuple[AttemptState, ...] = ()
    """The attempts of this round, one for each of the first candidates."""
    attempts_begun: int = 0
    """The attempts of all rounds; the last one has this number."""
    calls_begun: int = 0
    """The calls that a gate was asked for; each has a name with its number."""
    trail: tuple[TrailEntry, ...] = ()
    """What the receipt says of the rounds that have ended."""
    outcomes: tuple[Outcome, ...] = ()
    """The failures of the calls of this round."""
    spent: int = 0
    """Pico-dollars, at worst where the cost of a call is unknown."""
    retry_times: Mapping[Target, float] = field(default_factory=dict)
    """When each target may answer again, as far as it is known, in epoch seconds."""
    committed: int | None = None
    """The attempt whose answer is shown."""
    winner: int | None = None
    """The attempt whose answer decided the ask."""
    found: FoundAnswer | None = None
    """The answer of the ask."""
    relayed: RelayedReply | None = None
    """The reply of the last call, as it came, where the request of a program was passed on."""
    partial: PartialAnswer | None = None
    """What was shown of an answer that broke off."""
    stopped_at: int | None = None
    """The index of an attempt behind which no target can help."""
    refused_by: frozenset[str] = frozenset()
    """The endpoints that called the request a bad one."""
    deadline_passed: bool = False
    ignores_ramps: bool = False
    """No other target is left: those that ramp are asked as well."""
    may_hedge: bool = True
    """False once the budget of hedges has refused one in this round."""
    debited_for: int | None = None
    """The attempt that was late when a hedge was asked for."""
    timer: tuple[int, int] | None = None
    """What the hedge timer was armed for: the attempts begun, and how many of them run."""
    unused_hedges: int = 0
    """Hedges that were paid for and made no call."""
    unanswered_requests: tuple[tuple[Target, ReservationRequest], ...] = ()
    """What was asked of gates that have not answered."""
    calls: tuple[PendingCall, ...] = ()
    """The admitted calls that are not settled."""
    network_works: bool = False
    """A host was reached in this ask."""
    is_own_network_down: bool = False
    """No host of several could be found."""

    @property
    def retry_at(self) -> float | None:
        """The earliest time at which a target may answer again."""
        return min(self.retry_times.values(), default=None)

    @property
    def stopped(self) -> bool:
        return self.stopped_at is not None

    def may_start(self) -> bool:
        """Whether a candidate of this round waits for its turn, while no answer is found or shown, and no
        target has said that none can help.
        """
        is_open = self.found is None and self.committed is None and self.stopped_at is None
        return is_open and len(self.attempts) < len(self.candidates)

    def list_running(self) -> list[AttemptState]:
        return [one for one in self.attempts if one.phase is not ENDED]

    def attempt(self, number: int) -> AttemptState:
        for one in self.attempts:
            if one.number == number:
                return one
        raise LookupError(number)

    def seconds_left(self, now: float) -> float:
        return self.plan.ends_at - now

    def list_ramping(self) -> tuple[Candidate, ...]:
        """The candidates that were left out of this round because they ramp, where that is still so."""
        if self.ignores_ramps or self.found is not None or self.stopped:
            return ()
        return tuple(
            one.candidate
            for one in self.attempts
            if one.trail and one.trail[-1].outcome == SkipReason.RAMPING
        )

    def find_skip(self, candidate: Candidate) -> rules.CandidateSkip | None:
        return rules.find_skip(candidate, self.needs)

    def usable_after(self, attempt: AttemptState) -> list[Candidate]:
        behind = self.candidates[attempt.index + 1 :]
        return [one for one in behind if self.find_skip(one) is None] if behind else []

    def time_limit(self, attempt: AttemptState, now: float) -> float:
        """Seconds that a call may take, so that the candidates behind it have their share."""
        left, behind = self.seconds_left(now), self.usable_after(attempt)
        if not behind:
            return min(attempt.candidate.timeout, left)
        timeouts = [attempt.candidate.timeout, *(one.timeout for one in behind)]
        return rules.compute_attempt_timeout(left, timeouts)

    def fair_share(self, candidate: Candidate) -> float:
        """Seconds after which a target is to blame for running out of time."""
        return min(candidate.timeout, self.plan.fair_deadline / len(self.plan.candidates))

    def list_round_trail(self) -> tuple[TrailEntry, ...]:
        """In the order of the round, but the attempts that have lost first, and the one that decided last."""
        ordered = sorted(self.attempts, key=lambda one: (one.number == self.winner, not one.has_lost))
        return tuple([entry for one in ordered for entry in one.trail])


def begin(plan: AskPlan) -> AskState:
    return AskState(plan, rules.requirements_of(plan.request, plan.size))


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
    is_proven = state.network_works or (state.stage is OVER and not state.is_own_network_down)
    outcome = call.settlement.outcome
    found = attribute_network(outcome, is_proven=is_proven)
    return call.settlement if found is outcome else replace(call.settlement, outcome=found)
