"""What a monitor reads: exact totals over processes, names that do not multiply, text that can be parsed."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from llmfail import AsyncClient, Client, OverBudget, Target, Unavailable
from llmfail.core.admission.circuit import CircuitState
from llmfail.core.receipt import Receipt, TrailEntry
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.metric_counters import (
    AskMetrics,
    UseMetrics,
    count_ask_metrics,
    count_use_metrics,
)
from llmfail.core.reports.metric import CIRCUIT_STATES, METRICS, SECONDS_NAME
from llmfail.engine.planning.metric_labels import label_of
from llmfail.engine.reports.request_log import statistics_of
from llmfail.settings.reading.load import load as load_settings
from llmfail.simulator import parse_faults

A, B = "openai/gpt-6.1-terra", "anthropic/claude-sonnet-5-5"
CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 3, recovery_timeout: 60s}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 1, output: 100}}}}
cache: {{enabled: false}}
budgets: [{{name: daily, limit: 50, per: day}}, {{name: of-user, limit: 20, per: day, each: user}}]
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
  other: {{primary: anthropic/claude-sonnet-5-5}}
"""
PROCESSES, ASKS = 10, 15


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("openai", "anthropic")}))
    return file


def read_samples(text):
    """By name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value_of(samples, name, **labels):
    return sum(
        value
        for (sample, *its_labels), value in samples.items()
        if sample == name and labels.items() <= dict(its_labels).items()
    )


def test_totals_equal_the_receipts_and_the_usage_exactly_over_many_processes(config, simulator):
    simulator.set_faults(parse_faults("openai=503x20"))
    ours, theirs = os.pipe()
    children = []
    for number in range(PROCESSES):
        child = os.fork()
        if child == 0:
            with Client(config) as llm:
                for ask in range(ASKS):
                    receipt = llm.ask("hi", feature="other" if ask % 3 else "default", user=f"user-{number}")
                    lines = [
                        f"{receipt.feature} {receipt.tier} {receipt.cost_usd} {receipt.usage.output_tokens}"
                    ]
                    lines += [f"{entry.target} {entry.outcome}" for entry in receipt.trail]
                    os.write(theirs, "".join(f"{line}\n" for line in lines).encode())
            os._exit(0)
        children.append(child)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        lines = [line.split() for line in pipe]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES
    with Client(config) as llm:
        samples, usage = read_samples(llm.metrics()), llm.usage("target")
    asks = [line for line in lines if len(line) == 4]
    trail = Counter(tuple(line) for line in lines if len(line) == 2)
    assert value_of(samples, "llmfail_requests_total") == len(asks) == PROCESSES * ASKS
    for feature, tier in {(line[0], line[1]) for line in asks}:
        told = value_of(samples, "llmfail_requests_total", feature=feature, tier=tier)
        assert told == sum(line[:2] == [feature, tier] for line in asks)
    for (target, outcome), count in trail.items():
        name, label = ("skips", "reason") if outcome == "circuit_open" else ("attempts", "outcome")
        assert value_of(samples, f"llmfail_{name}_total", target=target, **{label: outcome}) == count
    spent = sum(Decimal(line[2]) for line in asks)
    assert value_of(samples, "llmfail_cost_usd_total") == pytest.approx(float(spent), rel=1e-12)
    assert sum(row.totals.cost for row in usage.rows) == int(spent * 10**12)
    tokens = sum(row.totals.tokens.output for row in usage.rows)
    assert (
        value_of(samples, "llmfail_tokens_total", kind="output") == tokens == sum(int(one[3]) for one in asks)
    )
    assert value_of(samples, "llmfail_request_seconds_count") == len(asks)
    assert value_of(samples, "llmfail_circuit_state", target=A) == CIRCUIT_STATES["open"]
    assert value_of(samples, "llmfail_budget_spent_usd", budget="daily") == pytest.approx(
        float(spent), rel=1e-12
    )
    assert value_of(samples, "llmfail_budget_spent_usd", budget="of-user") == pytest.approx(float(spent))
    assert not any("user-" in str(key) for key in samples)


def test_the_command_prints_what_the_client_has(config, tmp_path):
    with Client(config) as llm:
        llm.ask("hi")
        known = llm.metrics()
    command = [sys.executable, "-m", "llmfail", "--config", config, "metrics"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert read_samples(done.stdout) == read_samples(known)
    subprocess.run([*command, "-o", tmp_path / "llmfail.prom"], check=True)
    assert read_samples((tmp_path / "llmfail.prom").read_text()) == read_samples(known)


def test_failures_are_counted_by_their_kind(config, simulator):
    simulator.set_faults(parse_faults("all=503"))
    with Client(config) as llm:
        with pytest.raises(Unavailable):
            llm.ask("hi")
        with pytest.raises(OverBudget):
            llm.ask("hi", max_cost=0)
        samples = read_samples(llm.metrics())
    assert value_of(samples, "llmfail_requests_total", status="unavailable", source="none") == 1
    assert value_of(samples, "llmfail_requests_total", status="too_expensive") == 1
    assert value_of(samples, "llmfail_skips_total", reason="too_expensive") == 2


def test_ten_thousand_invented_names_make_one_series_more_for_each_label(config):
    with Client(config) as llm:
        settings = llm.settings
    counts, calls = [], []
    for number in range(10_000):
        invented = Target("openai", f"invented-{number}")
        receipt = Receipt("id", "default", trail=(TrailEntry(invented, "called", "model_not_found"),))
        counts += statistics_of(receipt, None, settings, 0.0).counts
        label = label_of(settings, invented)
        calls.append(CountedCall(ok=False, fallback=False, latency_ms=1, cost=None, target=label))
    asks = count_ask_metrics(AskMetrics(), [one.event for one in counts])
    use = count_use_metrics(UseMetrics(), calls)
    assert asks.attempts == {"other\tmodel_not_found": 10_000}
    assert use.calls == use.unpriced == {"other": 10_000}
    assert sum(asks.seconds.values()) == 10_000


def test_an_invented_name_is_no_series_of_the_circuits(config):
    config.write_text(config.read_text() + "on_unknown_price: allow\n")
    with Client(config) as llm:
        llm.ask("hi", model="openai/invented")
        text = llm.metrics()
    assert "invented" not in text
    assert value_of(read_samples(text), "llmfail_attempts_total", target="other", outcome="ok") == 1


def test_each_state_of_a_circuit_has_its_number():
    assert {str(state) for state in CircuitState} <= CIRCUIT_STATES.keys()
    assert len(set(CIRCUIT_STATES.values())) == 6


def test_names_are_those_of_one_namespace_and_end_as_prometheus_wants_it():
    names = [one.name for one in METRICS]
    assert len(names) == len(set(names))
    assert all(name.startswith("llmfail_") and not name.endswith("_total") for name in names)


def test_prometheus_client_is_imported_only_for_metrics(config):
    code = f"""import sys, llmfail
with llmfail.Client({str(config)!r}) as client:
    client.ask("Say hello")
    client.status()
    before = "prometheus_client" in sys.modules
    client.metrics()
print(before, "prometheus_client" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_both_clients_have_the_metrics(config):
    import asyncio

    async def play():
        async with AsyncClient(config) as llm:
            await llm.ask("hi")
            return await llm.metrics()

    assert value_of(read_samples(asyncio.run(play())), "llmfail_requests_total") == 1


MONITORING = sorted((Path(__file__).parents[1] / "examples" / "monitoring").iterdir())


@pytest.mark.parametrize("file", MONITORING, ids=lambda file: file.name)
def test_the_examples_name_metrics_that_exist(file):
    kinds = {one.name: one.kind for one in METRICS}
    known = {f"{name}_total" if kind == "counter" else name for name, kind in kinds.items()}
    known |= {f"{SECONDS_NAME}_{part}" for part in ("bucket", "count", "sum")}
    assert set(re.findall(r"llmfail_[a-z_]+", file.read_text())) <= known


def test_the_board_and_the_rules_can_be_read():
    by_name = {file.name: file.read_text() for file in MONITORING}
    assert len(json.loads(by_name["grafana.json"])["panels"]) == 8
    rules = yaml.safe_load(by_name["alert-rules.yaml"])["groups"][0]["rules"]
    assert all(rule["expr"] and rule["annotations"]["summary"] for rule in rules)


def test_the_example_of_alerts_is_a_configuration(tmp_path):
    text = next(file for file in MONITORING if file.name == "slack-alerts.yaml").read_text()
    (tmp_path / "llmfail.yaml").write_text(f"version: 1\n{text}")
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.example/x"}
    settings = load_settings(tmp_path / "llmfail.yaml", environ, tmp_path, tmp_path)
    assert [webhook.url is not None for webhook in settings.alerts.webhooks] == [True, False]
