"""Lines for people: folded and coloured on a terminal, as they are elsewhere; figures in columns; keys."""

import io
import os
import pty
import sys

import pytest

from llmfail.cli.io.keyboard import read_keys
from llmfail.cli.io.output import say
from llmfail.core.reports.figures import count_of, exact_usd_column, format_bytes, rough_usd_column


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")

    def show(*said, **how):
        """What a terminal gets of these lines."""
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", Terminal())
            for text in said:
                say(text, **how)
            return sys.stderr.getvalue()

    return show


def test_i17_a_long_line_is_folded_between_words_on_a_terminal(terminal):
    text = "features.default.fallbacks: every target is at 127.0.0.1: when that is down, nothing answers"
    lines = terminal(text, is_error=True).replace("\x1b[31m", "").replace("\x1b[0m", "").splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(line.strip() for line in lines) == f"llmfail: {text}"


def test_i17_errors_and_warnings_differ_by_more_than_a_word(terminal):
    assert terminal("it failed", is_error=True) == "\x1b[31mllmfail:\x1b[0m it failed\n"
    assert terminal("warning: it may fail", "it answered").splitlines() == [
        "\x1b[33mllmfail: warning:\x1b[0m it may fail",
        "\x1b[2mllmfail:\x1b[0m it answered",
    ]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(terminal, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert terminal("it failed", is_error=True) == "llmfail: it failed\n"


def test_a_pipe_gets_the_line_as_it_is(capfd):
    say("word " * 50, is_error=True)
    assert capfd.readouterr().err == f"llmfail: {'word ' * 50}\n"


def test_i17_amounts_in_a_column_have_decimals_in_common():
    assert rough_usd_column([0, 2_900_000_000, None, 5]) == ["$0.0000", "$0.0029", "unknown", "<$0.0001"]
    assert exact_usd_column([8_088_889_000, 10**10]) == ["$0.008088889", "$0.010000000"]
    assert rough_usd_column([3 * 10**12, 10**13]) == ["$3.00", "$10.00"]
    assert rough_usd_column([]) == []


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (712, "712 B"), (4096, "4.1 KB"), (12 * 10**6, "12.0 MB")]
)
def test_i17_a_small_size_is_not_nothing(count, shown):
    assert format_bytes(count) == shown


def test_i17_one_answer_is_no_answers():
    assert [count_of(number, "answer") for number in (0, 1, 2000)] == [
        "0 answers",
        "1 answer",
        "2,000 answers",
    ]


def test_i17_a_watch_ends_with_its_key(monkeypatch):
    ours, theirs = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(theirs, "r"))
    with read_keys() as wait_for_key:
        os.write(ours, b"xQ")
        assert wait_for_key("q", 5.0)
        os.write(ours, b"x")
        assert not wait_for_key("q", 0.01)
    sys.stdin.close()
    os.close(ours)


def test_where_there_is_no_keyboard_a_watch_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with read_keys() as wait_for_key:
        assert not wait_for_key("q", 0.0)
