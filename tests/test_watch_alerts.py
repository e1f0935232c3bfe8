"""Alerts that reach somebody: each raised once and resolved once, whoever watches and whatever hangs."""

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time

import pytest
from webhook_recorder import Hook

from llmfail import AlertRaised, AlertResolved, Client, Unavailable, UsageError
from llmfail.core.reports.alert import Alert
from llmfail.core.reports.alert_notice import (
    CLAIM_SECONDS,
    AlertBook,
    AlertNotice,
    claim_notices,
    end_claims,
    write_body,
)
from llmfail.settings.reading.load import load
from llmfail.simulator import parse_faults
from llmfail.watch.alert_delivery import AlertDelivery
from llmfail.watch.watch_client import WatchClient

CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 2, recovery_timeout: 60s}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
cache: {{enabled: false}}
features: {{default: {{primary: openai/gpt-6.1-terra}}}}
alerts:
  min_requests: 2
  webhooks:
    - {{url: "{hook}/json"}}
    - {{url: "{hook}/slack", format: slack, on: critical}}
    - {{url: "${{NOT_SET_ANYWHERE}}"}}
  webhook_secret: the-secret
"""


@pytest.fixture
def hook():
    running = Hook()
    yield running
    running.close()


@pytest.fixture
def config(tmp_path, simulator, hook):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(openai=simulator.base_url("openai"), hook=hook.url))
    return file


def fail_twice(config, simulator):
    simulator.set_faults(parse_faults("all=503"))
    with Client(config) as llm:
        for _ in range(2):
            with pytest.raises(Unavailable):
                llm.ask("hi")


def watch_once(config, told=None):
    async def judge():
        async with WatchClient(config, on_event=told) as client:
            return await client.judge_alerts()

    return asyncio.run(judge())


def test_an_alert_is_told_once_when_raised_and_once_when_over_by_processes_that_come_and_go(
    config, simulator, hook
):
    fail_twice(config, simulator)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            for _ in range(2):
                watch_once(config)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    raised = hook.bodies("/json")
    assert sorted(one["alert"] for one in raised) == ["error_rate", "unanswerable default"]
    assert {(one["state"], one["level"]) for one in raised} == {("raised", "critical")}
    with Client(config) as llm:
        llm.reset()
        assert llm.status().health == "healthy"
    for _ in range(2):
        watch_once(config)
    assert sorted((one["alert"], one["state"]) for one in hook.bodies("/json")[2:]) == [
        ("error_rate", "resolved"),
        ("unanswerable default", "resolved"),
    ]
    assert len(hook.bodies("/slack")) == 4
    assert all(one.keys() == {"text"} for one in hook.bodies("/slack"))


def test_a_trial_changes_nothing_and_its_answer_tells_whether_it_is_over(config, simulator, hook):
    config.write_text(config.read_text().replace("recovery_timeout: 60s", "recovery_timeout: 1s"))
    fail_twice(config, simulator)
    watch_once(config)
    with Client(config) as llm:
        ends_at = time.monotonic() + 30
        while llm.status().targets[0].state != "half_open" and time.monotonic() < ends_at:
            time.sleep(0.05)
    watch_once(config)
    assert "resolved" not in {one["state"] for one in hook.bodies("/json")}
    simulator.set_faults(parse_faults("none"))
    with Client(config) as llm:
        while llm.status().targets[0].state != "closed":
            llm.ask("hi")
    watch_once(config)
    states = [one["state"] for one in hook.bodies("/json") if one["alert"] == "unanswerable default"]
    assert states == ["raised", "resolved"]


class Overtaken(WatchClient):
    """Another does something while its first status is on its way."""

    async def status(self):
        status = await super().status()
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return status


def test_a_status_that_is_older_than_what_another_has_told_raises_nothing_again(config, simulator, hook):
    fail_twice(config, simulator)
    watch_once(config)

    async def play():
        async def recover():
            await other.reset()
            await other.judge_alerts()

        async with WatchClient(config) as other, Overtaken(config) as late:
            late.meanwhile = recover
            return await late.judge_alerts()

    status, notices = asyncio.run(play())
    assert (status.health, notices) == ("healthy", ())
    assert [one["state"] for one in hook.bodies("/json")] == ["raised"] * 2 + ["resolved"] * 2


def test_bodies_are_signed_as_they_are_sent(config, simulator, hook):
    fail_twice(config, simulator)
    watch_once(config)
    _, headers, body = hook.posted[0]
    known = hmac.new(b"the-secret", body, hashlib.sha256).hexdigest()
    assert {name.lower(): text for name, text in headers.items()}["x-llmfail-signature"] == f"sha256={known}"


def test_listeners_are_told_too(config, simulator):
    told = []
    fail_twice(config, simulator)
    watch_once(config, told.append)
    assert {type(event) for event in told} == {AlertRaised}
    assert {event.level for event in told} == {"critical"}
    with Client(config) as llm:
        llm.reset()
    watch_once(config, told.append)
    assert {type(event) for event in told[2:]} == {AlertResolved}


NOTICE = AlertNotice("error_rate", "warning", "raised", 0.02, 0.01, "error_rate is 2%", 0.0)


def deliver(config, notices):
    """What was warned of, and how long it was waited; nobody really waits."""
    warned, waits = [], []

    async def run():
        async def sleep(seconds):
            waits.append(seconds)

        async with WatchClient(config) as client:
            settings = client.settings
            delivery = AlertDelivery(settings, client._wire.send, warned.append, sleep)
            await asyncio.gather(*(recipient(notices) for recipient in delivery.recipients))

    asyncio.run(run())
    return warned, waits


def test_a_webhook_is_tried_three_times_and_then_warned_of_without_its_url(config, hook):
    hook.statuses = [500]
    warned, waits = deliver(config, [NOTICE])
    assert (len(hook.posted), waits) == (3, [1.0, 4.0])
    assert warned == ["alert error_rate was not delivered by webhook 1: it answered 500, 3 times"]


def test_a_webhook_that_recovers_gets_it_once(config, hook):
    hook.statuses = [503, 204]
    assert deliver(config, [NOTICE]) == ([], [1.0])
    assert len(hook.posted) == 2


def test_one_for_critical_alerts_hears_of_no_warning(config, hook):
    deliver(config, [NOTICE])
    assert [path for path, *_ in hook.posted] == ["/json"]


def test_a_webhook_that_hangs_costs_an_ask_nothing(config, simulator, hook):
    fail_twice(config, simulator)
    hook.statuses = [None]
    simulator.set_faults(parse_faults("none"))

    async def play():
        async with WatchClient(config) as client:
            judging = asyncio.ensure_future(client.judge_alerts())
            assert await asyncio.to_thread(hook.has_posted.wait, 30)
            await client.reset()
            receipt = await client.ask("hi")
            judging.cancel()
            await asyncio.gather(judging, return_exceptions=True)
            return receipt

    receipt = asyncio.run(play())
    assert receipt.ok
    assert receipt.latency_ms < 5000


def test_a_command_gets_each_notice_on_its_standard_input(config, tmp_path):
    config.write_text(
        config.read_text().partition("  webhooks:")[0] + f"  command: [sh, -c, 'cat >> {tmp_path}/told']\n"
    )
    assert deliver(config, [NOTICE]) == ([], [])
    told = json.loads((tmp_path / "told").read_text())
    assert (told["alert"], told["state"], told["at"]) == ("error_rate", "raised", "1970-01-01T00:00:00Z")


@pytest.mark.parametrize("argv", ["[/nowhere]", "[sh, -c, 'exit 3']"])
def test_a_command_that_fails_is_warned_of(config, argv):
    config.write_text(config.read_text().partition("  webhooks:")[0] + f"  command: {argv}\n")
    warned, _ = deliver(config, [NOTICE])
    assert len(warned) == 1
    assert "error_rate" in warned[0]


class TestTheBook:
    ALERT = Alert("error_rate", "warning", 0.02, 0.01, "…")
    CRITICAL = Alert("error_rate", "critical", 0.2, 0.01, "…")

    def test_nothing_new_leaves_the_record_as_it_is(self):
        book, told = claim_notices(AlertBook(), [self.ALERT], 0.0, "a")
        book = end_claims(book, told, "a")
        assert claim_notices(book, [self.ALERT], 1.0, "b") == (book, ())
        assert claim_notices(book, [self.ALERT], 1.0, "b")[0] is book

    def test_a_warning_that_becomes_critical_is_told_again_and_resolved_once(self):
        book, told = claim_notices(AlertBook(), [self.ALERT], 0.0, "a")
        book, more = claim_notices(end_claims(book, told, "a"), [self.CRITICAL], 1.0, "a")
        assert [(one.state, one.level) for one in more] == [("raised", "critical")]
        book, none = claim_notices(end_claims(book, more, "a"), [self.ALERT], 2.0, "a")
        assert none == ()
        _, over = claim_notices(book, [], 3.0, "a")
        assert [(one.state, one.level) for one in over] == [("resolved", "critical")]

    def test_what_is_undecided_stays_as_it_is(self):
        undecided = {self.ALERT.name}
        book, _ = claim_notices(AlertBook(), [self.ALERT], 0.0, "a")
        assert claim_notices(book, [], 1.0, "b", undecided) == (book, ())
        assert claim_notices(AlertBook(), [], 1.0, "b", undecided) == (AlertBook(), ())

    def test_what_a_dead_process_began_to_tell_is_told_by_another_after_its_claim(self):
        book, told = claim_notices(AlertBook(), [self.ALERT], 0.0, "dead")
        assert claim_notices(book, [self.ALERT], CLAIM_SECONDS - 1, "b")[1] == ()
        book, again = claim_notices(book, [self.ALERT], CLAIM_SECONDS, "b")
        assert [one.key for one in again] == [one.key for one in told]
        assert end_claims(book, again, "dead").claims == book.claims
        assert end_claims(book, again, "b").claims == {}


def test_bodies_are_json_or_a_text_for_slack():
    assert json.loads(write_body(NOTICE, "json", "h")) == {
        "alert": "error_rate",
        "level": "warning",
        "state": "raised",
        "value": 0.02,
        "threshold": 0.01,
        "message": "error_rate is 2%",
        "at": "1970-01-01T00:00:00Z",
        "host": "h",
    }
    assert "error_rate is 2%" in json.loads(write_body(NOTICE, "slack", "h"))["text"]


def test_watch_once_judges_and_ends(config, simulator, hook):
    fail_twice(config, simulator)
    command = [sys.executable, "-m", "llmfail", "--config", config, "watch", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "alert error_rate (critical): error_rate is 100%" in done.stderr
    assert len(hook.bodies("/json")) == 2
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr == ""


def test_a_webhook_is_a_secret_and_must_be_a_url(tmp_path):
    file = tmp_path / "llmfail.yaml"
    file.write_text("version: 1\nalerts: {webhooks: [{url: 'hooks.example/T0/secret'}]}\n")
    command = [sys.executable, "-m", "llmfail", "--config", file, "config", "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "alerts.webhooks[0].url" in done.stdout + done.stderr
    file.write_text("version: 1\nalerts: {webhooks: [{url: 'https://hooks.example/T0/secret'}]}\n")
    shown = subprocess.run([*command[:-1], "show"], capture_output=True, text=True, check=True)
    assert "T0/secret" not in shown.stdout


@pytest.mark.parametrize(
    ("alerts", "says"),
    [
        ("webhooks: [{url: 'https://hooks.example/x'}]", "would send alerts to a host of its choice"),
        ("command: [./tell]", "would run a command"),
    ],
)
def test_a_file_of_a_stranger_tells_nobody(tmp_path, alerts, says):
    (tmp_path / "llmfail.yaml").write_text(f"version: 1\nalerts: {{{alerts}}}\n")
    with pytest.raises(UsageError, match=says):
        load(None, {}, tmp_path, tmp_path / "state")
