"""What an ask would do now, and why: the candidates with their decisions and what a call may cost."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from llmfail.core import tokens
from llmfail.core.model import Request, Target, Usage
from llmfail.core.plan import Candidate
from llmfail.core.pricing import Price, cost
from llmfail.core.receipt import usd

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

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "cache": "off",
            "candidates": [step.to_json() for step in self.steps],
            "degrade": list(self.degrade),
        }


def step_of(candidate: Candidate, request: Request, reason: str | None, note: str) -> Step:
    return Step(
        target=candidate.target,
        decision="call" if reason is None else "skip",
        reason=reason,
        estimated_cost=_estimated(request, candidate.price),
        max_cost=_most(request, candidate.price),
        note=note or candidate.note,
    )


def _estimated(request: Request, price: Price | None) -> int | None:
    if price is None:
        return None
    return cost(Usage(tokens.of(request), output_tokens=min(request.max_tokens, USUAL_OUTPUT)), price)


def _most(request: Request, price: Price | None) -> int | None:
    """A byte is at least a token's share in every byte-level tokenizer, so bytes bound the tokens."""
    if price is None:
        return None
    dearest = max(price.input, price.cache_write)
    return tokens.size(request) * dearest + request.max_tokens * price.output
