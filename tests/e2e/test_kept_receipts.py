"""What is kept of an ask for later: its receipt, and not what was said."""

import json

import pytest
from program import ANTHROPIC, OPENAI

from llmfail.simulator import parse_faults

PROMPT = "A question that is nobody's business"


@pytest.fixture
def asked(llmfail, simulator):
    """The receipts of one ask that went well, and of a later one that nobody answered."""
    receipts = [llmfail("ask", PROMPT, "--json").document]
    simulator.set_faults(parse_faults("all=503"))
    return [*receipts, llmfail("ask", PROMPT, "--json").document]


def test_the_log_has_every_receipt_the_newest_first(llmfail, asked):
    ended = llmfail("log", "--json")
    entries = [json.loads(line) for line in ended.out.splitlines()]
    assert (ended.code, ended.err) == (0, "")
    assert [entry["id"] for entry in entries] == [receipt["id"] for receipt in reversed(asked)]
    assert [entry["trail"] for entry in entries] == [receipt["trail"] for receipt in reversed(asked)]


def test_one_entry_tells_every_step(llmfail, asked):
    ended = llmfail("log", asked[1]["id"])
    assert ended.code == 0
    assert OPENAI in ended.out.decode()
    assert ANTHROPIC in ended.out.decode()


def test_the_log_can_be_asked_for_failures_only(llmfail, asked):
    ended = llmfail("log", "--failed", "--json")
    assert [json.loads(line)["id"] for line in ended.out.splitlines()] == [asked[1]["id"]]


@pytest.mark.disk
def test_a_prompt_is_not_kept_unless_the_configuration_says_so(llmfail, simulator, asked, state):
    def kept():
        return b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())

    assert PROMPT.encode() not in kept()
    assert llmfail.with_environ(LLMFAIL_PRIVACY__LOG_PROMPTS="true")("ask", PROMPT).code == 3
    assert PROMPT.encode() in kept()


@pytest.mark.disk
def test_only_the_user_may_read_what_is_kept(asked, state):
    assert all(path.stat().st_mode & 0o077 == 0 for path in [state, *state.rglob("*")])
