"""Screens without room: a list instead of a table, and nothing is cut."""

import io
import re
from collections import Counter

import pytest
from llmfail_process import run_llmfail, run_on_terminal, write_config
from rich.console import Console

from llmfail.cli.render.tables import TABLE_WIDTH, Column, cell, draw_rows
from llmfail.simulator import Simulator, parse_faults

CLAUDE, GPT = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Configuration and state of a chain whose primary is down, with its circuit open for an hour."""
    directory = tmp_path_factory.mktemp("outage")
    state = directory / "state"
    rest = {
        "alerts": {"error_rate": 1, "fallback_rate": 1},
        "breaker": {"failure_threshold": 2, "recovery_timeout": "1h", "max_recovery_timeout": "1h"},
    }
    with Simulator() as simulator:
        path = write_config(directory / "c.yaml", simulator, **rest)
        simulator.set_faults(parse_faults("anthropic=503"))
        asks = [run_llmfail("--config", str(path), "--state-dir", str(state), "ask", "hi") for _ in range(2)]
    assert [one.code for one in asks] == [0, 0]
    return path, state


@pytest.fixture
def outage(place, monkeypatch):
    """The commands of a test read the state after that outage; they change nothing there."""
    path, state = place
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    monkeypatch.setenv("LLMFAIL_STATE_DIR", str(state))
    monkeypatch.delenv("LLMFAIL_STORE", raising=False)


def drawn(columns, *arguments):
    with run_on_terminal(columns, *arguments) as screen:
        assert screen.finish() == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in screen.text
    assert max(map(len, screen.text.splitlines())) <= columns
    return screen.text


@pytest.mark.parametrize("columns", [40, 50, 60, 79, 80, 100])
@pytest.mark.parametrize(("command", "state"), [("status", "open"), ("plan", "skip")])
def test_a_target_and_its_state_stand_in_one_row(outage, columns, command, state):
    assert re.search(rf"^{CLAUDE} +{state}\b", drawn(columns, command), re.MULTILINE)


@pytest.mark.parametrize("columns", [10, 20, 30])
@pytest.mark.parametrize(("command", "state"), [("status", "open"), ("plan", "skip")])
def test_a_name_that_is_wider_than_the_screen_is_folded(outage, columns, command, state):
    text = re.sub(r"\s", "", drawn(columns, command))
    assert f"{CLAUDE}{state}" in text


@pytest.mark.parametrize("columns", [10, 20, 30, 40, 60, 80])
def test_the_log_tells_who_answered(outage, columns):
    assert GPT in re.sub(r"\s", "", drawn(columns, "log"))


@pytest.mark.parametrize("columns", [40, 60, 80, 110, 200])
@pytest.mark.parametrize(
    ("command", "figures"),
    [
        ("status", ["calls", "ok", "fallbacks", "p50/p95", "today", "server_error: "]),
        ("log", ["feature", "answered by", "tier", "took", "cost"]),
        ("plan", ["about", "at most", "circuit_open"]),
        ("prices show", ["input", "output", "cached", "from"]),
        ("usage", ["cost", "requests", "input", "output"]),
        ("cost-estimate", ["per request", "1,000 requests", "a month", "served by"]),
    ],
)
def test_no_screen_is_too_narrow_for_a_figure(outage, columns, command, figures):
    text = " ".join(drawn(columns, *command.split()).split())
    assert [name for name in figures if name not in text] == []


@pytest.mark.parametrize(
    ("columns", "is_table"), [(40, False), (TABLE_WIDTH - 1, False), (TABLE_WIDTH, True)]
)
@pytest.mark.parametrize("command", ["status", "log", "plan", "cost-estimate"])
def test_there_is_a_table_from_80_columns_on(outage, columns, is_table, command):
    assert ("─" in drawn(columns, command)) == is_table


def test_more_room_shows_more(outage):
    assert [" outcome " in drawn(columns, "log") for columns in (80, 110)] == [False, True]
    assert [" last error" in drawn(columns, "status") for columns in (80, 160)] == [False, True]


def screen(width):
    return Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)


def text_of(width, *columns):
    console = screen(width)
    console.print(draw_rows(console, columns))
    return "\n".join(map(str.rstrip, console.file.getvalue().splitlines()))


NAME = Column("name", ["a/name-of-20-letters"])
LONG_NAME = Column("name", ["a/name-of-" + "46-letters-" * 3 + "end"], folds=True)
STATE = Column("state", ["closed"])
PROSE = Column("why", ["because it is so, and not otherwise" * 3], folds=True)
FIGURE = Column("took", ["1.2s"], right=True)
WIDE = Column("more", ["only where there is room"], min_screen=110)


@pytest.mark.parametrize(
    ("width", "headings"), [(110, "name state why took more"), (100, "name state why took"), (79, "")]
)
def test_a_column_is_shown_where_the_screen_is_as_wide_as_it_asks(width, headings):
    text = text_of(width, NAME, STATE, PROSE, FIGURE, WIDE)
    assert " ".join(re.findall(r"[a-z]+", text.partition("─")[0] if "─" in text else "")) == headings
    assert re.search(r"a/name-of-20-letters +closed", text)


def test_a_table_that_does_not_fit_is_a_list():
    assert "─" in text_of(100, NAME, *[STATE] * 8)
    lines = text_of(100, NAME, *[STATE] * 12).splitlines()
    assert [lines[0], lines[-1]] == [
        "a/name-of-20-letters  closed",
        "  state closed, state closed, state closed, state closed",
    ]


def test_the_fields_of_a_list_have_their_headings():
    assert text_of(60, NAME, STATE, FIGURE, PROSE._replace(cells=["so"])).splitlines() == [
        "a/name-of-20-letters  closed",
        "  took 1.2s, why so",
    ]
    assert text_of(60, NAME, FIGURE).splitlines() == ["a/name-of-20-letters  took 1.2s"]


@pytest.mark.parametrize("width", [4, 8, 20, 79, 80, 81, 100, 120, 200])
def test_nothing_is_cut_on_any_screen(width):
    columns = LONG_NAME, STATE, PROSE, FIGURE
    text = text_of(width, *columns)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    lost = Counter("".join(column.cells[0] for column in columns)) - Counter(text)
    assert not lost.keys() - {" "}


def test_stored_words_give_a_terminal_no_orders():
    assert cell("ok/\x1b[31mred\x07").plain == "ok/�[31mred�"
