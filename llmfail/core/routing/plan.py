"""What an ask would do now, and why: the candidates with their decisions and what a call may cost."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from llmfail.core.admission.reservation import Claim
from llmfail.core.model import Target, Usage
from llmfail.core.pricing.price import cost, most
from llmfail.core.receipt import usd
from llmfail.core.routing.candidates import Candidate
from llmfail.core.tokens import token_bounds
from llmfail.core.tokens.token_bounds import Calibration

Stored = Literal["hit", "stale", "miss", "off"]
"""What a stored answer would do: serve, serve when no model does, nothing; ``off``: none are stored."""
USUAL_OUTPUT = 500
"""Output tokens of a usual answer, for an estimate without history."""


class Step(Struct, frozen=True):
    """One candidate. Costs in pico-dollars, None when the price is unknown."""

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
            "estimated_cost_usd": usd(self.estimated_cost),
            "max_cost_usd": usd(self.max_cost),
            "note": self.note,
        }


class Preview(Struct, frozen=True):
    feature: str
    steps: tuple[Step, ...]
    degrade: tuple[str, ...]
    cache: Stored

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "cache": self.cache,
            "candidates": [step.to_json() for step in self.steps],
            "degrade": list(self.degrade),
        }


def step_of(candidate: Candidate, claim: Claim, known: Calibration, reason: str | None, note: str) -> Step:
    """``claim`` is what the call would ask for, ``known`` how the target counts tokens."""
    return Step(
        target=candidate.target,
        decision="call" if reason is None else "skip",
        reason=reason,
        estimated_cost=_estimated(claim, known),
        max_cost=_most(claim, known),
        note=note or candidate.note,
    )


def _estimated(claim: Claim, known: Calibration) -> int | None:
    if claim.rates is None:
        return None
    output = min(claim.output, USUAL_OUTPUT)
    return cost(Usage(token_bounds.expected(claim.size, known), output_tokens=output), claim.rates)


def _most(claim: Claim, known: Calibration) -> int | None:
    if claim.rates is None:
        return None
    return most(claim.rates, token_bounds.most(claim.size, known), claim.output)
