"""What a person sees who sits in front of a terminal."""

import re
import signal
import threading

import pytest
from program import OPENAI, PROCESS_TIMEOUT, finish

from llmfail.core.model import Reply
from llmfail.simulator import parse_faults

HOSTILE = "\x1b[2J\x1b]0;title\x07\x1b]52;c;cm0gLXJm\x07\x9b31mred\x08\x08\x08bad\rover"


@pytest.fixture
def llmfail(llmfail):
    return llmfail.with_environ(TERM="xterm-256color")


def test_the_answer_is_piped_clean_while_a_line_for_people_stands_on_the_terminal(llmfail, simulator, errors):
    simulator.set_faults(parse_faults("openai=503"))
    with llmfail.start("ask", "Say hello", stderr=errors.fd) as process:
        ended = finish(process)
    assert ended.code == 0
    assert b"\x1b" not in ended.out
    assert ended.out.endswith(b" heard: Say hello\n")
    assert f"{OPENAI} failed" in errors.text
    assert "answered" in errors.text


def test_something_is_to_be_seen_while_the_call_is_under_way(llmfail, simulator, errors):
    well = threading.Event()
    simulator.set_answer(lambda _seen: "Hello" if well.wait(PROCESS_TIMEOUT) else "late")
    with llmfail.start("ask", "Say hello", stderr=errors.fd) as process:
        errors.wait_for("asking")
        assert process.poll() is None
        well.set()
        ended = finish(process)
    assert (ended.code, ended.out) == (0, b"Hello\n")


def test_quiet_is_quiet_on_a_terminal_too(llmfail, errors):
    with llmfail.before_that("-q").start("ask", "Say hello", stderr=errors.fd) as process:
        assert finish(process).code == 0
    assert errors.text == ""


def test_an_answer_on_a_terminal_is_the_answer(llmfail, screen):
    with llmfail.start("ask", "Say hello", stdout=screen.fd) as process:
        ended = finish(process)
    assert (ended.code, ended.err) == (0, "")
    assert screen.text == f"{OPENAI} heard: Say hello\n"


def test_a_terminal_does_not_obey_an_answer(llmfail, simulator, screen):
    simulator.set_answer(lambda _seen: f"before{HOSTILE}after\n\tindented 你好")
    with llmfail.start("ask", "Say hello", stdout=screen.fd) as process:
        assert finish(process).code == 0
    shown = screen.text
    assert not set(shown) & set("\x1b\x07\x08\r\x9b")
    assert shown.startswith("before")
    assert shown.endswith("after\n\tindented 你好\n")


def test_a_pipe_gets_the_same_answer_as_it_is(llmfail, simulator):
    simulator.set_answer(lambda _seen: f"before{HOSTILE}after")
    assert llmfail("ask", "Say hello").out == f"before{HOSTILE}after\n".encode()


@pytest.mark.parametrize("flags", [[], ["-vv"]])
def test_a_terminal_does_not_obey_an_error(llmfail, errors, flags):
    """Here with the name of a file in it."""
    with llmfail.before_that(*flags).start(
        "ask", "Hello", "-a", f"{HOSTILE}.png", stderr=errors.fd
    ) as process:
        assert finish(process).code == 2
    # The colours at the beginning of a line are our own.
    said = re.sub(r"\x1b\[31m(llmfail:)\x1b\[0m", r"\1", errors.text)
    assert not set(said) & set("\x1b\x07\x08\x9b")


@pytest.mark.parametrize("command", [["status"], ["log"], ["log", "0"], ["plan", "Say hello"]])
def test_a_table_on_a_terminal_does_not_obey_what_a_provider_said(llmfail, simulator, screen, command):
    body = b'{"error": {"message": "\\u001b[2J\\u001b]0;title\\u0007 [red]", "type": "server_error"}}'
    simulator.set_answer(lambda _seen: Reply(500, {"content-type": "application/json"}, body))
    assert llmfail.ask().code == 3
    with llmfail.start(*command, stdout=screen.fd) as process:
        assert finish(process).code == 0
    assert screen.text.strip()
    assert "\x1b[2J" not in screen.text
    assert "\x1b]0" not in screen.text


def test_without_a_prompt_at_a_terminal_nobody_waits_for_one(llmfail, simulator, screen):
    with llmfail.start("ask", stdin=screen.fd) as process:
        ended = finish(process)
    assert ended.code == 2
    assert "prompt" in ended.err
    assert simulator.count_connections() == 0


def test_with_a_prompt_a_terminal_is_not_read(llmfail, screen):
    with llmfail.start("ask", "Say hello", stdin=screen.fd) as process:
        ended = finish(process)
    assert (ended.code, ended.out) == (0, f"{OPENAI} heard: Say hello\n".encode())


def test_a_watched_status_ends_with_ctrl_c(llmfail, screen):
    with llmfail.start("status", "--watch", stdout=screen.fd) as process:
        screen.wait_for("openai")
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    assert ended.code == 130
    assert "Traceback" not in ended.err
