"""A client of a service (``write_delay``): what it puts off is whole in the end, and decides nothing."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llmfail import AsyncClient, Client, LlmfailError, OverBudget, Unavailable
from llmfail.simulator import parse_faults

CLAUDE = "anthropic/claude-sonnet-5-5"
LONG = 600.0
CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 5s}}
cache: {{enabled: false}}
breaker: {{failure_threshold: 2, volume_threshold: 1000, recovery_timeout: 60s}}
providers:
  anthropic: {{api: anthropic, base_url: "{url}", api_key: made-up-key-1}}
features:
  default: {{primary: anthropic/claude-sonnet-5-5}}
"""
SLICES = "budget_slices: true\nbudgets: [{name: spent, limit: 100, per: total}]\n"
BUDGET = "budgets: [{name: calls, limit: 5, per: total, unit: requests}]\n"


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(url=simulator.base_url("anthropic")))
    return file


@pytest.fixture
def play(config):
    """Runs it with a client; the state that it leaves is that of the process."""

    def run(work, seconds=LONG):
        async def whole():
            async with AsyncClient(config, write_delay=seconds) as client:
                return await work(client)

        return asyncio.run(whole())

    return run


def calls_of(client):
    return sum(one.totals.requests for one in client.usage_records())


def state_of(client):
    return next(one.gate_view.state for one in client.status().targets if str(one.target) == CLAUDE)


async def ask(client):
    try:
        return await client.ask("Say hello")
    except LlmfailError as error:
        return error


def test_all_of_it_is_there_once_the_client_is_closed(config, play):
    receipts = play(lambda client: asyncio.gather(*(client.ask("Say hello") for _ in range(100))))
    with Client(config) as other:
        used = other.usage_records()
        assert sum(one.totals.requests for one in used) == 100
        assert sum(one.totals.cost for one in used) == sum(one.cost_pico_usd for one in receipts)
        assert {one["id"] for one in other.log(1000)} == {one.id for one in receipts}
        assert state_of(other) == "closed"


def test_its_own_reports_are_whole_at_any_time(play):
    async def work(client):
        await client.ask("Say hello")
        await client.ask("Say hello")
        return await client.usage_records(), await client.log(), await client.metrics()

    used, log, metrics = play(work)
    assert (sum(one.totals.requests for one in used), len(log)) == (2, 2)
    assert "llmfail_request_seconds_count 2.0" in metrics


def test_others_see_it_after_the_delay(config, play):
    async def work(client):
        await client.ask("Say hello")
        with Client(config) as other:
            while not (found := calls_of(other)):  # noqa: ASYNC110 - the other process tells nobody
                await asyncio.sleep(0.01)
            return found

    assert play(work, seconds=0.02) == 1


def test_a_failure_is_counted_behind_the_answers_before_it(config, play, simulator):
    """Two failures in a row open the circuit, and an answer was between these two."""

    async def work(client):
        for faults in ("all=500", "none", "all=500"):
            simulator.set_faults(parse_faults(faults))
            await ask(client)
        with Client(config) as other:
            return state_of(other)

    assert play(work) == "closed"


def test_a_circuit_that_its_own_calls_open_is_open_at_once(play, simulator):
    async def work(client):
        await ask(client)
        simulator.set_faults(parse_faults("all=500"))
        failed = [await ask(client) for _ in range(3)]
        return [[entry.outcome for entry in one.receipt.trail] for one in failed]

    assert play(work) == [["server_error"], ["server_error"], ["circuit_open"]]


def test_what_its_operator_does_holds_at_once(play):
    async def work(client):
        await ask(client)
        await client.trip(CLAUDE)
        tripped = await ask(client)
        await client.reset(CLAUDE)
        return tripped, await ask(client)

    tripped, after = play(work)
    assert isinstance(tripped, Unavailable)
    assert after.ok


def test_what_another_does_is_known_after_twice_the_delay(config, play):
    async def work(client):
        assert (await ask(client)).ok
        with Client(config) as other:
            other.trip(CLAUDE)
        await asyncio.sleep(0.11)
        return await ask(client)

    assert isinstance(play(work, seconds=0.05), Unavailable)


def test_an_answer_that_frees_a_credential_is_known_to_others_at_once(config, play, simulator):
    async def work(client):
        simulator.set_faults(parse_faults("all=billing"))
        await ask(client)
        simulator.set_faults(parse_faults("none"))
        with Client(config) as other:
            disabled = state_of(other)
            await client.probe(CLAUDE, force=True)
            return disabled, state_of(other)

    assert play(work) == ("disabled", "closed")


def test_a_budget_is_exact_and_known_to_others_at_once(config, play):
    config.write_text(config.read_text() + BUDGET)

    async def work(client):
        answers = await asyncio.gather(*(ask(client) for _ in range(20)))
        with Client(config) as other:
            with pytest.raises(OverBudget):
                other.ask("Say hello")
            return answers, calls_of(other)

    answers, counted = play(work)
    assert sum(not isinstance(one, OverBudget) for one in answers) == 5
    assert counted == 0
    with Client(config) as other:
        assert calls_of(other) == 5


@pytest.mark.disk
def test_who_stops_waiting_for_a_report_stops_no_write(config, play):
    """Such as a scraper that hangs up: what is held ahead of calls is given back later all the same."""
    config.write_text(config.read_text() + SLICES)

    async def work(client):
        await asyncio.gather(*(ask(client) for _ in range(3)))
        with closing(sqlite3.connect(Path(os.environ["LLMFAIL_STATE_DIR"], "state.sqlite3"))) as state:
            state.execute("begin exclusive")
            report = asyncio.create_task(client.usage())
            for _ in range(10):
                await asyncio.sleep(0)
            report.cancel()
            await asyncio.wait([report])
        async with asyncio.timeout(30):
            with Client(config) as other:
                while other.status().budgets[0].spending.held:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.05)
        return report.cancelled()

    assert play(work, seconds=0.05)
