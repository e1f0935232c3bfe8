"""Many processes on one Redis: no more is asked than is allowed, no cost is lost, contention is no outage."""

import asyncio
import threading
import time
from decimal import Decimal

import pytest
from ask_processes import AskProcesses, add_up, ask_at_once, list_warnings, sum_costs
from lossy_proxy import LossyProxy
from redis_servers import wait_until

from llmfail import AsyncClient, Client
from llmfail.simulator import parse_faults

CONFIG = """\
version: 1
store: {store}
store_timeout: {timeout}
timezone: UTC
defaults: {{retries: 0, timeout: 30s, max_tokens: 200}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-1}}
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
models:
  anthropic/claude-x: {{price: {{input: 0, output: 0}}}}
  openai/gpt-6.1-terra: {{price: {{input: 0, output: {price}}}}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [{fallbacks}], cache: {{enabled: false}}}}
budgets: [{{name: daily, limit: {limit}, per: day}}]
breaker: {breaker}
"""
OPENAI, ANTHROPIC = "openai/gpt-6.1-terra", "anthropic/claude-x"
WORST_CASE = Decimal("0.10")
AWAY_SECONDS = 3.0
BACK_SECONDS = 4.0
"""A server that works again is in use after a second; a loaded machine may take longer."""
CROWD, CROWD_SECONDS = 24, 3.0


@pytest.fixture
def configure(tmp_path, simulator):
    def configure(store, limit=1000, timeout="2s", price=500, fallbacks="", breaker="{}"):
        sections = locals() | {name: simulator.base_url(name) for name in ("anthropic", "openai")}
        file = tmp_path / "llmfail.yaml"
        file.write_text(CONFIG.format(**sections))
        return file

    return configure


def read_budget(client):
    return client.status().to_json()["budgets"][0]


def check_books(config, cost, most_held=0):
    with Client(config) as client:
        budget = read_budget(client)
    assert Decimal(budget["spent_usd"]) == cost
    assert Decimal(budget["held_usd"]) <= most_held


def test_p0_3_asks_whose_replies_are_lost_are_paid_once_and_hold_nothing(
    configure, simulator, redis_server, redis_url
):
    with LossyProxy(redis_server.port, lose_every=3) as proxy:
        reports = ask_at_once(configure(proxy.url, timeout="10s"), 4, asks=50)
        assert proxy.lost > 100
    assert add_up(reports, "answered") == {OPENAI: 200}
    assert not add_up(reports, "failed")
    assert not list_warnings(reports)
    check_books(configure(redis_url), sum_costs(reports))


@pytest.fixture
def hold_answers(simulator):
    """Nothing of that provider is answered before ``release`` is called."""
    gate = threading.Event()

    def hold(provider):
        simulator.set_answer(lambda seen: (seen.provider != provider or gate.wait()) and "an answer")
        return gate

    yield hold
    gate.set()


@pytest.mark.parametrize("price", [500, 1_000_000], ids=["small", "above 9,007 dollars"])
def test_p0_4_of_100_processes_at_once_exactly_as_many_call_as_the_budget_has_room_for(
    configure, simulator, hold_answers, redis_url, price
):
    limit = 50 * WORST_CASE * price / 500
    config = configure(redis_url, limit, price=price, timeout="10s")
    gate = hold_answers("openai")
    with AskProcesses(config, 100, asks=1) as processes, Client(config) as client:
        processes.release()
        reports = processes.read_reports(50)
        seen = [read_budget(client)]
        gate.set()
        for _ in range(50):
            reports += processes.read_reports(1)
            seen.append(read_budget(client))
    assert all(Decimal(one["spent_usd"]) + Decimal(one["held_usd"]) <= limit for one in seen)
    assert add_up(reports, "answered") == {OPENAI: 50}
    assert add_up(reports, "failed") == {"over_budget": 50}
    assert not list_warnings(reports)
    check_books(config, sum_costs(reports))


def test_p0_4_of_60_processes_at_a_half_open_circuit_exactly_as_many_try_as_may(
    configure, simulator, hold_answers, redis_url
):
    breaker = "{failure_threshold: 1, recovery_timeout: 0.1s, half_open_limit: 3, success_threshold: 3}"
    config = configure(redis_url, timeout="10s", fallbacks=ANTHROPIC, breaker=breaker)
    with Client(config) as client:
        simulator.set_faults(parse_faults("openai=503"))
        assert str(client.ask("hi").target) == ANTHROPIC
        simulator.set_faults(parse_faults("none"))
        gate = hold_answers("openai")
        with AskProcesses(config, 60, asks=1) as processes:
            wait_until(lambda: client.status().to_json()["providers"][OPENAI]["state"] == "half_open")
            processes.release()
            wait_until(lambda: simulator.count("anthropic") == 1 + 57)
            gate.set()
            reports = processes.read_reports()
        assert simulator.count("openai") == 1 + 3
        assert add_up(reports, "answered") == {OPENAI: 3, ANTHROPIC: 57}
        assert client.status().to_json()["providers"][OPENAI]["state"] == "closed"


def test_p0_7_processes_whose_server_stops_for_a_while_print_all_that_is_paid_and_refuse_only_meanwhile(
    configure, redis_server, redis_url
):
    config = configure(redis_url, timeout="0.3s")
    with AskProcesses(config, 8, seconds=AWAY_SECONDS + 4) as processes:
        processes.release()
        time.sleep(0.5)
        stopped_at = time.monotonic()
        redis_server.freeze()
        time.sleep(AWAY_SECONDS)
        redis_server.thaw()
        back_at = time.monotonic()
        reports = processes.read_reports()
    assert set(add_up(reports, "failed")) == {"over_budget"}
    for one in reports:
        assert stopped_at <= one["refused_from"][0]
        assert one["refused_until"][0] <= back_at + BACK_SECONDS
        assert len(one["warnings"]) == 2, one["warnings"]
        assert one["warnings"][1] == "the redis store can be used again"
    # Who gave up waiting for an admission that was made does not know of it: it ends with its lease.
    check_books(config, sum_costs(reports), most_held=8 * WORST_CASE)


def test_p1_15_an_event_loop_goes_round_while_its_store_takes_its_time(configure, redis_server, redis_url):
    threads, rounds = set(), 0

    async def count_rounds():
        nonlocal rounds
        while True:
            await asyncio.sleep(0.01)
            rounds += 1

    async def ask():
        async with AsyncClient(config, warn=pytest.fail) as client:
            server = client._store._store.server
            run_script = server.run_script
            server.run_script = lambda *how: threads.add(threading.get_ident()) or run_script(*how)
            counting = asyncio.create_task(count_rounds())
            receipts = await asyncio.gather(*(client.ask("hi") for _ in range(200)))
            counting.cancel()
            return receipts

    with LossyProxy(redis_server.port, delay=0.2) as proxy:
        config = configure(proxy.url, 1_000_000, timeout="10s")
        receipts = asyncio.run(ask())
    assert threading.get_ident() not in threads
    assert rounds > 20
    check_books(configure(redis_url), sum(one.cost_usd for one in receipts))


def test_p0_9_many_processes_on_one_budget_are_no_outage(configure, redis_url):
    config = configure(redis_url, 1_000_000)
    reports = ask_at_once(config, CROWD, seconds=CROWD_SECONDS)
    assert not add_up(reports, "failed")
    assert not list_warnings(reports)
    assert all(one["answered"] for one in reports)
    check_books(config, sum_costs(reports))
