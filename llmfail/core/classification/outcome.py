"""The kinds of outcome of a call, and what follows from each.

The table of consequences is data: gate and credential settle by it, and next_step decides by it who is asked
next. ``classify`` makes an outcome of a reply.
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


class CircuitEffect(StrEnum):
    """How an outcome counts for the circuit breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"


class RoutingEffect(StrEnum):
    """What a chain does after an outcome."""

    DONE = "done"
    NEXT = "next"
    LARGER_CONTEXT = "larger"
    """Only targets with a larger context can help."""
    FEATURE_DECIDES = "choice"
    """The feature's ``on_refusal`` decides."""
    STOP_AFTER_TWO_REFUSALS = "stop after two refusals"
    """The next target, until two endpoints have refused the request."""


class DisabledScope(StrEnum):
    """What an outcome disables."""

    CREDENTIAL = "credential"
    TARGET = "target"
    """That credential for that model."""


class Consequence(Struct, frozen=True):
    circuit_effect: CircuitEffect
    routing_effect: RoutingEffect
    may_retry_target: bool = False
    """The same target may be asked again, up to ``target_retries``."""
    is_transient: bool = False
    """The reason passes by itself: another round may help."""
    disables: DisabledScope | None = None


class Outcome(Struct, frozen=True):
    """The result of one call. ``note`` is one short line for people; ``retry_after`` is in seconds from the
    reply, not yet clamped; ``quota_resets_at`` is in epoch seconds.
    """

    kind: Kind
    note: str = ""
    status: int | None = None
    retry_after: float | None = None
    quota_resets_at: float | None = None
    parameter: str | None = None
    """The request parameter that a bad_request names; ``max_tokens`` when only the output is too large."""
    is_unreachable: bool = False
    """No name resolution or no route: this host's own network may be down."""

    @property
    def consequence(self) -> Consequence:
        return CONSEQUENCES[self.kind]


_TRANSIENT_FAILURE = Consequence(
    CircuitEffect.FAILURE, RoutingEffect.NEXT, may_retry_target=True, is_transient=True
)

CONSEQUENCES: dict[Kind, Consequence] = {
    Kind.OK: Consequence(CircuitEffect.SUCCESS, RoutingEffect.DONE),
    Kind.NETWORK: _TRANSIENT_FAILURE,
    Kind.TIMEOUT: _TRANSIENT_FAILURE,
    Kind.SERVER_ERROR: _TRANSIENT_FAILURE,
    Kind.OVERLOADED: _TRANSIENT_FAILURE,
    Kind.MALFORMED: _TRANSIENT_FAILURE,
    # With a Retry-After it is a pause and no failure: ``gate._settle_circuit``.
    Kind.RATE_LIMITED: Consequence(CircuitEffect.FAILURE, RoutingEffect.NEXT, is_transient=True),
    Kind.QUOTA: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.NEXT, disables=DisabledScope.TARGET),
    Kind.BILLING: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.NEXT, disables=DisabledScope.CREDENTIAL),
    Kind.AUTH: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.NEXT, disables=DisabledScope.CREDENTIAL),
    Kind.PERMISSION: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.NEXT, disables=DisabledScope.TARGET),
    Kind.MODEL_NOT_FOUND: Consequence(
        CircuitEffect.NEUTRAL, RoutingEffect.NEXT, disables=DisabledScope.TARGET
    ),
    Kind.CONTEXT_OVERFLOW: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.LARGER_CONTEXT),
    Kind.CONTENT_BLOCKED: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.FEATURE_DECIDES),
    Kind.REFUSAL: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.FEATURE_DECIDES),
    Kind.BAD_REQUEST: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.STOP_AFTER_TWO_REFUSALS),
    Kind.REJECTED_ANSWER: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.NEXT),
    Kind.CANCELLED: Consequence(CircuitEffect.NEUTRAL, RoutingEffect.NEXT),
}
