"""What an ask is told (events) and what it wants done (commands). ``attempt`` is the number of an attempt;
number 0 is the ask itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.admission.gate import Admission, GateView
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.model import Target, Usage
from llmfail.core.routing.attempt_result import Answer, AttemptResult
from llmfail.core.routing.candidates import Candidate

ASK = 0
"""The number that stands for the ask itself, where an attempt has its own."""


class Moment(Struct, frozen=True):
    """When an event came: on the monotonic clock, which the deadline is on, and in epoch seconds; with a
    random number in [0, 1) for a backoff.
    """

    monotonic: float
    wall: float
    random_number: float = 0.5


# Events


class Started(Struct, frozen=True):
    """The ask begins."""


class StoredAnswerSought(Struct, frozen=True):
    """The first of several candidates that has a stored answer, if one has."""

    candidate: Candidate | None = None
    answer: Answer | None = None


class AttemptEvent(Struct, frozen=True):
    """What an attempt is told, or for number 0 that the pause before a round is over."""

    attempt: int


class CacheHit(AttemptEvent, frozen=True):
    answer: Answer


class CacheMiss(AttemptEvent, frozen=True):
    """There is no stored answer. ``is_leader``: others wait for this one, under a single-flight lease."""

    is_leader: bool


class Admitted(AttemptEvent, frozen=True):
    admission: Admission


class Refused(AttemptEvent, frozen=True):
    refusal: Refusal


class Sent(AttemptEvent, frozen=True):
    """From here on its cost is unknown until the call has ended."""


class FirstOutput(Struct, frozen=True):
    """Its stream wants to be shown: to people its first text that is not blank, to a program its first sign
    of life.
    """

    attempt: int


class CallFinished(AttemptEvent, frozen=True):
    """A call has ended. ``cost`` in pico-dollars, None when it is unknown."""

    result: AttemptResult
    cost: int | None


class CallLeft(AttemptEvent, frozen=True):
    """A call was left after its answer had begun: what that has used and cost, as far as it was heard."""

    usage: Usage
    cost: int | None


class Woke(AttemptEvent, frozen=True):
    """A pause is over."""


class LeaseEnded(AttemptEvent, frozen=True):
    """What it had to tell the cache is written."""


class TimerFired(Struct, frozen=True):
    """The answer is late."""


class HedgeDecided(Struct, frozen=True):
    is_allowed: bool


class GatesViewed(Struct, frozen=True):
    """The gates of the targets that could be asked, at a moment of the store's clock."""

    views: Sequence[tuple[Target, GateView]]
    at: float


class Cancelled(AttemptEvent, frozen=True):
    """The operation of an attempt was stopped before it ended."""


class AskInterrupted(Struct, frozen=True):
    """The caller, a signal or a fault of ours has stopped the ask; nothing of it runs any more."""


class Settled(Struct, frozen=True):
    """These calls, and the reservation requests that no gate answered, are settled in the store."""

    call_ids: frozenset[str]


AnyAttemptEvent = (
    CacheHit | CacheMiss | Admitted | Refused | Sent | CallFinished | CallLeft | Woke | LeaseEnded | Cancelled
)
Event = (
    Started
    | StoredAnswerSought
    | AnyAttemptEvent
    | FirstOutput
    | TimerFired
    | HedgeDecided
    | GatesViewed
    | AskInterrupted
    | Settled
)


# Commands: operations, each of which ends in one event


class SeekStoredAnswer(Struct, frozen=True):
    candidates: Sequence[Candidate]


class LookUp(Struct, frozen=True):
    """Find a stored answer, or wait for one that another ask is getting; ``max_wait`` in seconds, None: only
    look.
    """

    attempt: int
    target: Target
    max_wait: float | None


class Admit(Struct, frozen=True):
    """Ask the gate for a call, and settle in the same step what is due."""

    attempt: int
    target: Target
    reservation_request: ReservationRequest


class Send(Struct, frozen=True):
    """Make the call, within ``limit`` seconds."""

    attempt: int
    target: Target
    limit: float
    dropped_parameters: frozenset[str]


class Sleep(Struct, frozen=True):
    """Settle what is due, so that others learn of failures, and pause."""

    attempt: int
    seconds: float


class StoreAnswer(Struct, frozen=True):
    """Store the answer, which ends the lease."""

    attempt: int
    target: Target
    answer: Answer


class EndLease(Struct, frozen=True):
    """Give the single-flight lease up, or hand it to the first that waits for it (``hand_over``)."""

    attempt: int
    hand_over: bool = False


class DebitHedge(Struct, frozen=True):
    """Pay for a hedge from the feature's bucket."""


class ViewGates(Struct, frozen=True):
    """Settle what is due, and see when the first of these may be asked."""

    targets: Sequence[Target]


# Commands that are done at once and bring about no event of their own


class Cancel(Struct, frozen=True):
    """Stop the operation of an attempt: it ends in its own event, or in ``Cancelled``."""

    attempt: int


class ArmTimer(Struct, frozen=True):
    """Tell after so many seconds that the answer is late, instead of what was told before."""

    seconds: float


class DisarmTimer(Struct, frozen=True):
    pass


Operation = SeekStoredAnswer | LookUp | Admit | Send | Sleep | StoreAnswer | EndLease | DebitHedge | ViewGates
Command = Operation | Cancel | ArmTimer | DisarmTimer
