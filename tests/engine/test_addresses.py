"""Whose state is it: several configurations on one state directory, over real HTTP."""

import json
import socket
import sqlite3

import pytest

from llmfail import Client, OverBudget, Unavailable
from llmfail.core.admission.circuit import Circuit, CircuitState
from llmfail.core.errors import LlmfailError
from llmfail.core.model import Target
from llmfail.core.records.record import Write, dump
from llmfail.settings.trust import trust
from llmfail.simulator import parse_faults
from llmfail.store.disk import DiskStore

KEY = "sk-made-up-0123456789abcdef"


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


@pytest.fixture
def project(tmp_path):
    """A client with a configuration of its own, on the state directory that all share."""
    opened = []

    def project(name, providers, **sections):
        document = {
            "version": 1,
            "defaults": {"retries": 0, "max_tokens": 50},
            "providers": {
                provider: {"api": "openai", "api_key": "none", "base_url": base_url}
                if isinstance(base_url, str)
                else base_url
                for provider, base_url in providers.items()
            },
            "features": {"default": {"primary": f"{next(iter(providers))}/m"}},
            "cache": {"enabled": False},
        }
        directory = tmp_path / name
        directory.mkdir()
        file = directory / "llmfail.yaml"
        file.write_text(json.dumps(document | sections))
        opened.append(Client(file, state_dir=tmp_path / "shared"))
        return opened[-1]

    yield project
    for client in opened:
        client.close()


@pytest.fixture
def stranger(tmp_path, monkeypatch, project):
    """The same, found in the current directory, and trusted by nobody."""
    opened = []

    def stranger(name, providers, **sections):
        project(name, providers, **sections)
        monkeypatch.chdir(tmp_path / name)
        opened.append(Client(state_dir=tmp_path / "shared"))
        return opened[-1]

    yield stranger
    for client in opened:
        client.close()


def fail(client, times=1):
    for _ in range(times):
        with pytest.raises(Unavailable):
            client.ask("hi")


def state_of(client, target="local/m"):
    return client.status().to_json()["providers"][target]


def test_d2_two_projects_with_one_name_at_two_ports_share_nothing(project, simulator):
    ours, theirs = project("ours", {"local": closed_port()}), project("b", {"local": simulator.base_url("x")})
    fail(ours, 5)
    assert state_of(ours)["state"] == "open"
    before = theirs.status().to_json()
    assert before["status"] == "healthy"
    assert before["routing"]["total_requests"] == 0
    assert (before["providers"]["local/m"]["requests"], before["providers"]["local/m"]["last_error"]) == (
        0,
        None,
    )
    assert theirs.ask("hi").answer
    assert (state_of(theirs)["requests"], state_of(theirs)["success_rate"]) == (1, 1.0)
    assert state_of(ours)["requests"] == 5


def test_d2_one_address_is_one_circuit_whatever_it_is_called(project, simulator):
    simulator.set_faults(parse_faults("x=503"))
    base_url = simulator.base_url("x")
    ours, theirs = project("ours", {"local": base_url}), project("theirs", {"other": base_url})
    fail(ours, 5)
    assert state_of(theirs, "other/m")["state"] == "open"
    with pytest.raises(Unavailable, match="circuit_open"):
        theirs.ask("hi")


def test_d2_operators_work_by_the_names_of_the_configuration(project, simulator):
    base_url = simulator.base_url("x")
    ours, theirs = project("ours", {"local": base_url}), project("theirs", {"other": base_url})
    assert ours.trip("local/m") == ("local/m",)
    assert state_of(theirs, "other/m")["state"] == "forced_open"
    assert theirs.reset("other") == ("other/m",)
    assert state_of(ours)["state"] == "closed"
    assert ours.trip("local") == ("local",)
    assert state_of(theirs, "other/m")["state"] == "forced_open"
    assert theirs.reset("other") == ("other",)
    assert ours.ask("hi").answer
    assert theirs.log()[0]["target"] == "local/m"


def test_d2_a_target_that_was_only_called_is_shown_where_it_was_called(project, simulator):
    ours = project("ours", {"local": simulator.base_url("x")})
    theirs = project("theirs", {"local": simulator.base_url("y")})
    ours.ask("hi", model="local/extra")
    assert "local/extra" in ours.status().to_json()["providers"]
    assert "local/extra" not in theirs.status().to_json()["providers"]
    assert ours.trip("local/extra") == ("local/extra",)
    assert ours.reset() == ("local/extra",)


def test_d2_two_names_of_one_address_are_not_paid_twice(project, simulator):
    base_url = simulator.base_url("x")
    prices = {f"{name}/m": {"price": {"input": 0, "output": 1000}} for name in ("a", "b")}
    alerts = {"cost_per_day": 0.000001}
    ours = project("ours", {"a": base_url, "b": base_url}, models=prices, alerts=alerts)
    cost = float(ours.ask("hi").cost_usd)
    [alert] = [one for one in ours.status().alerts if one.name == "cost_per_day"]
    assert alert.value == pytest.approx(cost)


def test_d2_two_accounts_at_one_host_share_the_circuit_and_not_the_quota(project, simulator):
    simulator.set_faults(parse_faults("x=quota"))
    accounts = {
        name: {"api": "openai", "base_url": simulator.base_url("x"), "api_key": f"{KEY}-{name}"}
        for name in ("a", "b")
    }
    ours = project("ours", accounts, features={"default": {"primary": "a/m"}, "other": {"primary": "b/m"}})
    fail(ours)
    assert state_of(ours, "a/m")["state"] == "disabled"
    assert state_of(ours, "b/m")["state"] == "closed"


def test_d2_two_accounts_whose_keys_are_in_headers_are_two_accounts(project, simulator):
    accounts = {
        name: {
            "api": "openai",
            "base_url": simulator.base_url("x"),
            "api_key": "none",
            "headers": {"x-account": f"{KEY}-{name}"},
        }
        for name in ("a", "b")
    }
    routes = project("ours", accounts)._engine.routes
    gates = [routes[Target(name, "m")].gate for name in ("a", "b")]
    assert gates[0].credential_key != gates[1].credential_key
    assert gates[0].circuit_key == gates[1].circuit_key


DAILY = {"name": "daily", "limit": 50, "per": "day"}


def test_d2_a_strangers_configuration_spends_nothing_of_our_budget(project, stranger, simulator):
    base_url = simulator.base_url("x")
    dear = {"evil/m": {"price": {"input": 1_000_000, "output": 1_000_000}}}
    evil = stranger("evil", {"evil": base_url}, models=dear, budgets=[DAILY | {"limit": 1_000_000}])
    evil.ask("hi")
    assert evil.status().to_json()["budgets"][0]["spent_usd"] != "0"
    cheap = {"local/m": {"price": {"input": 1, "output": 1}}}
    ours = project("ours", {"local": base_url}, models=cheap, budgets=[DAILY])
    assert ours.status().to_json()["budgets"][0]["spent_usd"] == "0"
    assert ours.ask("hi").answer


def test_d2_budgets_of_configurations_that_the_user_chose_are_shared_by_name(project, simulator):
    base_url = simulator.base_url("x")
    dear = {"local/m": {"price": {"input": 1_000_000, "output": 1_000_000}}}
    project("one", {"local": base_url}, models=dear, budgets=[DAILY | {"limit": 1_000}]).ask("hi")
    with pytest.raises(OverBudget, match="budget daily"):
        project("two", {"local": base_url}, models=dear, budgets=[DAILY | {"limit": 1}]).ask("hi")


@pytest.mark.parametrize(
    "sections",
    [
        {"breaker": {"failure_threshold": 1, "recovery_timeout": "7d"}},
        {"models": {"evil/m": {"limits": {"requests_per_minute": 1}}}},
        {"models": {"evil/m": {"headers": {"x-test": "1"}}}},
    ],
)
def test_d2_a_strangers_rules_hold_for_the_stranger_alone(project, stranger, simulator, sections):
    evil = stranger("evil", {"evil": simulator.base_url("x")}, **sections)
    ours = project(
        "ours",
        {"local": simulator.base_url("x")},
        models={"local/m": {"limits": {"requests_per_minute": 1000}}},
    )
    simulator.set_faults(parse_faults("x=503"))
    fail(evil, 5 if "headers" in str(sections) else 1)
    simulator.set_faults(parse_faults("none"))
    assert state_of(ours)["state"] == "closed"
    assert ours.ask("hi").answer


def test_d2_a_stranger_without_patience_opens_no_circuit_of_ours(project, stranger, simulator):
    base_url = simulator.base_url("x")
    hasty = {"retries": 0, "max_tokens": 50, "timeout": 0.05}
    evil, ours = stranger("evil", {"evil": base_url}, defaults=hasty), project("ours", {"local": base_url})
    simulator.set_faults(parse_faults("x=slow:200"))
    fail(evil, 5)
    assert state_of(evil, "evil/m")["state"] == "open"
    assert state_of(ours)["failures"] == 0
    assert ours.ask("hi").answer


def test_d2_what_a_stranger_learns_of_a_key_and_of_parameters_is_the_strangers_own(
    project, stranger, simulator
):
    """With headers and a body of its own it could make a good key look bad."""
    account = {"api": "openai", "base_url": simulator.base_url("x"), "api_key": KEY}
    evil, ours = stranger("evil", {"evil": account}), project("ours", {"local": account})
    simulator.set_faults(parse_faults("x=auth"))
    with pytest.raises(LlmfailError):
        evil.ask("hi")
    simulator.set_faults(parse_faults("none"))
    assert state_of(evil, "evil/m")["state"] == "disabled"
    assert ours.ask("hi").answer
    theirs, mine = (
        one._engine.routes[Target(name, "m")].gate for one, name in ((evil, "evil"), (ours, "local"))
    )
    assert theirs.dropped_parameters_key != mine.dropped_parameters_key
    assert theirs.circuit_key != mine.circuit_key


def test_d2_a_file_that_was_trusted_is_no_strangers(stranger, project, simulator, tmp_path):
    dear = {"local/m": {"price": {"input": 1_000_000, "output": 1_000_000}}}
    sections = {"models": dear, "budgets": [DAILY | {"limit": 1_000}]}
    stranger("own", {"local": simulator.base_url("x")}, **sections)
    file = tmp_path / "own" / "llmfail.yaml"
    trust.accept(file, file.read_text(), tmp_path / "shared")
    with Client(state_dir=tmp_path / "shared") as own:
        own.ask("hi")
    chosen = project("chosen", {"local": simulator.base_url("x")}, **sections)
    assert chosen.status().to_json()["budgets"][0]["spent_usd"] != "0"


def old_state(tmp_path):
    """A state file as version 0.1 left it, with an open circuit of local/m."""
    store = DiskStore(tmp_path / "shared", 5)
    opened = Circuit(CircuitState.OPEN, failures=5, at=1.0, until=4e9)
    store.update((), lambda _values, _now: ({"circuit/local/m": Write(dump(opened))}, None))
    store.close()
    file = tmp_path / "shared" / "state.sqlite3"
    run_sql(file, "PRAGMA user_version = 1")
    return file


def run_sql(file, statement):
    connection = sqlite3.connect(file)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.commit()
        connection.close()


@pytest.mark.disk
def test_d2_the_state_of_version_0_1_is_read_once_and_written_anew(project, simulator, tmp_path):
    file = old_state(tmp_path)
    ours = project("ours", {"local": simulator.base_url("x")})
    assert (state_of(ours)["state"], state_of(ours)["failures"]) == ("open", 5)
    assert run_sql(file, "PRAGMA user_version") == [(2,)]
    assert run_sql(file, "SELECT key FROM state WHERE key = 'circuit/local/m'") == []
    theirs = project("theirs", {"local": simulator.base_url("y")})
    assert state_of(theirs)["state"] == "closed"


@pytest.mark.disk
def test_d2_a_strangers_names_are_not_believed_of_the_state_of_version_0_1(
    stranger, project, simulator, tmp_path
):
    file = old_state(tmp_path)
    evil = stranger("evil", {"local": simulator.base_url("y")})
    assert evil.ask("hi").answer
    evil.close()
    assert run_sql(file, "PRAGMA user_version") == [(1,)]
    assert state_of(project("ours", {"local": simulator.base_url("x")}))["state"] == "open"
