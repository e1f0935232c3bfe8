"""Answers, single flight and the queue of many hosts, each of which has a state directory of its own."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis_servers import build_clock_library, start_redis

from llmfail import AsyncClient, Client, Unavailable
from llmfail.core.records.record import Write
from llmfail.core.store_url import parse_redis_url
from llmfail.simulator import parse_faults
from llmfail.store.redis.redis_answer_store import MAX_ANSWER_BYTES
from llmfail.store.redis.redis_store import RedisStore

CONFIG = """\
version: 1
store: {state}
store_timeout: {timeout}
timezone: UTC
defaults: {{retries: 0, timeout: 10s, max_tokens: 100000}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 1, output: 1}}, context: 1000000, max_output: 100000}}
features:
  default: {{primary: openai/gpt-6.1-terra, degrade: [queue]}}
budgets: [{{name: daily, limit: 1000, per: day}}]
cache: {{store: {answers}}}
queue: {{store: {queue}}}
"""
pytestmark = pytest.mark.disk
"""Each test says where everything is."""
LLMFAIL = Path(sys.executable).with_name("llmfail")
TOGETHER = 4
BACK_SECONDS = 15.0
"""A store that works again is in use after at most so long."""


@pytest.fixture
def configure(tmp_path, simulator):
    def configure(*, state="disk", answers="disk", queue="disk", timeout="2s"):
        file = tmp_path / "llmfail.yaml"
        known = {"openai": simulator.base_url("openai"), "timeout": timeout}
        file.write_text(CONFIG.format(state=state, answers=answers, queue=queue, **known))
        return file

    return configure


@pytest.fixture
def open_host(tmp_path):
    """A client as another host has it, by the number of the host."""

    @contextmanager
    def open_host(config, number, heard=None):
        warn = None if heard is None else heard.append
        with Client(config, state_dir=tmp_path / f"host {number}", warn=warn) as client:
            yield client

    return open_host


@pytest.fixture
def ask_at_once(open_host):
    def ask_at_once(config, hosts=range(TOGETHER)):
        receipts = []
        barrier = threading.Barrier(len(hosts))

        def ask(number):
            with open_host(config, number) as client:
                barrier.wait()
                receipts.append(client.ask("hi"))

        threads = [threading.Thread(target=ask, args=(number,)) for number in hosts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return receipts

    return ask_at_once


def run(config, host, *arguments):
    command = [LLMFAIL, "--config", config, "--state-dir", host, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_one_host_was_answered_serves_another(configure, open_host, simulator, redis_url):
    config = configure(answers=redis_url)
    with open_host(config, 1) as first, open_host(config, 2) as second:
        assert first.ask("hi").source == "model"
        found = second.ask("hi")
        assert (found.source, found.cost_usd) == ("cache", 0)
        assert simulator.count() == 1
        assert second.clear_cache() == 1
        assert first.ask("hi").source == "model"


def test_answers_stay_with_each_host_unless_the_configuration_names_a_server(
    configure, open_host, simulator, redis_url
):
    config = configure(state=redis_url)
    with open_host(config, 1) as first, open_host(config, 2) as second:
        assert [first.ask("hi").source, second.ask("hi").source, first.ask("hi").source] == [
            "model",
            "model",
            "cache",
        ]
    assert simulator.count() == 2


@pytest.mark.parametrize("ahead", [0, -300, 300])
def test_hosts_that_ask_the_same_at_once_pay_once_whatever_the_clock_of_the_server_says(
    configure, ask_at_once, simulator, tmp_path, ahead
):
    offset = tmp_path / "offset"
    offset.write_text(str(ahead))
    environ = {"LD_PRELOAD": str(build_clock_library(tmp_path)), "CLOCK_OFFSET_FILE": str(offset)}
    simulator.set_faults(parse_faults("openai=slow:300"))
    with start_redis(tmp_path / "redis", environ=environ) as server:
        config = configure(state=server.url, answers=server.url)
        receipts = ask_at_once(config)
        assert sorted(one.source for one in receipts) == ["cache"] * (TOGETHER - 1) + ["model"]
        assert simulator.count() == 1
        assert not [key for key in server.run("KEYS", "*").split() if "flight" in key], "its lease is over"


def test_tasks_of_services_that_ask_the_same_at_once_pay_once(configure, simulator, redis_url, tmp_path):
    simulator.set_faults(parse_faults("openai=slow:200"))
    config = configure(state=redis_url, answers=redis_url)

    async def ask_all():
        async with (
            AsyncClient(config, state_dir=tmp_path / "host 1") as first,
            AsyncClient(config, state_dir=tmp_path / "host 2") as second,
        ):
            asks = [client.ask(f"question {n % 5}") for n in range(20) for client in (first, second)]
            return await asyncio.gather(*asks)

    receipts = asyncio.run(ask_all())
    assert sum(one.source == "model" for one in receipts) == simulator.count() == 5


def test_leases_are_never_with_answers_that_may_be_evicted(
    configure, ask_at_once, simulator, redis_url, redis_server, tmp_path
):
    simulator.set_faults(parse_faults("openai=slow:400"))
    with start_redis(tmp_path / "answers") as answers:
        config = configure(state=redis_url, answers=answers.url)
        asks = threading.Thread(target=ask_at_once, args=(config,))
        asks.start()
        assert simulator.wait_for(lambda: simulator.count() == 1)
        meanwhile = redis_server.run("KEYS", "*flight*"), answers.run("KEYS", "*")
        asks.join()
        (key,) = answers.run("KEYS", "*").split()
    assert meanwhile[0].startswith("{llmfail:default}:flight/")
    assert meanwhile[1] == ""
    assert key.startswith("{llmfail:default:")
    assert key.endswith("}:answer")
    assert simulator.count() == 1


def test_equal_asks_whose_leader_fails_go_alone(configure, ask_at_once, simulator, redis_url):
    simulator.set_faults(parse_faults("openai=503x1"))
    config = configure(state=redis_url, answers=redis_url)
    with pytest.raises(Unavailable), Client(config) as client:
        client.ask("hi")
    receipts = ask_at_once(config)
    assert all(one.ok for one in receipts)


@pytest.fixture
def evicting(tmp_path):
    options = ("--maxmemory", "2mb", "--maxmemory-policy", "allkeys-lru")
    with start_redis(tmp_path / "evicting", *options) as server:
        yield server


def test_p2_19_answers_that_fill_their_server_leave_the_state_whole(
    configure, open_host, simulator, redis_url, evicting
):
    config, heard = configure(state=redis_url, answers=evicting.url), []
    simulator.set_answer(lambda _request: "x" * 20_000)
    with open_host(config, 1, heard) as client:
        for number in range(80):
            assert client.ask(f"question {number}").ok
        spent = client.status().to_json()["budgets"][0]["spent_usd"]
        assert client.ask("question 79").source == "cache"
    assert int(evicting.run("DBSIZE")) < 70, "some had to go"
    assert float(spent) > 0
    with open_host(config, 2) as other:
        assert other.status().to_json()["budgets"][0]["spent_usd"] == spent
    assert heard == []


def test_p2_19_a_state_that_may_be_evicted_is_told_once_and_by_config_check(
    configure, open_host, evicting, tmp_path
):
    config, heard = configure(state=evicting.url, answers=evicting.url), []
    with open_host(config, 1, heard) as client:
        for number in range(3):
            client.ask(f"question {number}")
    assert len(heard) == 1
    assert "evicts (allkeys-lru): circuits and budgets may be forgotten" in heard[0]
    checked = run(config, tmp_path / "host", "config", "check")
    assert checked.returncode == 0
    assert heard[0] in checked.stderr
    assert "has stored answers besides what must not be forgotten" in checked.stderr
    document = json.loads(run(config, tmp_path / "host", "config", "check", "--json").stdout)
    assert {one["path"] for one in document["warnings"]} >= {"store", "cache.store"}
    assert document["stores"]["state"] == evicting.url


def test_a_server_of_answers_that_is_away_is_a_miss_told_once(configure, open_host, simulator):
    config, heard = configure(answers="redis://127.0.0.1:1/0"), []
    with open_host(config, 1, heard) as client:
        assert [client.ask("hi").source, client.ask("hi").source] == ["model", "cache"], "of this process"
    assert len(heard) == 1
    assert heard[0].endswith("meanwhile stored answers are kept in memory only")


def test_a_server_of_answers_that_comes_back_is_used_again(configure, open_host, simulator, tmp_path):
    with start_redis(tmp_path / "answers") as server:
        config = configure(answers=server.url)
        server.kill()
        heard = []
        with open_host(config, 1, heard) as client:
            client.ask("before")
            server.start()
            gives_up_at = time.monotonic() + BACK_SECONDS
            number = 0
            while server.run("KEYS", "*answer*") == "":
                assert time.monotonic() < gives_up_at
                number += 1
                client.ask(f"question {number}")
        with open_host(config, 2) as other:
            assert other.ask(f"question {number}").source == "cache"
    assert len(heard) == 1


def test_p0_8_a_server_of_answers_that_stands_still_costs_its_timeout_and_no_answer(
    configure, open_host, redis_server, redis_url
):
    config, heard = configure(answers=redis_url, timeout="0.3s"), []
    with open_host(config, 1, heard) as client:
        client.ask("hi")
        redis_server.freeze()
        try:
            before = time.monotonic()
            assert client.ask("hi").ok
            assert client.ask("something else").ok
            assert time.monotonic() - before < 5
        finally:
            redis_server.thaw()
    assert len(heard) == 1


def test_a_password_that_is_wrong_costs_no_answer_even_where_nothing_was_looked_up_before(
    configure, open_host, redis_url
):
    config, heard = configure(answers=redis_url.replace("://", "://nobody:made-up-secret@")), []
    with open_host(config, 1, heard) as client:
        assert client.ask("hi", refresh=True).ok
    assert len(heard) == 1
    assert "WRONGPASS" in heard[0]
    assert "made-up-secret" not in heard[0]


def test_an_answer_that_is_too_large_is_given_and_not_kept(configure, open_host, simulator, redis_url):
    simulator.set_answer(lambda _request: "x" * MAX_ANSWER_BYTES)
    config = configure(answers=redis_url)
    with open_host(config, 1) as client:
        first, second = client.ask("hi"), client.ask("hi")
        assert (first.finish_reason, first.source, second.source) == ("stop", "model", "model")


def test_p2_20_a_request_that_one_host_has_queued_is_answered_by_another(
    configure, open_host, simulator, redis_url, tmp_path
):
    config = configure(queue=redis_url)
    simulator.set_faults(parse_faults("openai=503"))
    with open_host(config, 1) as first, pytest.raises(Unavailable) as raised:
        first.ask("hi")
    queued = raised.value.receipt.queued
    simulator.set_faults(parse_faults("none"))
    with open_host(config, 2) as second:
        assert [item.id for item in second.queue.items()] == [queued]
        assert second.status().to_json()["queue"] == {"pending": 1}
    done = run(config, tmp_path / "host 2", "queue", "run")
    assert json.loads(done.stdout)["queued"] == queued
    with open_host(config, 1) as first:
        assert list(first.queue.items()) == []


@pytest.mark.parametrize("shared", [(), ("state",), ("state", "answers", "queue")])
def test_p2_20_config_check_and_status_say_what_is_shared(configure, open_host, redis_url, tmp_path, shared):
    config = configure(**dict.fromkeys(shared, redis_url))
    places = {
        "state": redis_url if "state" in shared else "disk",
        "answers": redis_url if "answers" in shared else "disk",
        "queue": redis_url if "queue" in shared else "disk",
        "single_flight": redis_url if "answers" in shared else "disk",
    }
    with open_host(config, 1) as client:
        assert client.status().to_json()["stores"] == places
    checked = run(config, tmp_path / "host", "config", "check").stderr
    lines = [line for line in checked.splitlines() if "shared by all hosts" in line]
    assert len(lines) == bool(shared)
    for line in lines:
        local = line.partition("of each host alone: ")[2]
        assert ("the queue" in local) == ("queue" not in shared)
        assert ("stored answers" in local) == ("single flight" in local) == ("answers" not in shared)


def test_a_server_that_cannot_be_used_is_named_with_its_setting(configure, tmp_path):
    away = "redis://me:made-up-secret@127.0.0.1:1/0"
    config = configure(answers=away, queue=away)
    checked = run(config, tmp_path / "host", "config", "check", "--json")
    assert checked.returncode == 2
    problems = json.loads(checked.stdout)["problems"]
    assert [(one["path"], one["line"]) for one in problems] == [("cache.store", 13), ("queue.store", 14)]
    assert "made-up-secret" not in checked.stdout + checked.stderr
    tried = run(config, tmp_path / "host", "store", "check")
    assert tried.returncode == 2
    assert "127.0.0.1:1: connection refused" in tried.stderr


def test_the_state_is_not_exported_with_answers_and_queue(configure, open_host, redis_url):
    store = RedisStore(parse_redis_url(redis_url), 2.0)
    store.update((), lambda _values, _now: ({"a": Write("1")}, None))
    config = configure(answers=redis_url, queue=redis_url)
    with open_host(config, 1) as client:
        client.ask("hi")
        client.queue.put("one", "default", "{}", None)
    assert [key for keys in store.scan_keys() for key in keys] == ["a"]
    store.close()
