"""--deadline holds while a prompt is waited for: by exit code 7 and with a receipt, and nobody is asked."""

import os
import subprocess

import pytest
from program import OPENAI, PROCESS_TIMEOUT, build_config


@pytest.fixture
def llmfail(simulator, configure):
    return configure(build_config(simulator, OPENAI))


def run_with_open_input(llmfail, *arguments):
    """What becomes of it while somebody holds its standard input open."""
    with llmfail.start(*arguments, stdin=subprocess.PIPE) as process:
        try:
            process.wait(PROCESS_TIMEOUT)
            return process.returncode, process.stdout.read(), process.stderr.read().decode()
        finally:
            process.kill()


@pytest.mark.parametrize("command", ["ask", "embed"])
def test_c6_the_deadline_holds_while_standard_input_is_waited_for(llmfail, simulator, command):
    code, out, err = run_with_open_input(llmfail, command, "Say hello", "--deadline", "0.5")
    assert (code, out) == (7, b"")
    assert err == "llmfail: the deadline passed while standard input, or a file to read, was waited for\n"
    assert simulator.count() == 0


def test_c6_quiet_or_not_the_receipt_says_so(llmfail):
    ended = run_with_open_input(llmfail.before_that("-q"), "ask", "-", "--deadline", "0.5", "--json")
    assert ended[0] == 7
    assert b'"kind": "deadline"' in ended[1]


def test_c6_a_pipe_that_is_attached_is_waited_for_no_longer(llmfail):
    pipe = llmfail.directory / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    ended = llmfail("ask", "Say hello", "-a", str(pipe), "--deadline", "0.5")
    os.close(writer)
    assert (ended.code, ended.out) == (7, b"")


def test_what_reading_took_is_gone_from_the_deadline_and_the_rest_is_there(llmfail):
    with llmfail.start("ask", "Say hello", "--deadline", "60", stdin=subprocess.PIPE) as process:
        process.stdin.write(b"and good night")
        ended = process.communicate(timeout=PROCESS_TIMEOUT)
    assert process.returncode == 0
    assert b"good night" in ended[0]
