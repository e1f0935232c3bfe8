"""How things are, in the words that terminal and dashboard use: verdict, reasons, states, waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmfail.core.admission.budget_unit import format_amount
from llmfail.core.reports.figures import count_of, duration, exact_usd, rough_usd
from llmfail.core.reports.status import BudgetStatus, Status, TargetStatus

MAX_NAMED = 3
"""Reasons that a verdict names before it only counts."""


def describe_health(status: Status, now: float) -> str:
    """The health, and why it is not better."""
    if status.health == "healthy":
        return status.health
    reasons = list(_list_reasons(status, now))
    more = [f"{len(reasons) - MAX_NAMED} more"] if len(reasons) > MAX_NAMED else []
    return f"{status.health}: {'; '.join(reasons[:MAX_NAMED] + more)}"


def _list_reasons(status: Status, now: float) -> Iterator[str]:
    if not status.readable:
        yield "the state cannot be read"
    if status.unanswerable:
        yield f"no usable target for {join_some(status.unanswerable)}"
    for one in status.targets:
        if one.state != "closed" and not one.missing_key:
            wait = format_wait(one, now)
            yield f"{one.target} is {name_state(one)}" + (f" for {wait}" if wait else "")
    for alert in status.alerts:
        if alert.level == "critical":
            yield alert.message


def join_some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def name_state(one: TargetStatus) -> str:
    return {"half_open": "half open", "forced_open": "forced open"}.get(one.shown_state, one.shown_state)


def describe_state(one: TargetStatus) -> str:
    """With the share of a target that ramps."""
    share = one.gate_view.share
    return name_state(one) if share == 1 else f"{name_state(one)}, {share:.0%}"


def format_wait(one: TargetStatus, now: float) -> str | None:
    at = one.gate_view.retry_at
    is_without_key = one.missing_key is not None and one.state == "disabled"
    return None if at is None or is_without_key else duration(at - now)


def format_budget_amount(one: BudgetStatus, amount: int) -> str:
    """Of a budget that counts no money, without its unit, which the limit has."""
    return rough_usd(amount) if one.scope.unit == "usd" else f"{amount:,}"


def format_budget_limit(one: BudgetStatus) -> str:
    limit, unit = one.scope.limit, one.scope.unit
    return exact_usd(limit) if unit == "usd" else format_amount(unit, limit)


def describe_unsettled(one: BudgetStatus) -> str:
    """Calls that may have cost something that is not counted; empty where there are none."""
    lost = one.spending.unsettled
    if not lost.calls:
        return ""
    amount = rough_usd(lost.amount) if one.scope.unit == "usd" else format_amount(one.scope.unit, lost.amount)
    return f"{count_of(lost.calls, 'call')} unsettled, up to {amount} not counted"
