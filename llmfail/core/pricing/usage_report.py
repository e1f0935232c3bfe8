"""What was used, summed up as people ask for it: by feature, target, provider, user or day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal, get_args

from msgspec import Struct

from llmfail.core.pricing.usage_record import UsageEntry, UsageTotals
from llmfail.core.receipt import format_usd

DEFAULT_DAYS = 30

GroupBy = Literal["feature", "target", "provider", "user", "day"]
GROUPINGS: tuple[GroupBy, ...] = get_args(GroupBy)


class DayRange(Struct, frozen=True):
    """From one day to another, both included; without ``since`` it is so many days, without ``until`` they
    end today.
    """

    since: date | None = None
    until: date | None = None
    count: int = DEFAULT_DAYS


class UsageRow(Struct, frozen=True):
    """All that has one ``key``, which is None for the calls that name no user."""

    key: str | None
    totals: UsageTotals

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, **_totals_to_json(self.totals)}


class UsageReport(Struct, frozen=True):
    """What was used from ``since`` to ``until``, both days included."""

    since: date
    until: date
    by: GroupBy
    rows: tuple[UsageRow, ...]

    @property
    def total(self) -> UsageTotals:
        return sum((row.totals for row in self.rows), UsageTotals())

    def to_json(self) -> dict[str, Any]:
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "by": self.by,
            "rows": [row.to_json() for row in self.rows],
            "total": _totals_to_json(self.total),
        }


def build_report(entries: Iterable[UsageEntry], by: GroupBy, since: date, until: date) -> UsageReport:
    """Days by date, anything else the dearest first; what has no known cost comes last."""
    sums: dict[str | None, UsageTotals] = {}
    for one in entries:
        key = _group_key(one, by)
        sums[key] = sums.get(key, UsageTotals()) + one.totals
    rows = [UsageRow(key, used) for key, used in sums.items()]
    rows.sort(key=(lambda row: row.key or "") if by == "day" else _cost_order)
    return UsageReport(since, until, by, tuple(rows))


def _group_key(entry: UsageEntry, by: GroupBy) -> str | None:
    match by:
        case "feature":
            return entry.feature
        case "target":
            return str(entry.target)
        case "provider":
            return entry.target.provider
        case "user":
            return entry.user
        case "day":
            return entry.day


def _cost_order(row: UsageRow) -> tuple[bool, int, int, str]:
    unknown = row.totals.known_cost is None
    return unknown, -row.totals.cost, -row.totals.requests, row.key or ""


def _totals_to_json(totals: UsageTotals) -> dict[str, Any]:
    return {
        "requests": totals.requests,
        "input_tokens": totals.tokens.input,
        "output_tokens": totals.tokens.output,
        "cost_usd": format_usd(totals.known_cost),
        "unpriced_requests": totals.unpriced,
    }
