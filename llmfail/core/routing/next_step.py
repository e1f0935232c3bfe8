"""After an attempt: here again, the next target, or stop; after a round: another round, or the end."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.admission.breaker import clamp_retry_after
from llmfail.core.classification.outcome import Kind, Outcome, RoutingEffect
from llmfail.core.model import Request

BACKOFF_BASE_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 8.0
"""Seconds: full jitter over base x 2^n, as the providers' own libraries wait."""


class RetrySameTarget(Struct, frozen=True):
    """The same target once more, after ``wait`` seconds, without ``dropped_parameter``."""

    wait: float
    dropped_parameter: str | None = None


class NextTarget(Struct, frozen=True):
    """On to the next target."""


class StopChain(Struct, frozen=True):
    """No other target can help."""


NextStep = RetrySameTarget | NextTarget | StopChain


class AttemptsMade(Struct, frozen=True):
    """What has been tried on this target in this ask, and what its feature allows."""

    made: int
    allowed: int
    dropped_parameters: frozenset[str]
    stop_on_refusal: bool
    is_streamed: bool = False


def decide_next_step(
    outcome: Outcome, request: Request, attempts: AttemptsMade, random_number: float
) -> NextStep:
    """Where to go after an outcome that is not an answer. ``draw`` is a number in [0, 1)."""
    consequence = outcome.consequence
    if outcome.kind is Kind.BAD_REQUEST:
        quirk = outcome.parameter
        known = quirk not in attempts.dropped_parameters and quirk in find_droppable_parameters(
            request, is_streamed=attempts.is_streamed
        )
        return RetrySameTarget(0.0, quirk) if known else StopChain()
    if consequence.may_retry_target and attempts.made <= attempts.allowed:
        return RetrySameTarget(compute_backoff(attempts.made - 1, random_number))
    if consequence.routing_effect is RoutingEffect.STOP or (
        consequence.routing_effect is RoutingEffect.FEATURE_DECIDES and attempts.stop_on_refusal
    ):
        return StopChain()
    return NextTarget()


def find_droppable_parameters(request: Request, *, is_streamed: bool) -> frozenset[str]:
    """The parameters of this request that a provider may refuse by name, and that can be left out."""
    present = {
        "max_tokens": True,
        "temperature": request.temperature is not None,
        "stop": bool(request.stop),
        "schema": request.schema is not None,
        "stream_options": is_streamed,
    }
    return frozenset(name for name, there in present.items() if there)


def compute_backoff(attempt: int, random_number: float) -> float:
    """Seconds before attempt ``attempt`` + 2, counted from 0."""
    return random_number * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(attempt, 16))


def decide_round_wait(
    outcomes: Sequence[Outcome], made: int, allowed: int, random_number: float
) -> float | None:
    """Seconds until the chain is walked again, or None. ``outcomes`` are those of the calls of this round,
    ``made`` counts the rounds so far. The soonest target decides.
    """
    passing = [outcome for outcome in outcomes if outcome.consequence.is_transient]
    if made > allowed or not passing:
        return None
    own = compute_backoff(made - 1, random_number)
    return min(
        own if one.retry_after is None else max(clamp_retry_after(one.retry_after), own) for one in passing
    )
