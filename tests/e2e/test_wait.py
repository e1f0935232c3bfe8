"""--wait: when every circuit is open, wait for the first trial instead of failing."""

import os
import pty
import re

import pytest
from program import ANTHROPIC, OPENAI, build_config

from llmfail.simulator import parse_faults

BREAKER = {"failure_threshold": 1, "recovery_timeout": "3s", "success_threshold": 1}


@pytest.fixture
def llmfail(simulator, configure):
    """Every circuit has just opened, and the providers are well again."""
    llmfail = configure(build_config(simulator, OPENAI, ANTHROPIC, breaker=BREAKER))
    simulator.set_faults(parse_faults("all=503"))
    assert llmfail.ask().code == 3
    simulator.set_faults(parse_faults("none"))
    return llmfail


def test_it_waits_for_the_first_trial(llmfail, simulator):
    waited = llmfail.ask("--wait", "30")
    assert (waited.code, waited.document["target"]) == (0, OPENAI)
    assert waited.trail[-1] == (OPENAI, "called", "ok")
    assert {outcome for _, _, outcome in waited.trail[:-1]} == {"circuit_open"}
    assert simulator.count() == 3


def test_it_does_not_wait_for_what_comes_too_late(simulator, configure):
    breaker = BREAKER | {"recovery_timeout": "10m"}
    llmfail = configure(build_config(simulator, OPENAI, breaker=breaker))
    simulator.set_faults(parse_faults("all=503"))
    llmfail.ask()
    asked = llmfail.ask("--wait", "60")
    assert (asked.code, simulator.count()) == (3, 1)


def test_the_ask_that_finds_the_last_circuit_open_waits_too(simulator, configure):
    llmfail = configure(build_config(simulator, OPENAI, breaker=BREAKER))
    simulator.set_faults(parse_faults("openai=503x1"))
    waited = llmfail.ask("--wait", "30s")
    assert waited.code == 0
    assert [outcome for _, _, outcome in waited.trail] == ["overloaded", "ok"]


def test_it_does_not_wait_while_somebody_could_be_asked(simulator, configure):
    """A failure that opened nothing is no reason to wait."""
    llmfail = configure(build_config(simulator, OPENAI, ANTHROPIC))
    simulator.set_faults(parse_faults("all=503"))
    asked = llmfail.ask("--wait", "1h")
    assert (asked.code, simulator.count()) == (3, 2)


def test_a_deadline_holds_over_a_wait(llmfail, simulator):
    before = simulator.count()
    asked = llmfail.ask("--wait", "30", "--deadline", "0.2")
    assert asked.code in {3, 7}
    assert simulator.count() == before


def test_a_terminal_counts_down(llmfail):
    ours, theirs = pty.openpty()
    with llmfail.start("ask", "Say hello", "--wait", "30", stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
        process.wait()
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"waiting \d s for the next try", said)


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_not_to_wait_may_be_said(llmfail):
    assert llmfail.ask("--wait", "0").code == 3


@pytest.mark.parametrize("wait", ["-1", "soon", "11y"])
def test_what_is_no_duration_is_a_usage_error(llmfail, wait):
    assert llmfail.ask("--wait", wait).code == 2
