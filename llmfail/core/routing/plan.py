"""What an ask would do now, and why: the candidates, their decisions, and what a call may cost."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.arm_choice import ArmChoice
from llmfail.core.model import Target, Usage
from llmfail.core.pricing.price import compute_cost, worst_case
from llmfail.core.receipt import format_usd
from llmfail.core.routing.candidates import Candidate, CandidateSkip
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
    open_reason: str | None = None
    """Whether failures or a pause hold back a target that is skipped as ``circuit_open``."""
    dropped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        shown = {
            "target": str(self.target),
            "decision": self.decision,
            "reason": self.reason,
            "estimated_cost_usd": format_usd(self.estimated_cost),
            "max_cost_usd": format_usd(self.max_cost),
            "note": self.note,
            **({"dropped": list(self.dropped)} if self.dropped else {}),
        }
        return shown if self.open_reason is None else {**shown, "open_reason": self.open_reason}


class Plan(Struct, frozen=True):
    feature: str
    steps: tuple[PlanStep, ...]
    degrade: tuple[str, ...]
    cache: CacheState
    arm: ArmChoice | None = None
    """Of the experiment that the ask would be part of; in the JSON only where there is one."""

    def to_json(self) -> dict[str, Any]:
        arm = self.arm
        experiment = arm and {
            "experiment": arm.experiment,
            "arm": str(arm.target),
            "sticky": arm.is_sticky,
        }
        return {
            "feature": self.feature,
            "cache": self.cache,
            "candidates": [step.to_json() for step in self.steps],
            "degrade": list(self.degrade),
            **(experiment or {}),
        }


def build_step(
    candidate: Candidate,
    request: ReservationRequest,
    calibration: Calibration,
    obstacle: CandidateSkip | Refusal | None,
    hints: str = "",
) -> PlanStep:
    """``request`` is what the call would reserve, ``calibration`` how the target counts tokens, ``obstacle``
    why there would be no call, ``hints`` what is to be known of a call.
    """
    return PlanStep(
        target=candidate.target,
        decision="call" if obstacle is None else "skip",
        reason=None if obstacle is None else obstacle.reason,
        estimated_cost=_estimate_cost(request, calibration),
        max_cost=_compute_max_cost(request),
        note=(hints if obstacle is None else obstacle.note) or candidate.note,
        open_reason=obstacle.open_reason if isinstance(obstacle, Refusal) else None,
        dropped=candidate.dropped,
    )


def describe_share(share: float) -> str:
    """Of a target that ramps; whether it takes an ask is known once the ask has its id."""
    return "" if share == 1 else f"its circuit has just closed: it takes {share:.0%} of the asks now"


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
