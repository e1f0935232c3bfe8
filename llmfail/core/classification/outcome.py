"""What a call came to, and what follows from it.

The table of consequences is data: breaker, retry and credentials read it, nobody else has an opinion.
How a reply becomes an outcome stands in ``classify``.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    OK = "ok"
    NETWORK = "network"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    MALFORMED = "malformed"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    BILLING = "billing"
    AUTH = "auth"
    PERMISSION = "permission"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_BLOCKED = "content_blocked"
    REFUSAL = "refusal"
    BAD_REQUEST = "bad_request"
    REJECTED_ANSWER = "rejected_answer"
    CANCELLED = "cancelled"


class Effect(StrEnum):
    """What an outcome says to the circuit breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


class Move(StrEnum):
    """Where the chain goes after an outcome."""

    DONE = "done"
    NEXT = "next"
    LARGER = "larger"
    """Only targets with a larger context can help."""
    CHOICE = "choice"
    """The feature's ``on_refusal`` decides."""
    STOP = "stop"


class Scope(StrEnum):
    """What an outcome disables."""

    CREDENTIAL = "credential"
    TARGET = "target"
    """That credential for that model."""


class Consequence(Struct, frozen=True):
    effect: Effect
    move: Move
    again: bool = False
    """The same target may be asked again, up to ``target_retries``."""
    passing: bool = False
    """The reason passes by itself: a next round may help."""
    disables: Scope | None = None


class Outcome(Struct, frozen=True):
    """What one call came to. ``note`` is one short line for people; ``retry_after`` is in seconds from
    the reply, unclamped; ``until`` is the moment (epoch seconds) at which a quota resets.
    """

    kind: Kind
    note: str = ""
    status: int | None = None
    retry_after: float | None = None
    until: float | None = None
    parameter: str | None = None
    """The request parameter that a bad_request names; ``max_tokens`` for an overflow of the output alone."""
    unreachable: bool = False
    """No name resolution or no route: it may be our own network."""

    @property
    def consequence(self) -> Consequence:
        return CONSEQUENCES[self.kind]


_PASSING = Consequence(Effect.FAILURE, Move.NEXT, again=True, passing=True)

CONSEQUENCES: dict[Kind, Consequence] = {
    Kind.OK: Consequence(Effect.SUCCESS, Move.DONE),
    Kind.NETWORK: _PASSING,
    Kind.TIMEOUT: _PASSING,
    Kind.SERVER_ERROR: _PASSING,
    Kind.OVERLOADED: _PASSING,
    Kind.MALFORMED: _PASSING,
    Kind.RATE_LIMITED: Consequence(Effect.FAILURE, Move.NEXT, passing=True),
    Kind.QUOTA: Consequence(Effect.NEUTRAL, Move.NEXT, disables=Scope.TARGET),
    Kind.BILLING: Consequence(Effect.NEUTRAL, Move.NEXT, disables=Scope.CREDENTIAL),
    Kind.AUTH: Consequence(Effect.NEUTRAL, Move.NEXT, disables=Scope.CREDENTIAL),
    Kind.PERMISSION: Consequence(Effect.NEUTRAL, Move.NEXT, disables=Scope.TARGET),
    Kind.MODEL_NOT_FOUND: Consequence(Effect.NEUTRAL, Move.NEXT, disables=Scope.TARGET),
    Kind.CONTEXT_OVERFLOW: Consequence(Effect.NEUTRAL, Move.LARGER),
    Kind.CONTENT_BLOCKED: Consequence(Effect.NEUTRAL, Move.CHOICE),
    Kind.REFUSAL: Consequence(Effect.NEUTRAL, Move.CHOICE),
    Kind.BAD_REQUEST: Consequence(Effect.NEUTRAL, Move.STOP),
    Kind.REJECTED_ANSWER: Consequence(Effect.NEUTRAL, Move.NEXT),
    Kind.CANCELLED: Consequence(Effect.NEUTRAL, Move.NEXT),
}
