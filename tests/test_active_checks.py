"""Probes of a watch: open targets are tried when their wait is over, by one watch, and idle ones when it is
time.
"""

import asyncio
import os

import pytest

from llmfail import Client, Target
from llmfail.core.reports.probe_choice import (
    OPEN_INTERVAL_SECONDS,
    ProbeCandidate,
    ProbeLog,
    choose_probes,
)
from llmfail.simulator import parse_faults
from llmfail.watch.watch_client import WatchClient

A = "openai/gpt-6.1-terra"
CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 0s, success_threshold: 3}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
  keyless: {{api: openai, base_url: "{openai}", api_key: "${{NOT_SET_ANYWHERE}}"}}
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5, keyless/x]}}
"""


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("openai", "anthropic")}))
    return file


def open_circuit(config, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    with Client(config) as llm:
        for _ in range(2):
            llm.ask("hi")
        assert llm.status().to_json()["providers"][A]["state"] != "closed"
    simulator.set_faults(parse_faults("none"))


def probe_due(config):
    async def play():
        async with WatchClient(config) as client:
            return await client.probe_due()

    return asyncio.run(play())


def test_probes_close_an_open_circuit_so_that_no_user_s_ask_is_a_trial(config, simulator):
    config.write_text(config.read_text() + "probe: {targets: open}\n")
    open_circuit(config, simulator)
    assert [(str(one.target), one.ok) for one in probe_due(config)] == [(A, True)] * 3
    with Client(config) as llm:
        shown = llm.status().to_json()
        assert (shown["providers"][A]["state"], shown["routing"]["total_requests"]) == ("closed", 2)
        assert llm.ask("hi").trail[0].target == Target.parse(A)
    assert probe_due(config) == ()


def test_a_trial_that_is_due_is_not_waited_for(config, simulator):
    config.write_text(config.read_text() + "probe: {targets: open}\n")
    open_circuit(config, simulator)

    async def read_wait():
        async with WatchClient(config) as client:
            return client.seconds_to_trial(await client.status())

    assert asyncio.run(read_wait()) == 0
    probe_due(config)
    assert asyncio.run(read_wait()) is None


def test_a_probe_that_fails_opens_it_again(config, simulator):
    config.write_text(config.read_text() + "probe: {targets: open}\n")
    open_circuit(config, simulator)
    simulator.set_faults(parse_faults("openai=503"))
    assert [one.ok for one in probe_due(config)] == [False]


def test_without_the_setting_nothing_is_asked(config, simulator):
    open_circuit(config, simulator)
    asked = simulator.count("openai")
    assert probe_due(config) == ()
    assert simulator.count("openai") == asked


def test_of_several_watches_one_asks_and_a_target_without_a_key_is_not_asked(config, simulator):
    config.write_text(config.read_text() + "probe: {targets: all, every: 1h}\n")
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            probe_due(config)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert (simulator.count("openai"), simulator.count("anthropic")) == (1, 1)


def test_a_probe_obeys_budgets(config, simulator):
    config.write_text(
        config.read_text() + "probe: {targets: all}\nbudgets: [{name: none, limit: 0, per: day}]\n"
    )
    assert {one.trail[0].outcome for one in probe_due(config)} <= {"over_budget", "unknown_price"}
    assert simulator.count("openai") == simulator.count("anthropic") == 0


T = Target.parse(A)


@pytest.mark.parametrize(
    ("which", "is_open", "may", "idle_for", "chosen_ago", "due"),
    [
        ("open", True, True, 0, OPEN_INTERVAL_SECONDS, True),
        ("open", True, True, 0, OPEN_INTERVAL_SECONDS - 1, False),
        ("open", True, False, 0, 1e6, False),
        ("open", False, True, 1e6, 1e6, False),
        ("idle", False, True, 300, 300, True),
        ("idle", False, True, 299, 1e6, False),
        ("idle", False, True, 1e6, 299, False),
        ("idle", True, True, 0, 10, True),
        ("all", False, True, 0, 300, True),
        ("all", False, True, 1e6, 299, False),
        ("all", False, False, 1e6, 1e6, False),
    ],
)
def test_who_is_due(which, is_open, may, idle_for, chosen_ago, due):
    now = 1e7
    candidate = ProbeCandidate(T, is_open, may, now - idle_for)
    log = ProbeLog(chosen_at={A: now - chosen_ago})
    after, chosen = choose_probes(log, [candidate], which, 300.0, now)
    assert chosen == ((T,) if due else ())
    assert after.chosen_at == ({A: now} if due else log.chosen_at)


def close_by_force(client, simulator, faults):
    simulator.set_faults(parse_faults(faults))
    before = client.status().to_json()["providers"][A]
    receipt = client.probe(A, force=True)
    after = client.status().to_json()["providers"][A]
    kept = ("state", "failures", "retry_at")
    return receipt, [before[name] for name in kept], [after[name] for name in kept]


@pytest.mark.parametrize("faults", ["none", "openai=503"])
def test_a_forced_probe_asks_an_open_target_and_leaves_its_circuit_as_it_is(config, simulator, faults):
    config.write_text(config.read_text().replace("recovery_timeout: 0s", "recovery_timeout: 60s"))
    open_circuit(config, simulator)
    with Client(config) as llm:
        assert llm.probe(A).trail[0].outcome == "circuit_open"
        receipt, before, after = close_by_force(llm, simulator, faults)
    assert (receipt.trail[0].action, receipt.ok) == ("called", faults == "none")
    assert before == after
    assert before[0] == "open"


def test_a_forced_probe_asks_what_an_operator_has_forced_open_and_a_disabled_credential(config, simulator):
    with Client(config) as llm:
        llm.trip(A, 60)
        assert llm.probe(A).trail[0].outcome == "held"
        receipt, before, after = close_by_force(llm, simulator, "none")
        assert (receipt.ok, before[0], after[0]) == (True, "forced_open", "forced_open")
        llm.reset(A)
        simulator.set_faults(parse_faults("openai=401"))
        llm.ask("hi")
        assert llm.probe(A).trail[0].outcome == "disabled"
        assert llm.probe(A, force=True).trail[0].outcome == "auth"


def test_a_forced_probe_obeys_budgets_all_the_same(config, simulator):
    config.write_text(config.read_text() + "budgets: [{name: none, limit: 0, per: day}]\n")
    with Client(config) as llm:
        assert llm.probe(A, force=True).trail[0].action == "skipped"
    assert simulator.count("openai") == 0
