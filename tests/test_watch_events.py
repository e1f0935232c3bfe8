"""What listeners are told, over real HTTP and over processes: each thing once, in its order."""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal

import pytest

import llmfail
from llmfail import (
    AsyncClient,
    AttemptEnded,
    BudgetCrossed,
    CircuitChanged,
    Client,
    CredentialDisabled,
    Degraded,
    FellBack,
    OverBudget,
    TargetSkipped,
    Unavailable,
)
from llmfail.core.admission.circuit import Circuit
from llmfail.core.records.record import load_or_default
from llmfail.core.reports.watch_event import WatchEvent, describe_event, event_to_json, severity_of
from llmfail.simulator import parse_faults

A, B = "openai/gpt-6.1-terra", "anthropic/claude-sonnet-5-5"
CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 0s, success_threshold: 1}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 1, output: 100}}}}
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
  degrading: {{primary: openai/gpt-6.1-terra, degrade: [{{text: "nothing today"}}]}}
"""


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("openai", "anthropic")}))
    return file


def short(event):  # noqa: PLR0911 - a line an event
    """Its name and what matters of it."""
    match event:
        case AttemptEnded():
            return ("attempt", event.target, event.outcome, event.status)
        case TargetSkipped():
            return ("skipped", event.target, event.reason)
        case FellBack():
            return ("fell back", event.target, event.primary, event.outcome, event.tier)
        case CircuitChanged():
            return ("circuit", event.target, event.old, event.new)
        case Degraded():
            return ("degraded", event.feature, event.source)
        case CredentialDisabled():
            return ("credential", event.target, event.scope)
        case BudgetCrossed():
            return ("budget", event.budget, event.mark)


FAILED = ("attempt", A, "overloaded", 503)
ANSWERED = ("attempt", B, "ok", 200)
INSTEAD = ("fell back", B, A, "overloaded", 2)
OUTAGE = [
    *[FAILED, ANSWERED, INSTEAD],
    *[FAILED, ("circuit", A, "closed", "open"), ANSWERED, INSTEAD],
    *[("circuit", A, "open", "half_open"), FAILED, ("circuit", A, "half_open", "open"), ANSWERED, INSTEAD],
    *[("circuit", A, "open", "half_open"), ("attempt", A, "ok", 200), ("circuit", A, "half_open", "closed")],
]
"""Three asks while the primary is down, one when it is back."""


def ask_blocking(config, simulator, told):
    with Client(config, on_event=told) as llm:
        simulator.set_faults(parse_faults("openai=503"))
        for _ in range(3):
            llm.ask("hi")
        simulator.set_faults(parse_faults("none"))
        llm.ask("hi")


def ask_in_asyncio(config, simulator, told):
    async def play():
        async with AsyncClient(config, on_event=told) as llm:
            simulator.set_faults(parse_faults("openai=503"))
            for _ in range(3):
                await llm.ask("hi")
            simulator.set_faults(parse_faults("none"))
            await llm.ask("hi")

    asyncio.run(play())


FACES = {"blocking": ask_blocking, "asyncio": ask_in_asyncio}


@pytest.mark.parametrize("face", FACES)
def test_j2_an_outage_is_told_event_by_event_in_its_order(config, simulator, face):
    told = []
    FACES[face](config, simulator, told.append)
    assert [short(event) for event in told] == OUTAGE
    assert [event.at for event in told] == sorted(event.at for event in told)
    opened = next(event for event in told if isinstance(event, CircuitChanged))
    assert "overloaded" in opened.why
    assert "failures: 2" in opened.why


@pytest.mark.parametrize("face", FACES)
def test_the_logger_says_the_same(config, simulator, caplog, face):
    told = []
    with caplog.at_level(logging.DEBUG, logger="llmfail"):
        FACES[face](config, simulator, told.append)
    said = [record for record in caplog.records if record.name == "llmfail"]
    assert [record.event for record in said] == told
    assert [record.getMessage() for record in said] == [describe_event(event) for event in told]
    assert {record.levelname for record in said} == {severity_of(event).upper() for event in told}


def test_what_a_listener_raises_is_logged_and_changes_nothing(config, simulator, caplog):
    def raises(_event):
        raise RuntimeError("the listener's own mistake")

    with Client(config, on_event=raises) as llm:
        assert llm.ask("hi").ok
    assert "the listener's own mistake" in caplog.text


def test_skips_credentials_and_degraded_answers_are_told(config, simulator):
    told = []
    with Client(config, on_event=told.append) as llm:
        simulator.set_faults(parse_faults("openai=401"))
        llm.ask("hi")
        llm.ask("hi")
        llm.ask("hi", feature="degrading")
    assert [short(event) for event in told] == [
        ("attempt", A, "auth", 401),
        ("credential", A, "credential"),
        ANSWERED,
        ("fell back", B, A, "auth", 2),
        ("skipped", A, "disabled"),
        ANSWERED,
        ("fell back", B, A, "disabled", 2),
        ("skipped", A, "disabled"),
        ("degraded", "degrading", "text"),
    ]


def test_what_an_operator_does_to_a_circuit_is_told(config):
    told = []
    with Client(config, on_event=told.append) as llm:
        llm.trip(A, 30)
        llm.reset(A)
        llm.reset(A)
    assert [short(event) for event in told] == [
        ("circuit", A, "closed", "forced_open"),
        ("circuit", A, "forced_open", "closed"),
    ]
    assert {event.why for event in told} == {"by the operator"}


def test_a_pause_is_told_with_its_end_and_a_reset_of_it_too(config, simulator):
    told = []
    with Client(config, on_event=told.append) as llm:
        simulator.set_faults(parse_faults("openai=429:30"))
        llm.ask("hi")
        llm.reset(A)
    changes = [event for event in told if isinstance(event, CircuitChanged)]
    assert [short(event) for event in changes] == [
        ("circuit", A, "closed", "paused"),
        ("circuit", A, "paused", "closed"),
    ]
    assert 20 < changes[0].until - changes[0].at <= 31
    assert changes[0].why.startswith("rate_limited")


def test_each_mark_of_a_budget_is_told_once(config):
    config.write_text(
        config.read_text()
        + "budgets: [{name: daily, limit: 0.03, per: day, alert_at: 0.2, downgrade_at: 0.4}]\n"
    )
    told = []
    with Client(config, on_event=told.append) as llm:
        spent = Decimal(0)
        while spent < Decimal("0.015"):
            spent += llm.ask("tell me more " * 20, no_fallback=True).cost_usd
    marks = [event for event in told if isinstance(event, BudgetCrossed)]
    assert [event.mark for event in marks] == ["alert", "downgrade"]
    assert all((event.budget, event.unit) == ("daily", "usd") for event in marks)
    assert {event.limit for event in marks} == {Decimal("0.03")}
    assert marks[0].spent < marks[1].spent <= spent


@pytest.mark.parametrize("unit", ["usd", "requests"])
def test_that_a_budget_begins_to_refuse_is_told_once_and_is_an_alert(config, unit):
    """In dollars it refuses while something is left, so that its limit is never crossed."""
    limit = 0.011 if unit == "usd" else 2
    config.write_text(
        config.read_text() + f"budgets: [{{name: daily, limit: {limit}, unit: {unit}, per: day}}]\n"
    )
    told = []
    with Client(config, on_event=told.append) as llm:
        codes = []
        for _ in range(4):
            with contextlib.suppress(OverBudget):
                codes.append(llm.ask("hi", no_fallback=True).tier)
        alerts = {one.name: one for one in llm.status().alerts}
    marks = [event.mark for event in told if isinstance(event, BudgetCrossed)]
    assert codes
    assert marks == ([] if unit == "usd" else ["limit"]) + ["refused"]
    assert "calls are refused" in alerts["budget daily"].message


def test_over_20_processes_each_change_of_a_circuit_is_told_once(config, simulator):
    """Every change begins a new generation of the circuit, so as many were told as it has."""
    simulator.set_faults(parse_faults("openai=503x30"))
    ours, theirs = os.pipe()
    children = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            told = []
            with Client(config, on_event=told.append) as llm:
                for _ in range(4):
                    llm.ask("hi")
                lines = "".join(f"{e.old} {e.new}\n" for e in told if isinstance(e, CircuitChanged))
                os.write(theirs, lines.encode())
            os._exit(0)
        children.append(child)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        changes = Counter(pipe.read().splitlines())
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
    with Client(config) as llm:
        (key,) = [gate.circuit_key for gate in [llm._engine.routes[llmfail.Target.parse(A)].gate]]
        values, _ = llm._resources.state.read([key])
    assert sum(changes.values()) == load_or_default(values[key], Circuit).generation > 2
    assert changes["closed open"] >= 1


def test_ask_events_are_json_lines_on_standard_error(config, simulator):
    simulator.set_faults(parse_faults("openai=503"))
    command = [sys.executable, "-m", "llmfail", "--config", config, "-q", "ask", "hi", "--events"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["event"] for one in events] == ["attempt_ended", "attempt_ended", "fell_back"]
    assert events[0]["outcome"] == "overloaded"
    assert events[0]["at"].endswith("Z")
    assert len({one["id"] for one in events}) == 1


def test_where_nobody_listens_nothing_is_made_for_it(config):
    code = f"""import sys, llmfail
with llmfail.Client({str(config)!r}) as client:
    client.ask("Say hello")
print([name for name in sys.modules if name.endswith((".watch_event", ".event_reports", ".gate_changes"))])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_ask_without_an_answer_is_told_by_its_attempts(config, simulator):
    told = []
    simulator.set_faults(parse_faults("all=503"))
    with Client(config, on_event=told.append) as llm, pytest.raises(Unavailable):
        llm.ask("hi")
    assert [short(event) for event in told] == [FAILED, ("attempt", B, "server_error", 503)]


def test_every_event_has_a_line_a_severity_and_a_json_form():
    for kind in WatchEvent.__args__:
        fields = dict.fromkeys(kind.__struct_fields__, "x") | {"at": 0.0}
        for name in ("until", "spent", "limit", "cost_usd", "status", "latency_ms"):
            if name in fields:
                fields[name] = Decimal(1) if "usd" in name else 1
        event = kind(**fields)
        assert describe_event(event)
        assert severity_of(event) in {"debug", "info", "warning", "error"}
        assert json.dumps(event_to_json(event))
        assert event_to_json(event)["at"] == "1970-01-01T00:00:00Z"
