"""Which targets may answer, in which order, and why one is skipped before its gate is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

from llmfail.core.admission.budget import BudgetScope
from llmfail.core.hash_fraction import hash_fraction
from llmfail.core.model import Request, Target, Usage
from llmfail.core.pricing.price import Price, compute_cost
from llmfail.core.receipt import SkipReason
from llmfail.core.tokens.token_bounds import PromptSize, lower_bound

Order = Literal["listed", "cost", "quality", "latency", "round_robin", "weighted"]
Priority = Literal["strategic", "template", "validation"]

MAX_SHARES = 3
"""Parts into which the time that is left is divided at most. A chain may be long because many keys are set,
and a patience that shrinks with every key would give up good answers of its first targets.
"""
REFERENCE_USAGE = Usage(2000, output_tokens=1000)
"""The request for which prices are compared."""


class Candidate(Struct, frozen=True):
    """A target that could answer, with what is known about it. ``timeout`` is in seconds; ``latency_ms`` is
    its recent median; ``missing_key`` tells how to set a missing key; ``budget_scopes`` are the budgets in
    which a call to it counts; ``endpoint`` names the server, which several targets may share; ``max_pause``
    is how many seconds of a Retry-After are obeyed. ``is_rate_limited``: it has limits of our own;
    ``may_ramp``: it takes a growing share of the asks after its circuit has closed; ``takes_plain_text``:
    nothing is lost of a request that is plain (``Request.is_plain``). ``dropped`` is what its wire cannot
    carry of the request, ``unsuited`` why it cannot be sent it at all.
    """

    target: Target
    timeout: float
    note: str = ""
    weight: float = 1.0
    quality: float | None = None
    price: Price | None = None
    context: int | None = None
    max_output: int | None = None
    latency_ms: float | None = None
    missing_key: str | None = None
    budget_scopes: tuple[BudgetScope, ...] = ()
    endpoint: str = ""
    max_pause: float = 3600.0
    is_rate_limited: bool = False
    may_ramp: bool = False
    takes_plain_text: bool = False
    dropped: tuple[str, ...] = ()
    unsuited: str = ""


class OrderInputs(Struct, frozen=True):
    """What an order may depend on besides the candidates: the moment whose prices count, random numbers in
    [0, 1), and the turn of the round robin.
    """

    at: float
    random_numbers: Sequence[float] = field(default_factory=tuple)
    turn: int = 0


class Requirements(Struct, frozen=True):
    """What a target must have room for, in tokens."""

    output: int
    context: int


class CandidateSkip(Struct, frozen=True):
    """Why a candidate is skipped."""

    reason: SkipReason
    note: str


def order_candidates(
    candidates: Sequence[Candidate], order: Order, inputs: OrderInputs
) -> tuple[Candidate, ...]:
    """The candidates in the order in which they are tried. Equal ones keep their order."""
    match order:
        case "listed":
            return tuple(candidates)
        case "cost":
            return tuple(
                sorted(candidates, key=lambda candidate: _estimate_reference_cost(candidate, inputs.at))
            )
        case "quality":
            return tuple(sorted(candidates, key=lambda candidate: _rank_by_quality(candidate, inputs.at)))
        case "latency":
            return tuple(sorted(candidates, key=lambda candidate: candidate.latency_ms or 0.0))
        case "round_robin":
            first = inputs.turn % len(candidates) if candidates else 0
            return (*candidates[first:], *candidates[:first])
        case "weighted":
            return _order_by_weight(candidates, inputs.random_numbers)


def fractions_of(session: str, candidates: Sequence[Candidate]) -> tuple[float, ...]:
    """What stands for random numbers in a session: the same for a target each time, whatever others there
    are, so that a session stays with its target, and comes back to it.
    """
    return tuple(hash_fraction(f"{session}\n{one.target}") for one in candidates)


def order_of(priority: Priority) -> Order:
    """The order of every usable target, for a feature that lists none."""
    return "quality" if priority == "strategic" else "cost"


def requirements_of(request: Request, size: PromptSize) -> Requirements:
    return Requirements(request.max_tokens, lower_bound(size))


def find_skip(candidate: Candidate, requirements: Requirements) -> CandidateSkip | None:
    """Why this candidate cannot answer, as far as that is known without the store."""
    if candidate.missing_key is not None:
        return CandidateSkip(SkipReason.NO_KEY, candidate.missing_key)
    if candidate.unsuited:
        return CandidateSkip(SkipReason.UNSUITED, candidate.unsuited)
    if candidate.max_output is not None and requirements.output > candidate.max_output:
        note = f"max_tokens {requirements.output} is above its max_output {candidate.max_output}"
        return CandidateSkip(SkipReason.TOO_SMALL, note)
    if candidate.context is not None and requirements.context > candidate.context:
        return CandidateSkip(SkipReason.TOO_SMALL, f"its context of {candidate.context} tokens is too small")
    return None


def compute_attempt_timeout(left: float, timeouts: Sequence[float]) -> float:
    """How long the first of these may take: all it wants when enough time is left for the others, else an
    equal share, but at least a third of what is left.
    """
    first, *rest = timeouts
    return min(first, max(left / min(len(timeouts), MAX_SHARES), left - sum(rest)))


def _estimate_reference_cost(candidate: Candidate, at: float) -> float:
    """The cost of ``REFERENCE_USAGE``."""
    return float("inf") if candidate.price is None else compute_cost(REFERENCE_USAGE, candidate.price.at(at))


def _rank_by_quality(candidate: Candidate, at: float) -> tuple[float, float]:
    """The best first; the unrated come after the rated, the more expensive first."""
    quality_rank = float("inf") if candidate.quality is None else -candidate.quality
    cost_rank = 0.0 if candidate.price is None else -_estimate_reference_cost(candidate, at)
    return quality_rank, cost_rank


def _order_by_weight(
    candidates: Sequence[Candidate], random_numbers: Sequence[float]
) -> tuple[Candidate, ...]:
    """A random order in which weights are chances (Efraimidis and Spirakis, 2006)."""
    keyed = [
        (fraction ** (1 / candidate.weight) if candidate.weight > 0 else -1.0, -index, candidate)
        for index, (candidate, fraction) in enumerate(zip(candidates, random_numbers, strict=True))
    ]
    return tuple(candidate for _, _, candidate in sorted(keyed, key=lambda key: key[:2], reverse=True))
