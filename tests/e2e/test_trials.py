"""After the wait: who may try a provider that was down, and what becomes of a trial that is stopped."""

import signal
import threading
import time

import pytest
from program import (
    ANTHROPIC,
    OPENAI,
    ask_engine_at,
    build_config,
    finish,
    parse_time,
    run_at_once,
    start_together,
    wait_until,
)

from llmfail.simulator import parse_faults

TIMEOUT = 30
LEASE_MARGIN = 30
BREAKER = {
    "failure_threshold": 1,
    "recovery_timeout": "0.1s",
    "half_open_limit": 1,
    "success_threshold": 1,
}


@pytest.fixture
def recovered(simulator):
    """When it is set, the primary answers; until then whoever asks it waits."""
    well = threading.Event()

    def answer(seen):
        if seen.provider == "openai":
            well.wait()
        return f"{seen.target} heard"

    simulator.set_answer(answer)
    yield well
    well.set()


@pytest.fixture
def llmfail(simulator, configure, recovered):
    """The circuit of the primary was open, and its wait is over."""
    document = build_config(
        simulator, OPENAI, ANTHROPIC, breaker=BREAKER, defaults={"retries": 0, "timeout": TIMEOUT}
    )
    llmfail = configure(document)
    simulator.set_faults(parse_faults("openai=503"))
    assert llmfail.ask().document["target"] == ANTHROPIC
    simulator.set_faults(parse_faults("none"))
    wait_until(lambda: llmfail.status(OPENAI)["state"] == "half_open")
    return llmfail


def trials(simulator):
    """The first request to the primary was the one that failed."""
    return simulator.count("openai") - 1


def trial_under_way(llmfail, simulator, *, number=1):
    process = llmfail.start("ask", "Say hello", "--json")
    assert simulator.wait_for(lambda: trials(simulator) == number)
    return process


@pytest.mark.stores
def test_one_of_20_processes_tries_and_all_have_an_answer(llmfail, simulator, recovered):
    processes = start_together(llmfail, 20, "ask", "--json")
    try:
        wait_until(lambda: sum(process.poll() is not None for process in processes) == 19)
        assert trials(simulator) == 1
        recovered.set()
        ended = [finish(process) for process in processes]
    finally:
        for process in processes:
            with process:
                process.kill()
    assert [one.code for one in ended] == [0] * 20
    assert trials(simulator) == 1
    stories = sorted(one.trail for one in ended)
    assert (
        stories
        == [[(OPENAI, "called", "ok")]] + [[(OPENAI, "skipped", "probing"), (ANTHROPIC, "called", "ok")]] * 19
    )
    assert llmfail.status(OPENAI)["state"] == "closed"


@pytest.mark.stores
def test_c1_a_trial_that_fails_opens_the_circuit_again_for_as_long(llmfail, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    llmfail = llmfail.with_environ(LLMFAIL_BREAKER__RECOVERY_TIMEOUT="100")
    ended = run_at_once(llmfail, 5, "ask", "--json")
    assert [one.code for one in ended] == [0] * 5
    assert trials(simulator) == 1
    held = llmfail.status(OPENAI)
    assert held["state"] == "open"
    assert time.time() + 50 < parse_time(held["retry_at"]) <= time.time() + 101


@pytest.mark.disk
def test_a_trial_that_was_killed_holds_its_place_no_longer_than_its_lease(
    llmfail, simulator, state, recovered
):
    with trial_under_way(llmfail, simulator) as process:
        process.kill()
    assert llmfail.ask().trail[0] == (OPENAI, "skipped", "probing")
    recovered.set()
    ends_at = parse_time(llmfail.status(OPENAI)["retry_at"])
    assert time.time() < ends_at <= time.time() + TIMEOUT + LEASE_MARGIN + 1
    before, after = (ask_engine_at(llmfail, state, moment_) for moment_ in (ends_at - 2, ends_at))
    assert before.trail[0].outcome == "probing"
    assert [(str(entry.target), entry.outcome) for entry in after.trail] == [(OPENAI, "ok")]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_trial_that_is_stopped_gives_its_place_back_at_once(llmfail, simulator, recovered, number, code):
    with trial_under_way(llmfail, simulator) as process:
        process.send_signal(number)
        stopped = finish(process)
    assert (stopped.code, stopped.out) == (code, b"")
    assert "Traceback" not in stopped.err
    assert llmfail.status(OPENAI)["state"] == "half_open"
    recovered.set()
    assert llmfail.ask().trail == [(OPENAI, "called", "ok")]
    assert trials(simulator) == 2
    assert llmfail.status(OPENAI)["state"] == "closed"


def test_a_request_at_fault_gives_its_place_back_and_proves_nothing(llmfail, simulator):
    simulator.set_faults(parse_faults("all=400"))
    assert llmfail.ask().code == 5
    assert llmfail.status(OPENAI)["state"] == "half_open"
    assert llmfail.ask().trail[0] == (OPENAI, "called", "bad_request")


def test_a_late_answer_of_before_the_reset_counts_for_nothing(llmfail, simulator, recovered):
    with trial_under_way(llmfail, simulator) as process:
        assert llmfail("trip", "openai", "--for", "1h").code == 0
        recovered.set()
        assert finish(process).code == 0
    assert llmfail.status(OPENAI)["state"] == "forced_open"
