"""After an attempt: here again, the next target, or stop; after a round: another round, or the end."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.admission.breaker import believed
from llmfail.core.classification.outcome import Kind, Move, Outcome
from llmfail.core.model import Request

BACKOFF_BASE = 0.5
BACKOFF_CAP = 8.0
"""Seconds: full jitter over base x 2^n, as the providers' own libraries wait."""


class Again(Struct, frozen=True):
    """The same target once more, after ``wait`` seconds, without ``quirk``."""

    wait: float
    quirk: str | None = None


class Next(Struct, frozen=True):
    """On to the next target."""


class Stop(Struct, frozen=True):
    """No other target can help."""


Step = Again | Next | Stop


class Tries(Struct, frozen=True):
    """What has been tried on this target in this ask, and what its feature allows."""

    made: int
    allowed: int
    dropped: frozenset[str]
    stop_on_refusal: bool
    streamed: bool = False


def after(outcome: Outcome, request: Request, tries: Tries, draw: float) -> Step:
    """Where to go after an outcome that is not an answer. ``draw`` is a number in [0, 1)."""
    consequence = outcome.consequence
    if outcome.kind is Kind.BAD_REQUEST:
        quirk = outcome.parameter
        known = quirk not in tries.dropped and quirk in sent(request, streamed=tries.streamed)
        return Again(0.0, quirk) if known else Stop()
    if consequence.again and tries.made <= tries.allowed:
        return Again(backoff(tries.made - 1, draw))
    if consequence.move is Move.STOP or (consequence.move is Move.CHOICE and tries.stop_on_refusal):
        return Stop()
    return Next()


def sent(request: Request, *, streamed: bool) -> frozenset[str]:
    """The parameters of this request that a provider may refuse by name, and that can be left out."""
    present = {
        "max_tokens": True,
        "temperature": request.temperature is not None,
        "stop": bool(request.stop),
        "schema": request.schema is not None,
        "stream_options": streamed,
    }
    return frozenset(name for name, there in present.items() if there)


def backoff(attempt: int, draw: float) -> float:
    """Seconds before attempt ``attempt`` + 2, counted from 0."""
    return draw * min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(attempt, 16))


def next_round(outcomes: Sequence[Outcome], made: int, allowed: int, draw: float) -> float | None:
    """Seconds until the chain is walked again, or None. ``outcomes`` are those of the calls of this round,
    ``made`` counts the rounds so far. The soonest target decides.
    """
    passing = [outcome for outcome in outcomes if outcome.consequence.passing]
    if made > allowed or not passing:
        return None
    own = backoff(made - 1, draw)
    return min(own if one.retry_after is None else max(believed(one.retry_after), own) for one in passing)
