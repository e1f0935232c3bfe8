"""``llmfail usage``: from records in the store to figures for people, programs and spreadsheets."""

import csv
import io
import json
import re
from datetime import date, timedelta

import pytest
from llmfail_process import run_llmfail, run_on_terminal, write_change, write_config

from llmfail.core.model import Target, Usage
from llmfail.core.pricing import usage_record
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.statistics import Count, write_counts
from llmfail.simulator import parse_faults

CLAUDE, GPT = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra"
HEADER = ["key", "requests", "input_tokens", "output_tokens", "cost_usd", "unpriced_requests"]


@pytest.fixture(autouse=True)
def config(tmp_path, simulator, monkeypatch):
    path = write_config(tmp_path / "c.yaml", simulator, timezone="UTC")
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    return path


def count(feature="vpr", target=CLAUDE, user=None, cost=21_000_000_000, day="2026-11-21"):
    usage = Usage(2000, output_tokens=1000)
    call = CountedCall(ok=True, fallback=False, latency_ms=1, cost=cost, usage=usage)
    record = usage_record.usage_record_of(day, feature, Target.parse(target), user)
    write_change(write_counts([Count(call, (record,))]))


def shown(*arguments):
    done = run_llmfail("usage", *arguments)
    assert done.code == 0, done.err
    return done


def november(*arguments):
    return shown("--since", "2026-11-01", "--until", "2026-11-30", *arguments)


@pytest.fixture
def used():
    count()
    count(cost=None)
    count("pii", GPT, "bob", 15_000_000_000)


def test_an_ask_leaves_what_it_used_and_paid(simulator):
    assert run_llmfail("ask", "hello").code == 0
    simulator.set_faults(parse_faults("anthropic=503"))
    receipt = run_llmfail("ask", "hello", "--json").json
    found = {row["key"]: row for row in shown("--by", "target", "--json").json["rows"]}
    assert [found[name]["requests"] for name in (CLAUDE, GPT)] == [1, 1]
    assert found[GPT]["input_tokens"] == receipt["usage"]["input_tokens"]
    assert found[GPT]["cost_usd"] == receipt["cost_usd"]
    assert found[CLAUDE]["unpriced_requests"] == 0


def test_without_anything_used_there_is_nothing_and_it_is_said():
    done = shown("--since", "2026-11-01", "--until", "2026-11-30")
    assert done.out == ""
    assert "nothing was used from 2026-11-01 to 2026-11-30" in done.err
    assert november("--json").json["rows"] == []
    assert november("--csv").lines == [",".join(["feature", *HEADER[1:]])]


def test_json_is_the_shape_of_the_contract(used):
    found = november("--json").json
    assert (found["since"], found["until"], found["by"]) == ("2026-11-01", "2026-11-30", "feature")
    assert found["rows"] == [
        dict(zip(HEADER, ["vpr", 2, 4000, 2000, "0.021", 1], strict=True)),
        dict(zip(HEADER, ["pii", 1, 2000, 1000, "0.015", 0], strict=True)),
    ]
    assert found["total"] == dict(zip(HEADER[1:], [3, 6000, 3000, "0.036", 1], strict=True))


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("feature", ["vpr", "pii"]),
        ("target", [CLAUDE, GPT]),
        ("provider", ["anthropic", "openai"]),
        ("user", [None, "bob"]),
        ("day", ["2026-11-21"]),
    ],
)
def test_it_can_be_told_by(used, by, keys):
    assert [row["key"] for row in november("--by", by, "--json").json["rows"]] == keys


def test_the_usual_days_are_the_last_thirty():
    found = shown("--json").json
    since, until = (date.fromisoformat(found[name]) for name in ("since", "until"))
    assert until - since == timedelta(29)


def test_days_count_back_from_the_last_one_which_is_included():
    found = shown("--since", "7d", "--until", "2026-11-21", "--json").json
    assert (found["since"], found["until"]) == ("2026-11-15", "2026-11-21")


def test_csv_is_what_json_says_with_a_header(used):
    header, *rows = csv.reader(io.StringIO(november("--by", "user", "--csv").out))
    assert header == ["user", *HEADER[1:]]
    assert rows == [["", "2", "4000", "2000", "0.021", "1"], ["bob", "1", "2000", "1000", "0.015", "0"]]


def test_an_unknown_cost_is_an_empty_cell_and_null():
    count(cost=None)
    assert november("--csv").lines[1] == "vpr,1,2000,1000,,1"
    assert november("--json").json["rows"][0]["cost_usd"] is None
    assert " unknown " in november().lines[1]


@pytest.mark.parametrize("user", ["=1+1", "+1", "-1", "@a", "\t=1"])
def test_no_cell_is_a_formula_and_json_has_the_name_as_it_is(user):
    count(user=user)
    [_, row] = csv.reader(io.StringIO(november("--by", "user", "--csv").out))
    assert row[0] == f"'{user}"
    assert november("--by", "user", "--json").json["rows"][0]["key"] == user


def test_a_name_of_several_lines_is_one_row(used):
    count(user="two\nlines, \x1b[31mred")
    [_, *rows] = csv.reader(io.StringIO(november("--by", "user", "--csv").out))
    assert "two\nlines, \x1b[31mred" in [row[0] for row in rows]
    done = november("--by", "user")
    assert any(line.startswith("two lines, [31mred ") for line in done.lines)


def test_the_table_has_bars_as_long_as_the_costs():
    for feature, cost in (("vpr", 8), ("pii", 4), ("free", 0), ("crumb", 10**-6)):
        count(feature, cost=int(cost * 10**12))
    heading, *rows = november().lines[:5]
    assert heading.split() == ["feature", "cost", "requests", "input", "output"]
    bars = {row.split()[0]: re.search("[█▏▎▍▌▋▊▉]*$", row)[0] for row in rows}
    assert bars == {"vpr": "█" * 32, "pii": "█" * 16, "crumb": "▏", "free": ""}


def test_the_sum_is_exact_and_says_what_is_missing(used):
    *_, total, missing = november().lines
    assert total.startswith("2026-11-01 to 2026-11-30: $0.036, 3 requests, 6,000 input and 3,000 output")
    assert missing.startswith("the cost of 1 of them is unknown")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_names_and_bars_whole(used, columns):
    arguments = ("usage", "--by", "target", "--since", "2026-11-01", "--until", "2026-11-30")
    with run_on_terminal(columns, *arguments) as screen:
        assert screen.finish() == 0
    assert max(map(len, screen.text.splitlines())) <= columns
    assert re.search(rf"^{CLAUDE} +\$0\.0210 .*█$", screen.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--by", "colour"), "feature, target, provider, user, day"),
        (("--since", "7x"), "such as 7d, or a date such as 2026-11-01"),
        (("--since", "0d"), "--since takes"),
        (("--since", "2026-02-30"), "--since takes"),
        (("--since", "20261101"), "--since takes"),
        (("--since", "\u0667d"), "--since takes"),
        (("--since", ""), "--since takes"),
        (("--until", "7d"), "--until takes a date"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "no days from 2026-11-02 to 2026-11-01"),
        (("--json", "--csv"), "not both"),
    ],
)
def test_what_cannot_be_told_is_one_line_and_exit_2(arguments, why):
    done = run_llmfail("usage", *arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err
    assert done.err.count("\n") == 1


def test_days_before_the_first_year_are_no_days_at_all():
    assert shown("--since", "9999d", "--until", "0001-01-05", "--json").json["since"] == "0001-01-01"


def test_no_money_is_a_binary_fraction(used):
    floats = []
    json.loads(november("--json").out, parse_float=floats.append)
    assert floats == []


def test_help_has_examples():
    assert "--by user --since 7d" in run_llmfail("usage", "--help").out
