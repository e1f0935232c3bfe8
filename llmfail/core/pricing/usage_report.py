"""What was used, summed up as people ask for it: by feature, target, provider, user or day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal, get_args

from msgspec import Struct

from llmfail.core.pricing.usage_record import Entry, Used
from llmfail.core.receipt import usd

USUAL_DAYS = 30

By = Literal["feature", "target", "provider", "user", "day"]
BY: tuple[By, ...] = get_args(By)


class Days(Struct, frozen=True):
    """From one day to another, both included; without ``since`` it is so many days, without ``until`` they
    end today.
    """

    since: date | None = None
    until: date | None = None
    count: int = USUAL_DAYS


class Row(Struct, frozen=True):
    """All that has one ``key``, which is None for the calls that name no user."""

    key: str | None
    used: Used

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, **_figures(self.used)}


class Report(Struct, frozen=True):
    """What was used from ``since`` to ``until``, both days included."""

    since: date
    until: date
    by: By
    rows: tuple[Row, ...]

    @property
    def total(self) -> Used:
        return sum((row.used for row in self.rows), Used())

    def to_json(self) -> dict[str, Any]:
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "by": self.by,
            "rows": [row.to_json() for row in self.rows],
            "total": _figures(self.total),
        }


def report(entries: Iterable[Entry], by: By, since: date, until: date) -> Report:
    """Days by date, anything else the dearest first; what has no known cost comes last."""
    sums: dict[str | None, Used] = {}
    for one in entries:
        key = _key(one, by)
        sums[key] = sums.get(key, Used()) + one.used
    rows = [Row(key, used) for key, used in sums.items()]
    rows.sort(key=(lambda row: row.key or "") if by == "day" else _dearness)
    return Report(since, until, by, tuple(rows))


def _key(one: Entry, by: By) -> str | None:
    match by:
        case "feature":
            return one.feature
        case "target":
            return str(one.target)
        case "provider":
            return one.target.provider
        case "user":
            return one.user
        case "day":
            return one.day


def _dearness(row: Row) -> tuple[bool, int, int, str]:
    unknown = row.used.known_cost is None
    return unknown, -row.used.cost, -row.used.requests, row.key or ""


def _figures(used: Used) -> dict[str, Any]:
    return {
        "requests": used.requests,
        "input_tokens": used.tokens.input,
        "output_tokens": used.tokens.output,
        "cost_usd": usd(used.known_cost),
        "unpriced_requests": used.unpriced,
    }
