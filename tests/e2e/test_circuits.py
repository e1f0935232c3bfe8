"""Circuits outlive the process that saw the failures."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI, build_config, parse_time, run_at_once

from llmfail.simulator import parse_faults


@pytest.fixture
def llmfail(simulator, configure):
    return configure(build_config(simulator, OPENAI, ANTHROPIC))


def reached(simulator):
    return simulator.count("openai"), simulator.count_connections("openai")


def opened(llmfail, simulator):
    """The program with the circuit of its primary open."""
    simulator.set_faults(parse_faults("openai=503"))
    for _ in range(5):
        assert llmfail.ask().code == 0
    return llmfail


@pytest.mark.stores
def test_exactly_five_requests_reach_a_dead_primary(llmfail, simulator):
    opened(llmfail, simulator)
    assert reached(simulator) == (5, 5)
    sixth = llmfail.ask()
    assert sixth.code == 0
    assert sixth.trail == [(OPENAI, "skipped", "circuit_open"), (ANTHROPIC, "called", "ok")]
    assert reached(simulator) == (5, 5)


def test_a_primary_that_refuses_connections_opens_its_circuit_too(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=refuse"))
    outcomes = [llmfail.ask().trail[0] for _ in range(6)]
    assert outcomes == [(OPENAI, "called", "network")] * 5 + [(OPENAI, "skipped", "circuit_open")]


@pytest.mark.stores
def test_status_says_open_and_until_when(llmfail, simulator, store_kind):
    opened(llmfail, simulator)
    status = llmfail.status()
    primary = status["providers"][OPENAI]
    assert status["status"] == "degraded"
    assert primary["state"] == "open"
    assert (primary["failures"], primary["failure_threshold"]) == (5, 5)
    assert time.time() < parse_time(primary["retry_at"]) <= time.time() + 61
    assert "503" in primary["last_error"] or "overloaded" in primary["last_error"]
    assert (primary["requests"], primary["success_rate"]) == (5, 0.0)
    assert status["providers"][ANTHROPIC]["state"] == "closed"
    assert status["providers"][ANTHROPIC]["fallback_count"] == 5
    assert status["routing"]["total_requests"] == 5
    assert status["routing"]["fallback_rate"] == 1.0
    assert status["store"] == store_kind


def test_the_exit_code_of_a_check_tells_the_state(llmfail, simulator):
    assert llmfail("status", "--check").code == 0
    opened(llmfail, simulator)
    assert llmfail("status", "--check").code == 1
    assert llmfail("trip", "anthropic").code == 0
    assert llmfail("status", "--check").code == 2


def test_the_plan_and_the_log_tell_of_it_and_send_nothing(llmfail, simulator):
    opened(llmfail, simulator)
    before = simulator.count_connections()
    plan = llmfail("plan", "Say hello", "--json").document
    assert [(one["target"], one["decision"], one["reason"]) for one in plan["candidates"]] == [
        (OPENAI, "skip", "circuit_open"),
        (ANTHROPIC, "call", None),
    ]
    assert llmfail("log").code == 0
    assert llmfail("status").code == 0
    assert simulator.count_connections() == before


@pytest.mark.stores
def test_success_in_between_starts_the_count_again(llmfail, simulator):
    for fault in ("openai=503", "none", "openai=503"):
        simulator.set_faults(parse_faults(fault))
        for _ in range(1 if fault == "none" else 4):
            assert llmfail.ask().code == 0
    assert llmfail.status(OPENAI)["state"] == "closed"
    assert llmfail.status(OPENAI)["failures"] == 4


@pytest.mark.parametrize("name", ["openai", OPENAI])
def test_reset_closes_it(llmfail, simulator, name):
    opened(llmfail, simulator)
    simulator.set_faults(parse_faults("none"))
    assert llmfail("reset", name).code == 0
    assert llmfail.status(OPENAI)["state"] == "closed"
    assert llmfail.ask().trail == [(OPENAI, "called", "ok")]


@pytest.mark.stores
def test_trip_holds_it_for_so_long(llmfail, simulator):
    ended = llmfail("trip", "openai", "--for", "30m")
    assert ended.code == 0
    assert "openai is forced open until" in ended.err
    held = llmfail.status(OPENAI)
    assert held["state"] == "forced_open"
    assert time.time() + 1700 < parse_time(held["retry_at"]) <= time.time() + 1801
    assert llmfail.ask().trail == [(OPENAI, "skipped", "held"), (ANTHROPIC, "called", "ok")]
    assert simulator.count_connections("openai") == 0


def test_trip_holds_until_a_moment(llmfail):
    until = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    assert llmfail("trip", OPENAI, "--until", until.isoformat()).code == 0
    assert abs(parse_time(llmfail.status(OPENAI)["retry_at"]) - until.timestamp()) <= 2


def test_trip_without_an_end_holds_until_reset(llmfail):
    llmfail("trip", "openai")
    held = llmfail.status(OPENAI)
    assert (held["state"], held["retry_at"]) == ("forced_open", None)
    assert llmfail("reset", "--all").code == 0
    assert llmfail.ask().trail == [(OPENAI, "called", "ok")]


@pytest.mark.parametrize("command", ["reset", "trip"])
def test_nobody_of_that_name_can_be_reset_or_tripped(llmfail, command):
    ended = llmfail(command, "opnai")
    assert ended.code == 2
    assert "openai" in ended.err


@pytest.mark.stores
def test_a_rate_limit_with_retry_after_opens_at_once_for_that_long(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=429:300"))
    first = llmfail.ask()
    assert first.trail == [(OPENAI, "called", "rate_limited"), (ANTHROPIC, "called", "ok")]
    assert first.document["trail"][0]["retry_after"] == 300
    held = llmfail.status(OPENAI)
    assert held["state"] == "open"
    assert time.time() + 200 < parse_time(held["retry_at"]) <= time.time() + 301
    assert llmfail.ask().trail[0] == (OPENAI, "skipped", "circuit_open")
    assert reached(simulator) == (1, 1)


def test_rate_limits_without_a_time_count_like_failures(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=429"))
    for _ in range(5):
        assert llmfail.ask().trail[0] == (OPENAI, "called", "rate_limited")
    assert llmfail.ask().trail[0] == (OPENAI, "skipped", "circuit_open")
    assert parse_time(llmfail.status(OPENAI)["retry_at"]) > time.time() + 61


def test_what_a_request_did_wrong_opens_nothing(llmfail, simulator):
    simulator.set_faults(parse_faults("all=400"))
    for _ in range(6):
        assert llmfail.ask().code == 5
    assert simulator.count("openai") == simulator.count("anthropic") == 6
    assert llmfail.status(OPENAI)["state"] == "closed"


def test_the_circuit_of_a_target_is_not_that_of_its_provider(simulator, configure):
    luna = "openai/gpt-6-luna"
    llmfail = configure(build_config(simulator, OPENAI, luna))
    simulator.set_faults(parse_faults(f"{OPENAI}=429:300"))
    llmfail.ask()
    assert llmfail.ask().trail == [(OPENAI, "skipped", "circuit_open"), (luna, "called", "ok")]


def test_a_feature_whose_every_circuit_is_open_says_when_to_come_back(simulator, configure):
    llmfail = configure(build_config(simulator, OPENAI, GOOGLE))
    simulator.set_faults(parse_faults("openai=429:900,google=429:300"))
    assert llmfail.ask().code == 3
    ended = llmfail.ask()
    assert ended.code == 3
    assert [outcome for _, _, outcome in ended.trail] == ["circuit_open", "circuit_open"]
    assert time.time() + 200 < parse_time(ended.document["retry_at"]) <= time.time() + 301


@pytest.mark.disk
def test_24_asks_at_once_make_the_state_directory(llmfail, simulator, state):
    simulator.set_answer(lambda seen: f"{seen.target} heard")
    assert not state.exists()
    ended = run_at_once(llmfail, 24, "ask", "--json")
    assert [one.code for one in ended] == [0] * 24
    assert all(one.document["ok"] and one.document["answer"] == f"{OPENAI} heard" for one in ended)
    assert [one.err for one in ended] == [""] * 24
    status = llmfail.status()
    assert status["routing"]["total_requests"] == 24
    assert status["providers"][OPENAI]["requests"] == 24
    assert state.stat().st_mode & 0o777 == 0o700
