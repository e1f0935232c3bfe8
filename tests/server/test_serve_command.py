"""``llmfail serve`` as processes: how it starts, reloads, drains, and what its workers have in common."""

import http.client
import json
import os
import signal
import ssl
import stat
import threading
from contextlib import closing

import pytest
from certificates import write_certificate
from cryptography import x509
from forked_program import run_llmfail
from running_gateway import ASK, ServeProcess
from scripted_streams import ScriptedStreams
from webhook_recorder import Hook

from llmfail import Client, Unavailable
from llmfail.simulator import Simulator, parse_faults

CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
providers:
  openai: {{api: openai, base_url: "{url}", api_key: made-up-key-1}}
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra}}
{more}
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


@pytest.fixture
def serve(tmp_path, simulator):
    running = []

    def start(*arguments, more="", url=None, **how):
        config = tmp_path / "llmfail.yaml"
        config.write_text(CONFIG.format(url=url or simulator.base_url("openai"), more=more))
        running.append(ServeProcess(*arguments, config=config, **how))
        running[-1].config = config
        return running[-1]

    yield start
    for one in running:
        one.close()


def test_a_newcomer_needs_no_configuration_and_no_key():
    serving = ServeProcess("--drill", "none")
    try:
        assert serving.ask() == 200
        line = json.loads(serving.wait_for("/v1/chat/completions"))
        assert line["target"] == "anthropic/claude-sonnet-5-5"
        assert serving.end() == 0
    finally:
        serving.close()


def test_a_worker_imports_nothing_that_only_other_commands_need(serve, monkeypatch):
    """Whatever it has imported it keeps for good."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    serving = serve()
    assert [serving.ask(), serving.ask(stream=True)] == [200, 200]
    imported = {line.rpartition("|")[2].strip() for line in serving.said if line.startswith("import time:")}
    assert "llmfail.server.gateway" in imported
    unneeded = {"aiohttp.web", "argparse", "httpcore", "rich", "typer"}
    assert imported & unneeded == set()


def test_without_keys_it_says_what_is_missing(tmp_path):
    serving = ServeProcess()
    try:
        status, body = serving.call("POST", "/v1/chat/completions", ASK)
        assert (status, json.loads(body)["error"]["code"]) == (503, "upstream_credentials")
        assert "ANTHROPIC_API_KEY" in json.loads(body)["error"]["message"]
    finally:
        serving.close()


def test_other_machines_need_keys():
    done = run_llmfail("serve", "--listen", "0.0.0.0:0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "llmfail keys new" in done.stderr


def test_programs_behind_a_proxy_need_keys(tmp_path):
    config = tmp_path / "llmfail.yaml"
    config.write_text("version: 1\nserve: {behind_proxy: true}\n")
    done = run_llmfail("--config", str(config), "serve", "--listen", "127.0.0.1:0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "through the proxy" in done.stderr
    assert "llmfail keys new" in done.stderr


def test_a_port_that_is_taken_is_one_line(serve):
    serving = serve()
    done = run_llmfail("serve", "--listen", f"127.0.0.1:{serving.port}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_what_is_under_way_is_answered_and_new_connections_are_refused(serve):
    with ScriptedStreams() as streams:
        held = threading.Event()
        streams.plays("openai", ["one ", held, "two"])
        serving = serve(url=streams.base_url("openai"))
        answers = []
        asking = [
            threading.Thread(
                target=lambda: answers.append(
                    serving.call("POST", "/v1/chat/completions", {**ASK, "stream": True})
                )
            )
            for _ in range(20)
        ]
        for thread in asking:
            thread.start()
        assert streams.wait_for(lambda: streams.count() == 20)
        serving.process.send_signal(signal.SIGTERM)
        serving.wait_for("draining: 20 under way")
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            serving.ask()
        held.set()
        for thread in asking:
            thread.join(30)
        assert serving.process.wait(30) == 0
    assert [(status, body.endswith(b"data: [DONE]\n\n")) for status, body in answers] == [(200, True)] * 20


@pytest.mark.parametrize("hurry", ["grace", "second signal"])
def test_what_takes_too_long_is_broken_off_with_an_error(serve, hurry):
    grace = "0.3s" if hurry == "grace" else "60s"
    with ScriptedStreams() as streams:
        streams.plays("openai", ["one ", threading.Event()])
        serving = serve(url=streams.base_url("openai"), more=f"serve: {{shutdown_grace: {grace}}}")
        cut = []

        def ask():
            try:
                serving.call("POST", "/v1/chat/completions", {**ASK, "stream": True})
            except http.client.IncompleteRead as broken:
                cut.append(broken.partial)

        asking = threading.Thread(target=ask)
        asking.start()
        assert streams.wait_for(lambda: streams.count() and streams.asked()[0].said)
        serving.process.send_signal(signal.SIGTERM)
        serving.wait_for("draining")
        if hurry == "second signal":
            serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(30) == 0
        asking.join(30)
    assert b'"error"' in cut[0]
    assert b"the gateway has ended" in cut[0]


def test_no_request_fails_while_the_configuration_is_read_again_and_a_bad_one_changes_nothing(serve):
    serving = serve()
    good = serving.config.read_text()
    statuses, is_over = [], threading.Event()

    def ask_on():
        while not is_over.is_set() or len(statuses) < 1000:
            statuses.append(serving.ask())

    asking = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in asking:
        thread.start()
    for number in range(20):
        names = f"  f{number}: {{primary: openai/gpt-6.1-terra}}"
        is_bad = number == 13
        serving.config.write_text(
            "features: [" if is_bad else good.replace("features:", f"features:\n{names}")
        )
        serving.process.send_signal(signal.SIGHUP)
        if is_bad:
            serving.wait_for("stays as it was")
        else:
            serving.wait_for("was read again", number + (number < 13))
    is_over.set()
    for thread in asking:
        thread.join(60)
    assert len(statuses) >= 1000
    assert set(statuses) == {200}
    assert serving.ask(model="f19") == 200
    assert serving.ask(model="f18") == 404


_KEY = "llmf_a-key-of-the-reload-tests"
_KEYS = f"serve: {{keys: [{{name: a, key: {_KEY}}}]}}"


def test_the_last_key_is_not_taken_away_where_other_machines_ask(serve):
    serving = serve("--listen", "0.0.0.0:0", more=_KEYS)
    serving.config.write_text(serving.config.read_text().replace(_KEYS, ""))
    serving.process.send_signal(signal.SIGHUP)
    serving.wait_for("stays as it was.*llmfail keys new")
    assert serving.ask() == 401


def test_a_worker_that_begins_later_knows_what_was_read_again(serve):
    serving = serve("--workers", "2")
    with serving.config.open("a") as config:
        config.write(f"\n{_KEYS}\n")
    serving.process.send_signal(signal.SIGHUP)
    serving.wait_for("was read again")
    for child in serving.workers:
        os.kill(child, signal.SIGKILL)
    serving.wait_for(r"worker 1 has ended")
    assert {serving.ask() for _ in range(6)} == {401}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_dies_who_is_told_to_read_the_configuration_again_while_it_starts(serve, workers):
    serving = serve("--workers", workers, at_start=signal.SIGHUP)
    assert serving.ask() == 200
    assert serving.end() == 0
    assert not [line for line in serving.said if "has ended" in line]


TLS = "serve: {tls: {certificate: certificate.pem, key: key.pem}}"


def serial_number_of(serving):
    """Of the certificate that it shows."""
    shown = ssl.get_server_certificate(("localhost", serving.port))
    return x509.load_pem_x509_certificate(shown.encode()).serial_number


def test_it_speaks_tls_and_a_renewed_certificate_is_read_with_the_configuration(serve, tmp_path):
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    serving = serve(more=TLS, tls=context)
    assert serving.ask() == 200
    assert serial_number_of(serving) == 1
    write_certificate(tmp_path, 2)
    serving.process.send_signal(signal.SIGHUP)
    serving.wait_for("was read again")
    assert serial_number_of(serving) == 2
    key.write_text("nothing")
    serving.process.send_signal(signal.SIGHUP)
    serving.wait_for(r"stays as it was: serve\.tls")
    assert serial_number_of(serving) == 2


@pytest.mark.parametrize("key", [None, "nothing"])
def test_a_certificate_without_a_key_of_its_own_is_one_line(tmp_path, key):
    _, file = write_certificate(tmp_path)
    if key is None:
        file.unlink()
    else:
        file.write_text(key)
    config = tmp_path / "llmfail.yaml"
    config.write_text(f"version: 1\n{TLS}\n")
    done = run_llmfail("--config", str(config), "serve", "--listen", "127.0.0.1:0", "--workers", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "serve.tls" in done.stderr
    assert "key.pem" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_socket_file_is_for_its_owner_alone_and_goes_with_its_server(serve, tmp_path, workers):
    file = tmp_path / "llmfail.sock"
    serving = serve("--workers", workers, file=file)
    assert serving.ask() == 200
    assert serving.call("GET", "/metrics")[0] == 200
    assert serving.call("GET", "/metrics", host="evil.example")[0] == 403
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    taken = run_llmfail("serve", "--listen", f"unix:{file}")
    assert (taken.returncode, taken.stderr.count("\n")) == (2, 1)
    assert serving.end() == 0
    assert not file.exists()


def test_the_dashboard_behind_a_socket_file_is_told_as_a_port_that_is_passed_on_to_it(serve, tmp_path):
    file = tmp_path / "llmfail.sock"
    serving = serve(file=file)
    told = serving.wait_for("^llmfail: dashboard")
    assert f"`ssh -N -L 4000:{file} localhost`" in told
    link = told.partition("http://localhost:4000")[2]
    assert serving.call("GET", link, host="localhost:4000")[0] == 303
    assert serving.call("GET", link, host="localhost:4000")[0] == 403


def test_a_socket_file_that_a_killed_server_has_left_is_used_again(serve, tmp_path):
    file = tmp_path / "llmfail.sock"
    serve(file=file).end(signal.SIGKILL)
    assert file.exists()
    assert serve(file=file).ask() == 200


def test_no_file_of_another_kind_is_written_over(tmp_path):
    file = tmp_path / "letter.txt"
    file.write_text("dear")
    done = run_llmfail("serve", "--listen", f"unix:{file}")
    assert (done.returncode, done.stderr.count("\n"), file.read_text()) == (2, 1, "dear")


def test_a_killed_worker_is_replaced_and_the_service_goes_on(serve):
    serving = serve("--workers", "2")
    first, second = serving.workers
    os.kill(first, signal.SIGKILL)
    assert {serving.ask() for _ in range(10)} == {200}
    serving.wait_for(r"worker 0 has ended \(signal 9\) and is started anew")
    os.kill(second, signal.SIGKILL)
    serving.wait_for(r"worker 1 has ended")
    assert serving.ask() == 200
    assert 'llmfail_inflight{worker="1"} 0.0' in serving.call("GET", "/metrics")[1].decode()
    assert serving.end() == 0


def test_workers_end_with_who_started_them(serve):
    serving = serve("--workers", "2")
    serving.process.kill()
    serving.wait_for("^the end$")  # nobody holds its standard error any more


ALERTS = """\
breaker: {{failure_threshold: 2, recovery_timeout: 3s, success_threshold: 1}}
probe: {{targets: open}}
alerts: {{min_requests: 1000, webhooks: [{{url: "{url}/told"}}]}}
"""


def test_a_fleet_tells_of_an_alert_once_when_it_is_raised_and_once_when_it_is_over(
    serve, simulator, tmp_path
):
    with closing(Hook()) as hook:
        more = ALERTS.format(url=hook.url)
        config = tmp_path / "llmfail.yaml"
        config.write_text(CONFIG.format(url=simulator.base_url("openai"), more=more))
        simulator.set_faults(parse_faults("all=503"))
        with Client(config) as llm:
            for _ in range(2):
                with pytest.raises(Unavailable):
                    llm.ask("hi")
        hook.on_post = lambda: simulator.set_faults(parse_faults("none"))  # before the next trial fails
        fleet = [serve(more=more) for _ in range(3)]
        hook.wait_for(2)
        assert [one.end() for one in fleet] == [0, 0, 0]
        told = [(one["alert"], one["state"]) for one in hook.bodies("/told")]
    assert told == [("unanswerable default", "raised"), ("unanswerable default", "resolved")]


def test_a_budget_holds_over_workers_and_endpoints(serve, simulator):
    before = len(simulator.requests)
    serving = serve("--workers", "2", more="budgets: [{name: b, limit: 50, unit: requests, per: day}]")
    user = [{"role": "user", "content": "hi"}]
    asks = [
        ("/v1/chat/completions", ASK),
        ("/v1/messages", {"model": "default", "max_tokens": 9, "messages": user}),
        ("/v1/responses", {"model": "default", "input": "hi"}),
        (
            "/v1beta/models/default:generateContent",
            {"contents": [{"parts": [{"text": "hi"}]}]},
        ),
    ]
    statuses = []
    threads = [
        threading.Thread(target=lambda one=asks[number % 4]: statuses.append(serving.call("POST", *one)[0]))
        for number in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (statuses.count(200), statuses.count(402)) == (50, 50)
    assert len(simulator.requests) - before == 50
    with Client(serving.config) as llm:
        budget = llm.status().to_json()["budgets"][0]
    assert float(budget["held"]) == 0
