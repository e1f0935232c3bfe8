"""Terminals that go away, stop, or are shown what looks odd and is not."""

import fcntl
import os
import signal
import subprocess
import termios

import pytest
from program import LLMFAIL, OPENAI, PROCESS_TIMEOUT, finish, wait_until
from scripted_streams import STALL
from stream_asks import ask_on_terminal, start_ask
from terminal import Terminal


@pytest.fixture
def waiting(streams, chained):
    """A stream that has shown something, and says no more."""
    streams.plays("openai", ["one", STALL])
    return chained(OPENAI)


def test_who_closes_the_terminal_ends_the_ask(waiting):
    with Terminal() as screen:

        def own_terminal():
            os.setsid()
            fcntl.ioctl(screen.fd, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [LLMFAIL, *map(str, waiting.before), "ask", "Say hello"],
            env=os.environ | waiting.environ,
            stdin=subprocess.DEVNULL,
            stdout=screen.fd,
            stderr=subprocess.PIPE,
            preexec_fn=own_terminal,  # noqa: PLW1509 - it makes two system calls
        )
        screen.wait_for("one")
    with process:
        assert process.wait(PROCESS_TIMEOUT) == 128 + signal.SIGHUP
        assert process.stderr.read() == b""


def test_a_stopped_terminal_keeps_no_signal_away(waiting, screen):
    with start_ask(waiting, stdout=screen.fd) as process:
        screen.wait_for("one")
        termios.tcflow(screen.fd, termios.TCOOFF)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: process.poll() is not None)
        termios.tcflow(screen.fd, termios.TCOON)
        assert finish(process).code == 128 + signal.SIGTERM


def test_a_stop_in_the_middle_of_a_line_ends_the_line(waiting, screen):
    with start_ask(waiting, stdout=screen.fd) as process:
        screen.wait_for("one")
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130
    assert screen.text == "one\n"


@pytest.mark.parametrize(
    "text",
    [
        "12\N{NO-BREAK SPACE}%",
        "1\N{NARROW NO-BREAK SPACE}000",
        "日本\N{IDEOGRAPHIC SPACE}語",
        "👩\N{ZERO WIDTH JOINER}👧",
        "می\N{ZERO WIDTH NON-JOINER}خواهم",
        "soft\N{SOFT HYPHEN}hyphen",
        "two\nlines",
    ],
)
@pytest.mark.parametrize("flags", [[], ["--no-stream"]])
def test_what_a_terminal_does_not_obey_it_shows(streams, chained, screen, text, flags):
    streams.plays("openai", [text[:3], text[3:]])
    assert ask_on_terminal(chained(OPENAI), screen, *flags).code == 0
    assert screen.text == f"{text}\n"


def test_lines_may_end_as_they_do_elsewhere(streams, chained, screen):
    streams.plays("openai", ["one\r", "\ntwo\r\n"])
    assert ask_on_terminal(chained(OPENAI), screen).code == 0
    assert screen.text == "one\ntwo\n"
