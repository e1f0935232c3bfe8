"""What was used and paid for over some days, as it is read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from llmfail.core.errors import UsageError
from llmfail.core.pricing.usage_record import (
    KEPT_DAYS,
    Entry,
    entry,
    roll_key,
    row_key,
)
from llmfail.core.pricing.usage_report import (
    BY,
    By,
    Days,
    Report,
    report,
)
from llmfail.core.records import name_list
from llmfail.core.records.record import Values
from llmfail.engine.planning.budget_period import day_of, zone_of
from llmfail.engine.ports.ports import Ports
from llmfail.settings.schema.settings import Settings

PORTION = 2000
"""Keys per read, so that nobody reads for long in one go."""


USUAL = Days()
"""The last 30 days, today included."""


async def usage(settings: Settings, ports: Ports, by: By, days: Days = USUAL) -> Report:
    """What was used on these days. Raises UsageError."""
    if by not in BY:
        raise UsageError(f"usage is told by {', '.join(BY)}; not by {by!r}")
    since, until = span(settings, ports, days)
    return report(await recorded(settings, ports, days), by, since, until)


async def recorded(settings: Settings, ports: Ports, days: Days = USUAL) -> list[Entry]:
    """Every record of these days that is still kept. Raises UsageError."""
    since, until = span(settings, ports, days)
    last = today(settings, ports) + timedelta(1)  # the time zone may have been another one
    wanted = range(
        max(since, back(last, KEPT_DAYS + 2)).toordinal(),
        min(until, last).toordinal() + 1,
    )
    names = [date.fromordinal(day).isoformat() for day in wanted]
    rolls = await _read(ports, list(map(roll_key, names)))
    return [found for day in names for found in await _of_day(ports, day, rolls)]


def span(settings: Settings, ports: Ports, days: Days) -> tuple[date, date]:
    """The first and the last of these days."""
    until = days.until or today(settings, ports)
    since = days.since or back(until, days.count)
    if since > until:
        raise UsageError(f"there are no days from {since} to {until}")
    return since, until


def today(settings: Settings, ports: Ports) -> date:
    return day_of(ports.wall(), zone_of(settings.timezone))


def back(until: date, days: int) -> date:
    """The first of so many days that end with this one."""
    return date.fromordinal(max(until.toordinal() - days + 1, 1))


async def _of_day(ports: Ports, day: str, rolls: Values) -> list[Entry]:
    lines = await _read(ports, name_list.lines(roll_key(day), rolls))
    names = dict.fromkeys(name for name in map(name_list.name, lines.values()) if name is not None)
    rows = await _read(ports, [row_key(day, name) for name in names])
    found = (entry(day, name, rows[row_key(day, name)]) for name in names)
    return [one for one in found if one is not None]


async def _read(ports: Ports, keys: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for start in range(0, len(keys), PORTION):
        values, _ = await ports.keeper.read(keys[start : start + PORTION])
        found.update(values)
    return found
