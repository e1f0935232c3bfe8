"""Tables on screens without room: columns give way, names are folded and never cut."""

import io
import re

import pytest
from llmfail_process import run_llmfail, run_on_terminal, write_config
from rich.console import Console

from llmfail.cli.render.tables import Column, cell, fit_table
from llmfail.simulator import parse_faults

CLAUDE, GPT = "anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra"


@pytest.fixture
def outage(tmp_path, simulator, monkeypatch):
    """The primary is down, and its circuit is open."""
    path = write_config(tmp_path / "c.yaml", simulator, alerts={"error_rate": 1, "fallback_rate": 1})
    monkeypatch.setenv("LLMFAIL_CONFIG", str(path))
    simulator.set_faults(parse_faults("anthropic=503"))
    assert [run_llmfail("ask", "hi").code for _ in range(2)] == [0, 0]


def drawn(columns, *arguments):
    with run_on_terminal(columns, *arguments) as screen:
        assert screen.finish() == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in screen.text
    assert max(map(len, screen.text.splitlines())) <= columns
    return screen.text


@pytest.mark.parametrize("columns", [40, 50, 60, 79])
@pytest.mark.parametrize(("command", "state"), [("status", "open"), ("plan", "skip")])
def test_a_target_and_its_state_stand_in_one_row(outage, columns, command, state):
    assert re.search(rf"^{CLAUDE} +{state}\b", drawn(columns, command), re.MULTILINE)


@pytest.mark.parametrize("columns", [10, 20, 30])
@pytest.mark.parametrize(("command", "state"), [("status", "open"), ("plan", "skip")])
def test_a_name_that_is_wider_than_the_screen_is_folded(outage, columns, command, state):
    lines = drawn(columns, command).splitlines()
    [rule] = [number for number, line in enumerate(lines) if "─" in line]
    rows = [line.rstrip().rpartition(" ") for line in lines[rule + 1 :]]
    first = next(number for number, (_, _, last) in enumerate(rows) if last == state)
    folded = rows[first][0].strip() + "".join(last for _, _, last in rows[first + 1 : first + 8])
    assert folded.startswith(CLAUDE)


@pytest.mark.parametrize("columns", [10, 20, 30, 40, 60])
def test_the_log_tells_who_answered(outage, columns):
    text = drawn(columns, "log")
    assert (
        GPT in "".join(re.findall(r"[a-z0-9./-]+$", text.replace(" \n", "\n"), re.MULTILINE)) or GPT in text
    )


def test_more_room_shows_more(outage):
    headings = [drawn(columns, "status") for columns in (40, 60, 80)]
    found = [[name for name in ("state", "calls", "p50/p95") if name in text] for text in headings]
    assert found == [["state"], ["state", "calls"], ["state", "calls", "p50/p95"]]


def screen(width):
    return Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)


def text_of(width, *columns):
    console = screen(width)
    console.print(fit_table(console, columns))
    return console.file.getvalue()


NAME = Column("name", ["a/name-of-20-letters"], is_name=True)
STATE = Column("state", ["closed"])
PROSE = Column("why", ["because it is so, and not otherwise"], rank=1, wraps=True)
FIGURE = Column("took", ["1.2s"], rank=2, right=True)


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (100, ["name", "state", "why", "took"]),
        (45, ["name", "state", "why", "took"]),
        (44, ["name", "state", "why"]),
        (39, ["name", "state"]),
        (27, ["name", "state"]),
    ],
)
def test_the_highest_rank_gives_way_first(width, headings):
    text = text_of(width, NAME, STATE, PROSE, FIGURE)
    assert re.findall(r"[a-z]+", text.partition("─")[0]) == headings
    assert "…" not in text
    assert "a/name-of-20-letters closed" in text


@pytest.mark.parametrize("width", [1, 2, 8, 20])
def test_in_the_end_everything_is_folded_and_nothing_cut(width):
    assert "…" not in text_of(width, NAME, STATE, PROSE, FIGURE)


def test_stored_words_give_a_terminal_no_orders():
    assert cell("ok/\x1b[31mred\x07").plain == "ok/�[31mred�"
