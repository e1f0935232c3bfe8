"""The first command of somebody who has no key and no configuration, and the fire drill."""

import pytest
from program import ANTHROPIC, OPENAI, Program, build_config

from llmfail.simulator import parse_faults


@pytest.fixture
def fresh(here):
    """The program as it is after installation."""
    return Program(here, {})


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_it_answers_although_a_provider_is_down(fresh, state, here, tmp_path):
    ended = fresh("ask", "Say hello", "--drill", "anthropic=503")
    assert ended.code == 0
    assert ended.out.startswith(b"Hello from ")
    assert ended.out.count(b"\n") == 1
    assert any("anthropic/" in line and "failed" in line and "503" in line for line in ended.lines)
    assert any("answered" in line for line in ended.lines)
    assert not contents(here)
    assert not state.exists() or not contents(state)
    assert not contents(tmp_path / "home")


def test_a_healthy_day_is_answered_by_the_primary(fresh):
    ended = fresh("ask", "Say hello", "--drill", "none")
    assert (ended.code, ended.err) == (0, "")
    assert b"anthropic/" in ended.out


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("500", "server_error"),
        ("429:30", "rate_limited"),
        ("quota", "quota"),
        ("billing", "billing"),
        ("auth", "auth"),
        ("cut", "malformed"),
        ("garbage", "malformed"),
        ("empty", "malformed"),
        ("refuse", "network"),
    ],
)
def test_every_fault_can_be_rehearsed(fresh, fault, outcome):
    ended = fresh.ask("--drill", f"anthropic={fault}")
    assert ended.code == 0
    first, *_ = ended.document["trail"]
    assert (first["target"].split("/")[0], first["outcome"]) == ("anthropic", outcome)
    assert ended.document["tier"] == 2


def test_a_fault_for_the_first_calls_is_over_after_them(fresh):
    ended = fresh.ask("--drill", "all=503x1")
    assert ended.code == 0
    assert [outcome for _, _, outcome in ended.trail][-1] == "ok"


def test_nobody_left_is_exit_code_3(fresh):
    ended = fresh.ask("--drill", "all=503")
    assert ended.code == 3
    assert ended.document["error"]["kind"] == "unavailable"


@pytest.mark.parametrize(
    ("faults", "hint"),
    [
        ("anthropic=bilingl", "billing"),
        ("antropic=503", "anthropic"),
        ("anthropic", "NAME=FAULT"),
        ("", "NAME"),
    ],
)
def test_a_fault_that_cannot_be_read_is_told(fresh, faults, hint):
    ended = fresh("ask", "Say hello", "--drill", faults)
    assert (ended.code, ended.out) == (2, b"")
    assert hint in ended.err


class TestOwnConfiguration:
    @pytest.fixture
    def llmfail(self, simulator, configure):
        return configure(build_config(simulator, OPENAI, ANTHROPIC))

    def test_a_rehearsal_meets_no_provider_and_records_nothing(self, llmfail, simulator, state):
        simulator.set_faults(parse_faults("openai=429:300"))
        llmfail.ask()
        before, connections = llmfail.status(), simulator.count_connections()
        ended = llmfail.ask("--drill", "anthropic=503")
        assert ended.trail == [(OPENAI, "called", "ok")]
        assert simulator.count_connections() == connections
        assert llmfail.status()["routing"] == before["routing"]
        assert llmfail.status(OPENAI)["state"] == "open"

    def test_no_key_is_needed_for_it(self, llmfail):
        ended = llmfail.without("OPENAI_API_KEY", "ANTHROPIC_API_KEY").ask("--drill", "openai=503")
        assert ended.trail == [(OPENAI, "called", "overloaded"), (ANTHROPIC, "called", "ok")]

    def test_the_storyboard_ends_with_a_verdict(self, llmfail, simulator):
        ended = llmfail("drill", "--json")
        assert ended.code == 0
        assert ended.document
        assert simulator.count_connections() == 0


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["status", "--help"], ["--version"]])
def test_help_costs_no_state(fresh, state, arguments):
    ended = fresh(*arguments)
    assert (ended.code, ended.err) == (0, "")
    assert b"llmfail" in ended.out
    assert not state.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["status", "--json"],
        ["status"],
        ["plan", "Say hello", "--json"],
        ["log", "--json"],
        ["config", "show"],
    ],
)
def test_every_report_works_before_anything_has_happened(fresh, command):
    ended = fresh(*command)
    assert (ended.code, ended.err) == (0, "")
