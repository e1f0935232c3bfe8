"""What was used and paid for over some days, as it is read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from llmfail.core.errors import UsageError
from llmfail.core.pricing.usage_record import (
    RETENTION_DAYS,
    UsageEntry,
    index_key,
    load_entry,
    totals_key,
)
from llmfail.core.pricing.usage_report import (
    GROUPINGS,
    DayRange,
    GroupBy,
    UsageReport,
    build_report,
)
from llmfail.core.records import name_list
from llmfail.core.records.record import Values
from llmfail.engine.planning.budget_period import day_of, zone_of
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.settings import Settings

KEYS_PER_READ = 2000
"""Keys per read, so that nobody reads for long in one go."""


DEFAULT_DAYS = DayRange()
"""The last 30 days, today included."""


async def load_usage_report(
    settings: Settings, ports: Ports, by: GroupBy, days: DayRange = DEFAULT_DAYS
) -> UsageReport:
    """What was used on these days. Raises UsageError."""
    if by not in GROUPINGS:
        raise UsageError(f"usage is told by {', '.join(GROUPINGS)}; not by {by!r}")
    since, until = date_range(settings, ports, days)
    records = await load_usage_records(settings, ports, days)
    last = max((date.fromisoformat(one.day) for one in records), default=until)
    return build_report(records, by, since, max(until, last))


async def load_usage_records(
    settings: Settings, ports: Ports, days: DayRange = DEFAULT_DAYS
) -> list[UsageEntry]:
    """Every record of these days that is still kept: up to the last there can be, where the end is not named,
    because the time zone may have been another one. Raises UsageError.
    """
    since, until = date_range(settings, ports, days)
    last = today(settings, ports) + timedelta(1)
    wanted = range(
        max(since, first_day(last, RETENTION_DAYS + 2)).toordinal(),
        (last if days.until is None else min(until, last)).toordinal() + 1,
    )
    names = [date.fromordinal(day).isoformat() for day in wanted]
    rolls = await _read_in_portions(ports, list(map(index_key, names)))
    return [found for day in names for found in await _load_day(ports, day, rolls)]


def date_range(settings: Settings, ports: Ports, days: DayRange) -> tuple[date, date]:
    """The first and the last of these days."""
    until = days.until or today(settings, ports)
    since = days.since or first_day(until, days.count)
    if since > until:
        raise UsageError(f"there are no days from {since} to {until}")
    return since, until


def today(settings: Settings, ports: Ports) -> date:
    return day_of(ports.wall(), zone_of(settings.timezone))


def first_day(until: date, days: int) -> date:
    """The first of so many days that end with this one."""
    return date.fromordinal(max(until.toordinal() - days + 1, 1))


async def _load_day(ports: Ports, day: str, lists: Values) -> list[UsageEntry]:
    lines = await _read_in_portions(ports, name_list.row_keys(index_key(day), lists))
    names = dict.fromkeys(name for name in map(name_list.read_name, lines.values()) if name is not None)
    rows = await _read_in_portions(ports, [totals_key(day, name) for name in names])
    found = (load_entry(day, name, rows[totals_key(day, name)]) for name in names)
    return [one for one in found if one is not None]


async def _read_in_portions(ports: Ports, keys: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for start in range(0, len(keys), KEYS_PER_READ):
        values, _ = await ports.store.read(keys[start : start + KEYS_PER_READ])
        found.update(values)
    return found
