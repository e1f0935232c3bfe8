"""What was used: counted once for each call, found again under any name, and summed up without loss."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.model import Target, Usage
from llmfail.core.pricing import usage_record
from llmfail.core.pricing.usage_record import (
    TokenTotals,
    UsageEntry,
    UsageTotals,
)
from llmfail.core.pricing.usage_report import GROUPINGS, DayRange, build_report
from llmfail.core.records import name_list
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.record import Write
from llmfail.core.records.statistics import Count, write_counts
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.store_access import InlineStore
from llmfail.engine.reports import usage_query
from llmfail.settings.schema.settings import Settings
from llmfail.store.memory import MemoryStore

CLAUDE, GPT = Target("anthropic", "claude-sonnet-5-5"), Target("openai", "gpt-6.1-terra")
NOVEMBER_21 = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
SETTINGS = Settings(timezone="UTC")
DAY = "2026-11-21"
FREE = CountedCall(ok=False, fallback=False, latency_ms=1, cost=0)


def count(call=FREE, *, day=DAY, feature="vpr", target=CLAUDE, user=None):
    record = usage_record.usage_record_of(day, feature, target, user)
    return write_counts([Count(call, (record,))])


class Ports:
    """A store in memory on a clock that stands still."""

    def __init__(self, now=NOVEMBER_21):
        self.now = now
        self.memory = MemoryStore(self.wall)
        self.store = InlineStore(self.memory)

    def wall(self):
        return self.now

    def count(self, *, tokens=(2000, 1000), cost=0, answered=None, **whose):
        counted = tokens and Usage(tokens[0], output_tokens=tokens[1])
        ok = counted is not None if answered is None else answered
        call = CountedCall(ok=ok, fallback=False, latency_ms=1, cost=cost, usage=counted)
        step = count(call, **whose)
        self.memory.update(step.keys, lambda values, now: (step.change(values, now), None))

    def write(self, key, text):
        self.memory.update((), lambda _values, _now: ({key: Write(text)}, None))

    def read(self, key):
        return self.memory.read([key])[0][key]

    def entries(self, **days):
        return run_sync(usage_query.load_usage_records(SETTINGS, self, DayRange(**days)))

    def report(self, by="feature", **days):
        return run_sync(usage_query.load_usage_report(SETTINGS, self, by, DayRange(**days))).to_json()


@pytest.fixture
def ports():
    return Ports()


def costs(report):
    return {row["key"]: row["cost_usd"] for row in report["rows"]}


def test_calls_of_one_day_feature_target_and_user_are_one_record(ports):
    ports.count(cost=21_000_000_000, user="bob")
    ports.count(cost=21_000_000_000, user="bob")
    ports.count(cost=15_000_000_000, user="bob", target=GPT)
    assert [(one.target, one.user, one.totals.requests, one.totals.cost) for one in ports.entries()] == [
        (CLAUDE, "bob", 2, 42_000_000_000),
        (GPT, "bob", 1, 15_000_000_000),
    ]


def test_tokens_are_kept_by_their_price(ports):
    usage = Usage(100, 40, 30, 10, 7)
    step = count(CountedCall(ok=True, fallback=False, latency_ms=1, cost=5, usage=usage))
    ports.memory.update(step.keys, lambda values, now: (step.change(values, now), None))
    assert ports.entries()[0].totals.tokens == TokenTotals(input=100, cached=40, written=30, output=7)


def test_a_call_of_unknown_cost_is_counted_apart_with_its_tokens(ports):
    ports.count(cost=7, tokens=(10, 1))
    ports.count(cost=None, tokens=(20, 2))
    [one] = ports.entries()
    assert (one.totals.requests, one.totals.cost, one.totals.unpriced) == (2, 7, 1)
    assert (one.totals.tokens, one.totals.unpriced_tokens) == (
        TokenTotals(30, output=3),
        TokenTotals(20, output=2),
    )


def test_a_call_without_a_usage_has_not_answered_unless_it_is_said(ports):
    ports.count(tokens=None)
    ports.count(tokens=None, answered=True)
    ports.count()
    ports.count(answered=False)
    [one] = ports.entries()
    assert (one.totals.requests, one.totals.answered) == (4, 2)


TEXTS = st.text(st.characters(codec=None), min_size=1, max_size=8) | st.sampled_from(
    ["a/b", "#0", "a#1", '"', "[", '","', "\\", "\n", "*", "é", "\ud800", "x" * 256]
)
NAMES = st.tuples(TEXTS, st.none() | TEXTS)


@given(st.lists(NAMES, max_size=12))
def test_whatever_the_names_are_each_has_its_own_record_and_is_found_again(names):
    ports = Ports()
    for feature, user in names:
        ports.count(feature=feature, user=user)
    told = [tuple(text and text.encode("utf-8", "replace").decode() for text in name) for name in names]
    assert {(one.feature, one.user): one.totals.requests for one in ports.entries()} == {
        name: told.count(name) for name in told
    }


def test_no_name_can_pass_for_another(ports):
    ports.count(feature="a", user="b")
    ports.count(feature='a","anthropic/claude-sonnet-5-5","b')
    ports.count(feature="a/anthropic/claude-sonnet-5-5/b")
    assert [one.totals.requests for one in ports.entries()] == [1, 1, 1]


def test_a_settlement_reads_two_keys_and_writes_one_once_the_row_is_there(ports):
    ports.count()
    step = count()
    values, now = ports.memory.read(step.keys)
    assert len(step.keys) == 2
    assert list(step.change(values, now)) == [step.keys[0]]


def test_records_of_a_newer_version_are_left_alone(ports):
    ports.count()
    row = usage_record.usage_record_of(DAY, "vpr", CLAUDE, None).key
    ports.write(row, '{"v":2,"requests":99}')
    ports.write(usage_record.index_key(DAY), '{"v":2,"length":"many"}')
    before = ports.read(f"{usage_record.index_key(DAY)}#0")
    ports.count()
    ports.count(user="new")
    assert ports.read(row) == '{"v":2,"requests":99}'
    assert ports.read(usage_record.index_key(DAY)) == '{"v":2,"length":"many"}'
    assert ports.read(f"{usage_record.index_key(DAY)}#0") == before


@pytest.mark.parametrize("text", ["", "{", '{"v":1,"requests":"many"}', '{"v":1,"name":"[1]"}', "null"])
def test_what_is_damaged_counts_as_nothing_and_is_begun_anew(ports, text):
    ports.count(cost=5)
    ports.count(cost=6, user="bob")
    ports.write(usage_record.usage_record_of(DAY, "vpr", CLAUDE, None).key, text)
    assert [one.totals.cost for one in ports.entries()] == [6]
    ports.count(cost=7)
    assert [one.totals.cost for one in ports.entries()] == [7, 6]


@pytest.mark.parametrize("name", ["", "[1]", '["vpr","no target",null]', '["vpr"]', "{}"])
def test_a_damaged_name_in_the_roll_is_passed_over(ports, name):
    ports.count(cost=5)
    values, _ = ports.memory.read([usage_record.index_key(DAY)])
    writes = name_list.append(usage_record.index_key(DAY), name, values, None)
    ports.memory.update((), lambda _values, _now: (writes, None))
    ports.write(usage_record.totals_key(DAY, name), '{"v":1,"requests":1}')
    assert [one.totals.cost for one in ports.entries()] == [5]


def test_a_day_is_kept_for_400_days(ports):
    ports.count()
    ports.now += 399 * 86400
    assert len(ports.entries(count=500)) == 1
    ports.now += 2 * 86400
    assert ports.entries(count=500) == []


def test_the_end_of_a_record_does_not_move_with_the_time_of_day(ports):
    ends = set()
    for hour in range(3):
        step = count()
        now = NOVEMBER_21 + hour * 3600
        ends |= {write.expires_at for write in step.change(dict.fromkeys(step.keys), now).values()}
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("feature", ["vpr", "pii"]),
        ("target", [str(CLAUDE), str(GPT)]),
        ("provider", ["anthropic", "openai"]),
        ("user", [None, "bob"]),
        ("day", ["2026-11-20", "2026-11-21"]),
    ],
)
def test_rows_are_the_dearest_first_and_days_by_date(ports, by, expected):
    ports.count(cost=50)
    ports.count(cost=30, feature="pii", target=GPT, user="bob", day="2026-11-20")
    report = ports.report(by)
    assert [row["key"] for row in report["rows"]] == expected
    assert report["by"] == by


def test_what_has_no_known_cost_comes_last_also_after_what_was_free(ports):
    ports.count(feature="unknown", cost=None)
    ports.count(feature="unknown", cost=None)
    ports.count(feature="free", cost=0)
    ports.count(feature="partly", cost=None)
    ports.count(feature="partly", cost=10**12)
    assert costs(ports.report()) == {"partly": "1", "free": "0", "unknown": None}
    assert list(costs(ports.report())) == ["partly", "free", "unknown"]


def test_the_json_has_the_shape_of_the_contract(ports):
    ports.count(cost=21_000_000_000)
    ports.count(cost=None)
    figures = {
        "requests": 2,
        "input_tokens": 4000,
        "output_tokens": 2000,
        "cost_usd": "0.021",
        "unpriced_requests": 1,
    }
    assert ports.report() == {
        "since": "2026-10-23",
        "until": "2026-11-21",
        "by": "feature",
        "rows": [{"key": "vpr", **figures}],
        "total": figures,
    }


def test_without_any_record_the_sum_is_nothing_and_known(ports):
    assert ports.report()["rows"] == []
    assert ports.report()["total"]["cost_usd"] == "0"


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ({}, ["2026-10-23", "2026-11-20", "2026-11-21", "2026-11-22"]),
        ({"count": 1}, ["2026-11-21", "2026-11-22"]),
        ({"count": 2}, ["2026-11-20", "2026-11-21", "2026-11-22"]),
        ({"since": date(2026, 11, 20)}, ["2026-11-20", "2026-11-21", "2026-11-22"]),
        ({"until": date(2026, 11, 20), "count": 1}, ["2026-11-20"]),
        ({"since": date(2026, 10, 22), "until": date(2026, 10, 23)}, ["2026-10-22", "2026-10-23"]),
        (
            {"since": date(1, 1, 1), "until": date(9999, 12, 31)},
            ["2026-10-22", "2026-10-23", "2026-11-20", "2026-11-21", "2026-11-22"],
        ),
    ],
)
def test_e6_the_first_and_the_last_day_are_included_and_without_an_end_nothing_is_cut(ports, days, expected):
    for day in ("2026-10-22", "2026-10-23", "2026-11-20", "2026-11-21", "2026-11-22"):
        ports.count(day=day, cost=1)
    assert [row["key"] for row in ports.report("day", **days)["rows"]] == expected


def test_today_is_a_day_of_the_configured_time_zone():
    ports = Ports(NOVEMBER_21 + 11.5 * 3600)  # half past eleven in the evening, in London
    ports.count(day="2026-11-22")
    found = run_sync(
        usage_query.load_usage_report(Settings(timezone="Asia/Tokyo"), ports, "day", DayRange(count=1))
    )
    assert [row.key for row in found.rows] == ["2026-11-22"]


def test_many_records_are_read_in_portions(ports, monkeypatch):
    monkeypatch.setattr(usage_query, "KEYS_PER_READ", 3)
    for number in range(10):
        ports.count(user=str(number), cost=number)
    assert ports.report("user")["total"]["requests"] == 10


AMOUNTS = st.integers(0, 10**13)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, st.none() | AMOUNTS), max_size=20))
def test_a_sum_loses_nothing_however_it_is_grouped(calls):
    entries = [
        UsageEntry(
            f"2026-11-{1 + place % 9:02}",
            f"feature {place % 3}",
            (CLAUDE, GPT)[place % 2],
            ("bob", None)[place % 2],
            UsageTotals(1, 1, TokenTotals(given_, output=made), cost or 0, int(cost is None)),
        )
        for place, (given_, made, cost) in enumerate(calls)
    ]
    for by in GROUPINGS:
        total = build_report(entries, by, date(2026, 11, 1), date(2026, 11, 9)).total
        assert (total.requests, total.cost) == (len(calls), sum(cost or 0 for *_, cost in calls))
        assert total.tokens == TokenTotals(sum(one[0] for one in calls), output=sum(one[1] for one in calls))
        assert total.unpriced == sum(one[2] is None for one in calls)
