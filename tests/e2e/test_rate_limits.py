"""Rate limits over many processes: what reaches the provider in a minute, and who waits for how long."""

import time
from itertools import pairwise

import pytest
from program import ANTHROPIC, OPENAI, build_config, run_at_once

LIMIT = {"requests_per_minute": 10}


def limited(simulator, *chain, deadline=120, **limits):
    document = build_config(simulator, *(chain or (OPENAI,)), defaults={"retries": 0, "deadline": deadline})
    document["providers"]["openai"]["limits"] = limits or LIMIT
    return document


@pytest.fixture
def arrivals(simulator):
    """When each request to the limited provider came."""
    moments = []

    def answer(seen):
        if seen.provider == "openai":
            moments.append(time.monotonic())
        return "done"

    simulator.set_answer(answer)
    return moments


def test_of_40_processes_only_those_go_that_the_limit_lets_through_and_nobody_waits_too_long(
    simulator, configure, arrivals
):
    llmfail = configure(limited(simulator, deadline=30))
    started = time.monotonic()
    ended = run_at_once(llmfail, 40, "ask", "--json")
    assert time.monotonic() - started < 45
    codes = sorted(one.code for one in ended)
    assert set(codes) == {0, 3}
    assert 2 <= codes.count(0) <= 4
    assert simulator.count("openai") == codes.count(0)
    assert all(later - earlier > 5 for earlier, later in pairwise(arrivals))
    refused = next(one for one in ended if one.code == 3)
    assert refused.trail == [(OPENAI, "skipped", "rate_limited_here")]
    assert refused.document["retry_at"] is not None


def test_with_somebody_else_to_ask_nobody_waits(simulator, configure):
    ended = run_at_once(configure(limited(simulator, OPENAI, ANTHROPIC)), 6, "ask", "--json")
    assert [one.code for one in ended] == [0] * 6
    assert simulator.count("openai") == 1
    assert simulator.count("anthropic") == 5


@pytest.mark.stores
def test_a_declared_burst_goes_at_once(simulator, configure):
    llmfail = configure(limited(simulator, OPENAI, ANTHROPIC, **LIMIT, burst=4))
    run_at_once(llmfail, 6, "ask", "--json")
    assert simulator.count("openai") == 4


@pytest.mark.stores
def test_a_limit_on_tokens_counts_what_the_answers_took(simulator, configure):
    llmfail = configure(limited(simulator, OPENAI, ANTHROPIC, tokens_per_minute=100))
    assert llmfail.ask("--max-tokens", "50").document["target"] == OPENAI
    assert llmfail.ask("--max-tokens", "50").document["target"] == ANTHROPIC
