"""What an ask would do now, and why: the candidates, their decisions, and what a call may cost."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from llmfail.core.admission.reservation import ReservationRequest
from llmfail.core.model import Target, Usage
from llmfail.core.pricing.price import compute_cost, worst_case
from llmfail.core.receipt import format_usd
from llmfail.core.routing.candidates import Candidate
from llmfail.core.tokens import token_bounds
from llmfail.core.tokens.token_bounds import Calibration

CacheState = Literal["hit", "stale", "miss", "off"]
"""``hit``: a stored answer serves; ``stale``: it serves if no model answers; ``off``: none are stored."""
USUAL_OUTPUT_TOKENS = 500
"""Output tokens of a usual answer, for an estimate without history."""


class PlanStep(Struct, frozen=True):
    """One candidate. Costs are in pico-dollars, None when the price is unknown."""

    target: Target
    decision: Literal["call", "skip"]
    reason: str | None
    estimated_cost: int | None
    max_cost: int | None
    note: str

    def to_json(self) -> dict[str, Any]:
        return {
            "target": str(self.target),
            "decision": self.decision,
            "reason": self.reason,
            "estimated_cost_usd": format_usd(self.estimated_cost),
            "max_cost_usd": format_usd(self.max_cost),
            "note": self.note,
        }


class Plan(Struct, frozen=True):
    feature: str
    steps: tuple[PlanStep, ...]
    degrade: tuple[str, ...]
    cache: CacheState

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "cache": self.cache,
            "candidates": [step.to_json() for step in self.steps],
            "degrade": list(self.degrade),
        }


def build_step(
    candidate: Candidate, request: ReservationRequest, calibration: Calibration, reason: str | None, note: str
) -> PlanStep:
    """``request`` is what the call would reserve, ``calibration`` how the target counts tokens."""
    return PlanStep(
        target=candidate.target,
        decision="call" if reason is None else "skip",
        reason=reason,
        estimated_cost=_estimate_cost(request, calibration),
        max_cost=_compute_max_cost(request),
        note=note or candidate.note,
    )


def _estimate_cost(request: ReservationRequest, calibration: Calibration) -> int | None:
    if request.rates is None:
        return None
    output = min(request.output_tokens, USUAL_OUTPUT_TOKENS)
    return compute_cost(
        Usage(token_bounds.estimate_input(request.size, calibration), output_tokens=output), request.rates
    )


def _compute_max_cost(request: ReservationRequest) -> int | None:
    if request.rates is None:
        return None
    return worst_case(request.rates, token_bounds.upper_bound(request.size), request.output_tokens)
