"""Spending as the pages show it: budgets with what is left of them, and what was paid by day, feature and
target.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from msgspec import Struct

from llmfail.core.pricing.usage_report import UsageReport, UsageRow
from llmfail.core.receipt import PICO_PER_DOLLAR, format_time
from llmfail.core.reports.figures import percent, rough_usd
from llmfail.core.reports.status import BudgetStatus
from llmfail.core.reports.status_text import describe_unsettled, format_budget_amount, format_budget_limit
from llmfail.server.dashboard.circuit_view import Tone

MAX_BUDGETS = 50
SCALE = 1000
"""Units of a whole bar."""


class BudgetRow(Struct, frozen=True):
    """The parts are shares of the limit in ``SCALE`` units; ``resets_at`` is ISO 8601."""

    label: str
    tone: Tone
    state: str
    used: str
    spent: str
    held: str
    limit: str
    resets_at: str | None
    spent_part: int
    held_part: int
    unsettled: str


class CostRow(Struct, frozen=True):
    """``part`` is the share of the dearest row, in ``SCALE`` units; ``dollars`` is for a chart."""

    key: str
    cost: str
    dollars: str
    requests: int
    input_tokens: int
    output_tokens: int
    part: int


def build_budget_rows(budgets: Sequence[BudgetStatus]) -> tuple[BudgetRow, ...]:
    return tuple(map(_build_budget_row, budgets[:MAX_BUDGETS]))


def build_cost_rows(report: UsageReport | None) -> tuple[CostRow, ...]:
    if report is None:
        return ()
    dearest = max((row.totals.cost for row in report.rows), default=0) or 1
    return tuple(_build_cost_row(row, dearest) for row in report.rows)


def build_day_rows(report: UsageReport | None) -> tuple[CostRow, ...]:
    """Every day, also those on which nothing was asked; the oldest first."""
    if report is None:
        return ()
    known = {row.key: row for row in build_cost_rows(report)}
    days = (report.until - report.since).days + 1
    names = [_name_day(report.since, number) for number in range(days)]
    return tuple(known.get(name) or CostRow(name, rough_usd(0), "0", 0, 0, 0, 0) for name in names)


def _build_budget_row(one: BudgetStatus) -> BudgetRow:
    scope, spending = one.scope, one.spending
    spent_part = min(round(spending.spent / scope.limit * SCALE) if scope.limit else SCALE, SCALE)
    whole = min(round(one.fraction * SCALE), SCALE)
    state, tone = _judge_budget(one)
    return BudgetRow(
        label=scope.label,
        tone=tone,
        state=state,
        used=percent(one.fraction),
        spent=format_budget_amount(one, spending.spent),
        held=format_budget_amount(one, spending.held),
        limit=format_budget_limit(one),
        resets_at=format_time(scope.ends_at),
        spent_part=spent_part,
        held_part=max(whole - spent_part, 0),
        unsettled=describe_unsettled(one),
    )


def _judge_budget(one: BudgetStatus) -> tuple[str, Tone]:
    if one.fraction >= 1:
        return "spent", "bad"
    if one.is_refusing:
        return "refuses calls", "bad"
    return ("nearly spent", "warn") if one.is_alarming else ("within its limit", "good")


def _build_cost_row(row: UsageRow, dearest: int) -> CostRow:
    totals = row.totals
    return CostRow(
        key="(none)" if row.key is None else row.key,
        cost=rough_usd(totals.known_cost),
        dollars=f"{totals.cost / PICO_PER_DOLLAR:f}",
        requests=totals.requests,
        input_tokens=totals.tokens.input,
        output_tokens=totals.tokens.output,
        part=round(totals.cost / dearest * SCALE),
    )


def _name_day(since: date, number: int) -> str:
    return (since + timedelta(number)).isoformat()
