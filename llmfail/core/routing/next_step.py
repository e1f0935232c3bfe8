"""After an attempt: the same target again, the next target, or a stop. After a round: another one,
or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from llmfail.core.classification.outcome import Outcome, RoutingEffect
from llmfail.core.conversation import OPTION_NAMES
from llmfail.core.model import Request

_OPTIONS = frozenset(OPTION_NAMES)
"""Who names one of them has been sent it, be it by the configuration."""
BACKOFF_BASE_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 8.0
"""A random share of base x 2^n (full jitter), as the providers' own libraries wait."""


class RetrySameTarget(Struct, frozen=True):
    """The same target once more, after ``wait`` seconds, without ``dropped_parameter``."""

    wait: float
    dropped_parameter: str | None = None


class NextTarget(Struct, frozen=True):
    pass


class StopChain(Struct, frozen=True):
    """No other target can help."""


NextStep = RetrySameTarget | NextTarget | StopChain


class AttemptsMade(Struct, frozen=True):
    """The attempts on this target in this ask, and what its feature allows.
    ``is_refused_by_another_endpoint``: another endpoint has called the request a bad one already.
    """

    made: int
    allowed: int
    dropped_parameters: frozenset[str]
    stop_on_refusal: bool
    is_streamed: bool = False
    is_refused_by_another_endpoint: bool = False


def decide_next_step(
    outcome: Outcome, request: Request, attempts: AttemptsMade, random_number: float
) -> NextStep:
    """The step after an outcome that is not an answer. ``random_number`` is in [0, 1)."""
    consequence = outcome.consequence
    if consequence.may_retry_target and attempts.made <= attempts.allowed:
        return RetrySameTarget(compute_backoff(attempts.made - 1, random_number))
    match consequence.routing_effect:
        case RoutingEffect.FEATURE_DECIDES:
            return StopChain() if attempts.stop_on_refusal else NextTarget()
        case RoutingEffect.STOP_AFTER_TWO_REFUSALS:
            if _can_drop(outcome.parameter, request, attempts):
                return RetrySameTarget(0.0, outcome.parameter)
            return StopChain() if attempts.is_refused_by_another_endpoint else NextTarget()
        case RoutingEffect.NEXT | RoutingEffect.LARGER_CONTEXT | RoutingEffect.DONE:
            return NextTarget()
        case _:
            assert_never(consequence.routing_effect)


def _can_drop(parameter: str | None, request: Request, attempts: AttemptsMade) -> bool:
    droppable = find_droppable_parameters(request, is_streamed=attempts.is_streamed)
    return parameter in droppable - attempts.dropped_parameters


def find_droppable_parameters(request: Request, *, is_streamed: bool) -> frozenset[str]:
    """The parameters of this request that a provider may refuse by name, and that can be left out."""
    present = {
        "max_tokens": True,
        "temperature": request.temperature is not None,
        "stop": bool(request.stop),
        "schema": request.schema is not None,
        "response_format": request.schema is not None or request.json,
        "stream_options": is_streamed,
    }
    return frozenset(name for name, there in present.items() if there) | _OPTIONS


def compute_backoff(attempt: int, random_number: float) -> float:
    """Seconds to wait after the attempt with this number, counted from 0."""
    return random_number * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(attempt, 16))


def decide_round_wait(
    outcomes: Sequence[Outcome], made: int, allowed: int, random_number: float
) -> float | None:
    """Seconds until the next round over the chain, or None. ``outcomes`` are those of the calls of this
    round, each with the pause that follows from it as ``retry_after``; ``made`` is the number of rounds so
    far in which a target was called. The soonest target decides.
    """
    passing = [outcome for outcome in outcomes if outcome.consequence.is_transient]
    if made > allowed or not passing:
        return None
    backoff = compute_backoff(made - 1, random_number)
    return min(
        backoff if outcome.retry_after is None else max(outcome.retry_after, backoff) for outcome in passing
    )
