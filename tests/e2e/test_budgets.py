"""Budgets over many processes: what goes out, what is refused, what ``status`` says at any moment, and what
is left by a process that was killed.
"""

import json
import os
import signal
import threading
import time
from decimal import Decimal

import pytest
from program import (
    ANTHROPIC,
    OPENAI,
    ask_engine_at,
    build_config,
    finish,
    parse_time,
    start_together,
    wait_until,
)

from llmfail import Client, OverBudget
from llmfail.simulator import parse_faults

DIME = {"price": {"input": 0, "output": 100}}
"""With max_tokens 1000 a call costs at most 0.10 dollars, whatever its prompt."""
FREE = {"price": {"input": 0, "output": 0}}
THOUSAND = {"retries": 0, "max_tokens": 1000, "timeout": 60}


def budgeted(simulator, *chain, models=None, defaults=None, **sections):
    return build_config(
        simulator,
        *(chain or (OPENAI,)),
        models=models or {OPENAI: DIME},
        defaults=THOUSAND | (defaults or {}),
        **sections,
    )


def daily(limit, **fields):
    return {"name": "daily", "limit": limit, "per": "day", **fields}


def budget(llmfail, place=0):
    return llmfail.status()["budgets"][place]


def test_of_100_processes_at_once_exactly_as_many_call_as_the_budget_has_room_for(simulator, configure):
    gate = threading.Event()
    simulator.set_answer(lambda seen: gate.wait() and "done")
    llmfail = configure(budgeted(simulator, budgets=[daily(5.00)], store_timeout="30s"))
    processes = start_together(llmfail, 100, "ask", "--json")
    try:
        seen = []

        def half_are_out():
            seen.append(budget(llmfail))
            return sum(process.poll() is not None for process in processes) == 50

        wait_until(half_are_out)
        wait_until(lambda: simulator.count("openai") >= 50)  # those that were let go are on their way
        gate.set()
        while any(process.poll() is None for process in processes):
            seen.append(budget(llmfail))
        ended = [finish(process) for process in processes]
    finally:
        gate.set()
        for process in processes:
            with process:
                process.kill()
    assert sorted(one.code for one in ended) == [0] * 50 + [4] * 50
    assert simulator.count("openai") == 50
    assert all(Decimal(one["spent_usd"]) + Decimal(one["held_usd"]) <= 5 for one in seen)
    refused = next(one for one in ended if one.code == 4)
    assert refused.trail == [(OPENAI, "skipped", "over_budget")]
    assert "budget daily" in refused.document["error"]["message"]
    after = budget(llmfail)
    assert after["held_usd"] == "0"
    total = sum(Decimal(one.document["cost_usd"]) for one in ended)
    assert Decimal(after["spent_usd"]) == total > 0


@pytest.mark.stores
def test_of_100_processes_exactly_as_many_call_as_a_budget_in_requests_allows(simulator, configure):
    """Forked, so that they cost little; all ask at once."""
    calls = daily(50, unit="requests")
    llmfail = configure(budgeted(simulator, budgets=[calls], store_timeout="60s"))
    go, gate = os.pipe()
    children = [fork_ask(llmfail, go, gate) for _ in range(100)]
    os.close(gate)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(go)
    assert sorted(codes) == [0] * 50 + [4] * 50
    assert simulator.count("openai") == 50
    after = budget(llmfail)
    assert (after["spent"], after["held"], after["refusing"]) == (50, 0, True)


def fork_ask(llmfail, go, gate):
    """A process that asks as soon as the other end of the pipe is closed; its exit code."""
    child = os.fork()
    if child == 0:
        os.close(gate)
        os.read(go, 1)
        code = 0
        try:
            os.environ.update(llmfail.environ)
            with Client(llmfail.before[-1]) as llm:
                llm.ask("Say hello")
        except OverBudget:
            code = 4
        except BaseException:  # noqa: BLE001 - a child of a test
            code = 99
        os._exit(code)
    return child


@pytest.mark.disk
def test_a_killed_process_leaves_a_hold_that_ends_by_itself_and_a_line_that_says_unsettled(
    simulator, configure, state
):
    simulator.set_faults(parse_faults("openai=hang"))
    llmfail = configure(budgeted(simulator, budgets=[daily(0.15)]))
    with llmfail.start("ask", "Say hello") as process:
        assert simulator.wait_for(lambda: simulator.count("openai") == 1)
        process.kill()
    simulator.set_faults(parse_faults("none"))
    assert budget(llmfail)["held_usd"] == "0.1"
    assert llmfail.ask().code == 4
    later = time.time() + 60 + 30 + 6
    receipt = ask_engine_at(llmfail, state, later)
    assert receipt.ok
    assert [warning for warning in receipt.warnings if "1 call was never settled" in warning]
    after = budget(llmfail)
    assert (after["held_usd"], after["unsettled_calls"], after["unsettled_usd"]) == ("0", 1, "0.1")
    assert b"unsettled" in llmfail("status").out
    logged = map(json.loads, llmfail("log", "--json").out.splitlines())
    assert "unsettled" in [entry["error"]["kind"] for entry in logged if entry["error"]]


def test_a_free_primary_still_answers_when_the_budget_is_spent_and_its_paid_fallback_is_refused(
    simulator, configure
):
    models = {OPENAI: FREE, ANTHROPIC: DIME}
    llmfail = configure(budgeted(simulator, OPENAI, ANTHROPIC, models=models, budgets=[daily(0.05)]))
    assert llmfail.ask().trail == [(OPENAI, "called", "ok")]
    simulator.set_faults(parse_faults("openai=503"))
    ended = llmfail.ask()
    assert ended.code == 4
    assert ended.trail == [(OPENAI, "called", "overloaded"), (ANTHROPIC, "skipped", "over_budget")]
    assert simulator.count("anthropic") == 0


def test_what_is_spent_is_what_the_receipts_say(simulator, configure):
    llmfail = configure(
        budgeted(simulator, budgets=[daily(5), {**daily(9), "name": "total", "per": "total"}])
    )
    costs = [Decimal(llmfail.ask().document["cost_usd"]) for _ in range(3)]
    assert [Decimal(one["spent_usd"]) for one in llmfail.status()["budgets"]] == [sum(costs)] * 2
    assert parse_time(budget(llmfail)["resets_at"]) > time.time()
    assert budget(llmfail, 1)["resets_at"] is None


@pytest.mark.stores
def test_each_user_has_a_budget_of_their_own_and_the_nameless_share_one(simulator, configure):
    llmfail = configure(budgeted(simulator, budgets=[daily(0.10, each="user")]))
    assert [
        llmfail.ask("--user", "ann").code,
        llmfail.ask("--user", "bob/1 #é").code,
        llmfail.ask().code,
    ] == [0] * 3
    assert [llmfail.ask("--user", "ann").code, llmfail.ask().code] == [4, 4]
    assert "daily of ann" in llmfail("ask", "hi", "--user", "ann").err
    keys = {one["key"] for one in llmfail.status()["budgets"]}
    assert keys == {"ann", "bob/1 #é", ""}
    assert {one["each"] for one in llmfail.status()["budgets"]} == {"user"}


def test_a_user_has_so_many_calls_and_tokens_a_day_and_everybody_says_so(simulator, configure):
    calls = daily(2, name="calls", unit="requests", each="user", alert_at=0.5)
    tokens = daily(5_000, name="tokens", unit="tokens")
    document = budgeted(simulator, OPENAI, ANTHROPIC, budgets=[calls, tokens], models={OPENAI: DIME})
    llmfail = configure(document)
    simulator.set_faults(parse_faults("openai=503"))
    used = [llmfail.ask("--user", "ann").document["usage"] for _ in range(2)]
    ended = llmfail.ask("--user", "ann")
    assert (ended.code, simulator.count("anthropic")) == (4, 2)
    assert (
        "budget calls of ann 2 requests are spent out of 2 requests"
        in llmfail("ask", "x", "--user", "ann").err
    )
    assert llmfail.ask("--user", "bob").code == 0
    ann, bob, all_tokens = llmfail.status()["budgets"]
    assert [(one["key"], one["unit"], one["limit"], one["spent"]) for one in (ann, bob)] == [
        ("ann", "requests", 2, 2),
        ("bob", "requests", 2, 1),
    ]
    assert all_tokens["spent"] >= sum(one["input_tokens"] + one["output_tokens"] for one in used)
    assert all_tokens["held"] == 0
    shown = llmfail("status").out.decode()
    assert "2 requests" in shown
    assert "5,000 tokens" in shown
    metrics = llmfail("metrics").out.decode()
    assert 'llmfail_budget_spent{budget="calls",unit="requests"} 3.0' in metrics
    assert 'llmfail_budget_limit{budget="tokens",unit="tokens"} 5000.0' in metrics
    assert "llmfail_budget_limit_usd{" not in metrics


def test_a_limit_of_half_a_request_is_refused_by_config_check(simulator, configure):
    llmfail = configure(budgeted(simulator, budgets=[daily(0.5, unit="requests")]))
    checked = llmfail("config", "check")
    assert checked.code == 2
    assert "budgets[0].limit" in checked.err
    assert "a number of requests is whole" in checked.err


def test_a_price_that_nobody_knows_is_refused_under_a_budget_unless_allowed(simulator, configure):
    unknown = "openai/home-made"
    document = budgeted(simulator, unknown, budgets=[daily(5)])
    ended = configure(document).ask()
    assert ended.code == 4
    assert ended.trail == [(unknown, "skipped", "unknown_price")]
    allowed = configure(document | {"on_unknown_price": "allow"}).ask()
    assert (allowed.code, allowed.document["cost_usd"]) == (0, None)
    free = configure(budgeted(simulator, unknown)).ask()
    assert (free.code, free.document["cost_usd"]) == (0, None)


@pytest.mark.stores
def test_one_warning_per_period_and_status_has_it_too(simulator, configure):
    llmfail = configure(budgeted(simulator, budgets=[daily(0.2, alert_at=0.01)]))
    said = [llmfail.ask().err for _ in range(3)]
    assert [text.count("warning: budget daily") for text in said].count(1) == 1
    alerts = {alert["name"]: alert["level"] for alert in llmfail.status()["alerts"]}
    assert alerts["budget daily"] == "warning"


def test_a_budget_that_is_nearly_spent_puts_the_cheapest_first(simulator, configure):
    models = {OPENAI: DIME, ANTHROPIC: {"price": {"input": 0, "output": 1}}}
    document = budgeted(
        simulator, OPENAI, ANTHROPIC, models=models, budgets=[daily(5, downgrade_at=0.0000001)]
    )
    llmfail = configure(document)
    first, second = llmfail.ask().document, llmfail.ask().document
    assert (first["target"], first["tier"]) == (OPENAI, 0)
    assert (second["target"], second["tier"]) == (ANTHROPIC, 3)
    assert llmfail.ask("-m", OPENAI).document["target"] == OPENAI


@pytest.mark.parametrize(("most", "code"), [("0.0999", 4), ("0.10", 0), ("$1", 0), ("0", 4)])
def test_max_cost_refuses_what_may_cost_more(simulator, configure, most, code):
    ended = configure(budgeted(simulator)).ask("--max-cost", most)
    assert ended.code == code
    assert [entry[2] for entry in ended.trail] == ["ok" if code == 0 else "too_expensive"]


@pytest.mark.parametrize("most", ["x", "-1", "nan", "inf", "1e99", ""])
def test_a_max_cost_that_is_no_amount_is_a_usage_error(simulator, configure, most):
    ended = configure(budgeted(simulator)).ask("--max-cost", most)
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert simulator.count() == 0


def test_plan_tells_what_the_budget_would_refuse(simulator, configure):
    llmfail = configure(budgeted(simulator, budgets=[daily(0.05)]))
    [candidate] = llmfail("plan", "hi", "--json").document["candidates"]
    assert (candidate["decision"], candidate["reason"]) == ("skip", "over_budget")
    assert candidate["max_cost_usd"] == "0.1"


@pytest.mark.disk
@pytest.mark.parametrize(("policy", "code"), [("refuse", 4), ("allow", 0)])
def test_without_a_store_a_budget_refuses_unless_allowed(simulator, configure, state, policy, code):
    state.write_text("a file, not a directory")
    document = budgeted(simulator, budgets=[daily(5)], on_store_error=policy)
    ended = configure(document).ask()
    assert ended.code == code
    assert simulator.count() == (0 if code else 1)


@pytest.mark.stores
def test_of_three_budgets_the_smallest_decides_and_all_three_count(simulator, configure):
    gate = threading.Event()
    simulator.set_answer(lambda seen: gate.wait() and "done")
    weekly, each = (
        {**daily(0.3), "name": "weekly", "per": "week"},
        {**daily(9, each="target"), "name": "each"},
    )
    document = budgeted(simulator, models={OPENAI: {"price": {"input": 0, "output": 100}}})
    llmfail = configure(document | {"budgets": [daily(0.5), weekly, each]})
    processes = start_together(llmfail, 8, "ask", "--json")
    try:
        wait_until(lambda: sum(process.poll() is not None for process in processes) == 5)
        held = [one["held_usd"] for one in llmfail.status()["budgets"]]
    finally:
        gate.set()
    ended = [finish(process) for process in processes]
    assert held == ["0.3"] * 3
    assert sorted(one.code for one in ended) == [0, 0, 0, 4, 4, 4, 4, 4]
    assert len({one["spent_usd"] for one in llmfail.status()["budgets"]}) == 1


def test_a_request_that_could_not_be_sent_costs_nothing(simulator, configure, here):
    (here / "bad.txt").write_bytes(b"\xff\xfe\x00")
    llmfail = configure(budgeted(simulator, budgets=[daily(5)]))
    assert llmfail.ask("-a", "bad.txt").code == 2
    assert (budget(llmfail)["spent_usd"], budget(llmfail)["held_usd"]) == ("0", "0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_call_that_was_stopped_may_have_been_charged_and_counts_as_what_it_held(
    simulator, configure, number
):
    simulator.set_faults(parse_faults("openai=hang"))
    llmfail = configure(budgeted(simulator, budgets=[daily(5)]))
    with llmfail.start("ask", "Say hello") as process:
        assert simulator.wait_for(lambda: simulator.count("openai") == 1)
        process.send_signal(number)
        process.send_signal(number)
        assert finish(process).code == 128 + number
    assert (budget(llmfail)["spent_usd"], budget(llmfail)["held_usd"]) == ("0.1", "0")


def test_a_warning_comes_with_a_failure_too(simulator, configure):
    simulator.set_faults(parse_faults("openai=hang"))
    document = budgeted(simulator, budgets=[daily(5, alert_at=0.01)], defaults={"timeout": 0.3})
    ended = configure(document).ask()
    assert ended.code == 3
    assert "warning: budget daily" in ended.err


@pytest.mark.parametrize("user", [b"\xff", b"", b"x" * 300])
def test_a_user_that_is_no_short_text_is_a_usage_error(simulator, configure, user):
    ended = configure(budgeted(simulator)).ask("--user", os.fsdecode(user))
    assert (ended.code, len(ended.lines)) == (2, 1)
