"""Features as the pages show them: who answers each now, who would next, and why others would not."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.reports.figures import rough_usd
from llmfail.core.routing.plan import Plan, PlanStep
from llmfail.server.dashboard.circuit_view import Tone, make_slug

REASONS = {
    "circuit_open": "open",
    "probing": "half open",
    "held": "forced open",
    "no_key": "no key",
    "over_budget": "over budget",
    "unknown_price": "unknown price",
    "rate_limited_here": "own rate limit",
    "too_small": "too small",
    "too_expensive": "too expensive",
    "other_model": "another model",
}
"""Why a target is skipped, where the word is not what people say."""
UNALARMING = frozenset({"no_key", "unsuited", "too_small", "other_model"})
"""Reasons that are as the configuration wants it."""


class StepRow(Struct, frozen=True):
    """One place of a chain."""

    place: int
    target: str
    decision: str
    tone: Tone
    note: str
    about: str
    at_most: str


class FeatureRow(Struct, frozen=True):
    name: str
    slug: str
    answers_now: str
    tone: Tone
    then: str
    """Who would answer after that."""
    degrade: str
    uses_cache: bool
    steps: tuple[StepRow, ...]


def build_feature_rows(plans: Sequence[Plan]) -> tuple[FeatureRow, ...]:
    return tuple(map(_build_row, plans))


def _build_row(plan: Plan) -> FeatureRow:
    callable_ = [str(step.target) for step in plan.steps if step.decision == "call"]
    degrade = ", ".join(plan.degrade)
    now = callable_[0] if callable_ else degrade.partition(",")[0] or "nobody"
    after = [*callable_[1:], *plan.degrade] if callable_ else list(plan.degrade[1:])
    steps = tuple(_build_step(place, step) for place, step in enumerate(plan.steps, 1))
    return FeatureRow(
        name=plan.feature,
        slug=make_slug(plan.feature),
        answers_now=now,
        tone=_judge(plan, callable_, steps),
        then=after[0] if after else "nobody",
        degrade=degrade,
        uses_cache=plan.cache != "off",
        steps=steps,
    )


def _judge(plan: Plan, callable_: Sequence[str], steps: Sequence[StepRow]) -> Tone:
    if not callable_:
        return "bad"
    is_first = str(plan.steps[0].target) == callable_[0]
    before = steps[: [step.target for step in steps].index(callable_[0])]
    return "good" if is_first or all(step.tone == "off" for step in before) else "warn"


def _build_step(place: int, step: PlanStep) -> StepRow:
    is_called = step.decision == "call"
    reason = "" if step.reason is None else "paused" if step.open_reason == "pause" else str(step.reason)
    decision = "called" if is_called else f"skipped: {REASONS.get(reason, reason.replace('_', ' '))}"
    return StepRow(
        place=place,
        target=str(step.target),
        decision=decision,
        tone="good" if is_called else "off" if reason in UNALARMING else "bad",
        note=step.note,
        about=rough_usd(step.estimated_cost),
        at_most=rough_usd(step.max_cost),
    )
