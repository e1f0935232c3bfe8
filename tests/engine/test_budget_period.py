"""Periods of budgets: midnight, the end of months and weeks, and days of 23 and 25 hours."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from llmfail.core.records.migration import move_records
from llmfail.core.records.record import Write
from llmfail.engine.planning.budget_period import day_of, period_of, zone_of
from llmfail.engine.planning.budget_scope import find_renamed_periods
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Budget


def at(text):
    return datetime.fromisoformat(text).timestamp()


BERLIN = "Europe/Berlin"
PERIODS = [
    # per, zone, moment, name, end
    ("day", "UTC", "2026-11-21T00:00:00Z", "2026-11-21", "2026-11-22T00:00:00Z"),
    ("day", "UTC", "2026-11-21T23:59:59.999Z", "2026-11-21", "2026-11-22T00:00:00Z"),
    ("day", BERLIN, "2026-11-21T22:59:59Z", "2026-11-21", "2026-11-21T23:00:00Z"),
    ("day", BERLIN, "2026-11-21T23:00:00Z", "2026-11-22", "2026-11-22T23:00:00Z"),
    ("day", "Pacific/Auckland", "2026-11-21T11:00:00Z", "2026-11-22", "2026-11-22T11:00:00Z"),
    ("day", "Asia/Kolkata", "2026-11-21T18:30:00Z", "2026-11-22", "2026-11-22T18:30:00Z"),
    # The 23 hours of the day on which summer time begins, the 25 of the one on which it ends.
    ("day", BERLIN, "2026-03-28T23:00:00Z", "2026-03-29", "2026-03-29T22:00:00Z"),
    ("day", BERLIN, "2026-03-29T21:59:59Z", "2026-03-29", "2026-03-29T22:00:00Z"),
    ("day", BERLIN, "2026-10-24T22:00:00Z", "2026-10-25", "2026-10-25T23:00:00Z"),
    ("day", BERLIN, "2026-10-25T00:30:00Z", "2026-10-25", "2026-10-25T23:00:00Z"),
    ("day", BERLIN, "2026-10-25T01:30:00Z", "2026-10-25", "2026-10-25T23:00:00Z"),
    # Where clocks skip midnight the day begins when they do.
    ("day", "Asia/Beirut", "2026-03-28T21:59:59Z", "2026-03-28", "2026-03-28T22:00:00Z"),
    ("day", "Asia/Beirut", "2026-03-28T22:00:00Z", "2026-03-29", "2026-03-29T21:00:00Z"),
    ("week", "UTC", "2026-11-22T23:59:59Z", "week of 2026-11-16", "2026-11-23T00:00:00Z"),
    ("week", "UTC", "2026-11-23T00:00:00Z", "week of 2026-11-23", "2026-11-30T00:00:00Z"),
    ("week", "UTC", "2026-12-31T12:00:00Z", "week of 2026-12-28", "2027-01-04T00:00:00Z"),
    ("month", "UTC", "2026-11-30T23:59:59Z", "2026-11", "2026-12-01T00:00:00Z"),
    ("month", "UTC", "2026-12-31T23:59:59Z", "2026-12", "2027-01-01T00:00:00Z"),
    ("month", "UTC", "2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z"),
    ("month", BERLIN, "2026-11-30T23:00:00Z", "2026-12", "2026-12-31T23:00:00Z"),
    ("month", BERLIN, "2026-03-31T21:59:59Z", "2026-03", "2026-03-31T22:00:00Z"),
]


@pytest.mark.parametrize(("per", "zone", "moment", "name", "end"), PERIODS)
def test_a_period_is_what_the_calendar_of_its_zone_says(per, zone, moment, name, end):
    period = period_of(per, at(moment), ZoneInfo(zone))
    assert period.name == name
    assert datetime.fromtimestamp(period.ends_at, UTC) == datetime.fromisoformat(end)


@pytest.mark.parametrize(("per", "zone", "moment", "name", "end"), PERIODS)
def test_the_end_of_a_period_is_the_beginning_of_the_next(per, zone, moment, name, end):
    following = period_of(per, at(end), ZoneInfo(zone))
    assert following.name != name
    assert following.previous == name
    assert period_of(per, at(end) - 0.001, ZoneInfo(zone)).name == name


def test_a_total_never_ends():
    assert period_of("total", at("2026-11-21T00:00:00Z"), UTC).ends_at is None


@pytest.fixture
def in_kiritimati(monkeypatch):
    """A process whose days begin 14 hours before those of UTC."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.usefixtures("in_kiritimati")
def test_e6_without_a_zone_a_day_is_one_of_utc_in_every_process():
    noon = at("2026-11-21T12:00:00Z")
    assert day_of(noon, zone_of(None)).isoformat() == "2026-11-21"
    assert period_of("day", noon, zone_of(None)).ends_at == at("2026-11-22T00:00:00Z")


@pytest.mark.usefixtures("in_kiritimati")
def test_e6_the_running_day_of_a_state_of_version_0_1_is_kept_as_the_day_of_utc():
    """It was one of the process, and what is spent in it counts on; once."""
    budgets = tuple(
        Budget(name=per, limit=Decimal(1), per=per, each="user" if per == "day" else None)
        for per in ("day", "week", "total")
    )
    zoned = Budget(name="zoned", limit=Decimal(1), per="day", timezone=BERLIN)
    settings = Settings(budgets=(*budgets, zoned))
    noon = at("2026-11-21T12:00:00Z")
    periods = find_renamed_periods(settings, noon)
    assert periods == {"budget/day/2026-11-22": "budget/day/2026-11-21"}
    rows = {
        key: Write(key)
        for key in (
            *("budget/day/2026-11-22/ann", "budget/day/2026-11-22#", "budget/day/2026-11-22#/0"),
            *("budget/day/2026-11-21/ann", "budget/zoned/2026-11-22", "budget/day/2026-11-220"),
        )
    }
    assert move_records(rows, {}, "c", periods) == {
        "budget/day/2026-11-22/ann": None,
        "budget/day/2026-11-22#": None,
        "budget/day/2026-11-22#/0": None,
        "budget/day/2026-11-21/ann": rows["budget/day/2026-11-22/ann"],
        "budget/day/2026-11-21#": rows["budget/day/2026-11-22#"],
        "budget/day/2026-11-21#/0": rows["budget/day/2026-11-22#/0"],
    }


def test_a_name_that_is_no_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone 'Mars/Olympus'"):
        zone_of("Mars/Olympus")
