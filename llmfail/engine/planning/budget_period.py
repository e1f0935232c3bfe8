"""Local days, weeks and months as moments: when a budget's period begins and ends.

A day is as long as the calendar says, 23 or 25 hours included. Without a zone it is a day of UTC, in every
process and on every host.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from typing import Literal

from msgspec import Struct

PeriodKind = Literal["day", "week", "month", "total"]


class Period(Struct, frozen=True):
    """``name`` tells it from the others of its kind, ``previous`` is the name of the one before it;
    ``ends_at`` in epoch seconds. None for what there is not.
    """

    name: str
    previous: str | None
    ends_at: float | None


@cache
def zone_of(name: str | None) -> tzinfo:
    """UTC for None. Raises ValueError for a name that is no time zone."""
    if name is None:
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


def day_of(moment: float, zone: tzinfo) -> date:
    return datetime.fromtimestamp(moment, zone).date()


def midnight(day: date, zone: tzinfo) -> float:
    """The moment at which a day begins. Where clocks skip midnight, the moment at which they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def period_of(per: PeriodKind, moment: float, zone: tzinfo) -> Period:
    """The period that a moment lies in. Weeks begin on Monday."""
    day = day_of(moment, zone)
    match per:
        case "day":
            first, following = day, day + timedelta(1)
        case "week":
            first = day - timedelta(day.weekday())
            following = first + timedelta(7)
        case "month":
            first = day.replace(day=1)
            following = (first + timedelta(32)).replace(day=1)
        case "total":
            return Period("total", None, None)
    return Period(
        _period_name(per, first), _period_name(per, first - timedelta(1)), midnight(following, zone)
    )


def _period_name(per: PeriodKind, day: date) -> str:
    """Of the period with this day in it."""
    if per == "month":
        return f"{day:%Y-%m}"
    return f"week of {day - timedelta(day.weekday())}" if per == "week" else day.isoformat()
