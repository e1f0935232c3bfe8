"""Local days, weeks and months as moments: when a budget's period begins and ends.

A day is as long as the calendar says, 23 or 25 hours included. A zone of None is the machine's own.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from functools import cache
from typing import Literal

from msgspec import Struct

Per = Literal["day", "week", "month", "total"]


class Period(Struct, frozen=True):
    """``name`` tells it from the others of its kind; ``ends_at`` in epoch seconds, None for never."""

    name: str
    ends_at: float | None


@cache
def zone_of(name: str | None) -> tzinfo | None:
    """Raises ValueError for a name that is no time zone."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - start-up: few name a zone

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


def day_of(moment: float, zone: tzinfo | None) -> date:
    return datetime.fromtimestamp(moment, zone).date()


def midnight(day: date, zone: tzinfo | None) -> float:
    """The moment at which a day begins. Where clocks skip midnight, the moment at which they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def period_of(per: Per, moment: float, zone: tzinfo | None) -> Period:
    """The period that a moment lies in. Weeks begin on Monday."""
    day = day_of(moment, zone)
    match per:
        case "day":
            return Period(day.isoformat(), midnight(day + timedelta(1), zone))
        case "week":
            monday = day - timedelta(day.weekday())
            return Period(f"week of {monday}", midnight(monday + timedelta(7), zone))
        case "month":
            following = (day.replace(day=1) + timedelta(32)).replace(day=1)
            return Period(f"{day:%Y-%m}", midnight(following, zone))
        case "total":
            return Period("total", None)
