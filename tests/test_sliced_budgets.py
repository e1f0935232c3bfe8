"""Services that hold slices of one budget of a shared store: each is a real process on a real server."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmfail import AsyncClient, OverBudget
from llmfail.core.admission.budget import Spending
from llmfail.core.records.record import load
from llmfail.core.store_url import parse_redis_url
from llmfail.store.redis.redis_store import RedisStore

CONFIG = """\
version: 1
store: {store}
budget_slices: true
timezone: UTC
defaults: {{retries: 0, timeout: 10s, max_tokens: 20}}
providers:
  openai: {{api: openai, base_url: "{base_url}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 0, output: 1000}}, context: 100000, max_output: 1000}}
features:
  default: {{primary: openai/gpt-6.1-terra, cache: {{enabled: false}}}}
budgets: [{{name: whole, limit: {limit}, per: total}}]
"""
BUDGET_KEY = "budget/whole/total"
PICO = 10**12
WORST, COST = 20 * 10**9, 5 * 10**9
"""20 tokens; an answer has 5."""
PATIENCE_SECONDS = 60
SERVICE = Path(__file__).with_name("slice_service.py")


@pytest.fixture
def configure(tmp_path, redis_url):
    def configure(limit, base_url="http://127.0.0.1:9/v1"):
        file = tmp_path / "llmfail.yaml"
        file.write_text(CONFIG.format(store=redis_url, limit=limit, base_url=base_url))
        return file

    return configure


@contextmanager
def services(config, count, rate, seconds):
    """The process that has started them, and their ids."""
    command = [sys.executable, str(SERVICE), str(config), *map(str, (count, rate, seconds))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        children = json.loads(parent.stdout.readline())
        try:
            yield parent, children
        finally:
            for child in children:
                if parent.poll() is None:
                    os.kill(child, signal.SIGKILL)


class Watcher:
    """Reads the budget again and again, and keeps the most that was ever spent and held."""

    def __init__(self, url):
        self.store = RedisStore(parse_redis_url(url), 5.0)
        self.most, self.reads = 0, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def read(self):
        values, _ = self.store.read([BUDGET_KEY])
        self.reads += 1
        return load(values[BUDGET_KEY], Spending) or Spending()

    def wait_until_spent(self, amount):
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while self.read().spent < amount:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)

    def _watch(self):
        while not self._ended.wait(0.005):
            self.most = max(self.most, self.read().spent_and_held)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._ended.set()
        self._thread.join()
        self.store.close()


def count_scripts(server):
    found = re.search(r"cmdstat_evalsha:calls=(\d+)", server.run("INFO", "commandstats"))
    return int(found[1]) if found else 0


def read_reports(parent):
    output, _ = parent.communicate()
    return [json.loads(line) for line in output.splitlines()]


def test_p3_21_services_of_which_some_are_killed_and_a_budget_that_is_spent_to_its_last_call(
    configure, redis_server, redis_url
):
    """Without slices each call is two updates; with them few are, but where the budget is nearly spent. What
    the killed held is held until it ends.
    """
    limit = 8
    with services(configure(limit), 12, 25, 60) as (parent, children), Watcher(redis_url) as watcher:
        before = count_scripts(redis_server)
        parent.stdin.write("go\n")
        parent.stdin.flush()
        watcher.wait_until_spent(0.25 * limit * PICO)
        for child in children[:5]:
            os.kill(child, signal.SIGKILL)
        updates = count_scripts(redis_server) - before - watcher.reads
        calls = watcher.read().spent / COST
        reports = read_reports(parent)
        last = watcher.read()
    told = sum(one["spent"] for one in reports)
    assert len(reports) == 7
    assert updates < calls
    assert watcher.most <= limit * PICO
    assert told <= last.spent <= limit * PICO
    assert last.spent_and_held > limit * PICO - WORST


def test_a_client_that_is_closed_holds_nothing_any_more(configure, redis_url, simulator):
    async def ask_often():
        config = configure(1_000, simulator.base_url("openai"))
        async with AsyncClient(config, write_delay=600.0) as client:
            receipts = [await client.ask("hi") for _ in range(30)]
            during = client_budget(await client.status())
        return receipts, during

    receipts, during = asyncio.run(ask_often())
    with Watcher(redis_url) as watcher:
        spending = watcher.read()
    assert (spending.spent, spending.held) == (sum(one.cost_pico_usd for one in receipts), 0)
    assert (during.spent, during.held > 0) == (spending.spent, True)


def test_what_was_spent_of_slices_is_whole_after_the_server_has_stood_still(
    configure, redis_server, redis_url, simulator
):
    """Whether the last renewal was made is not known then; the next one finds out."""
    receipts, refused = [], []

    async def ask_until(client, is_over):
        while not is_over():
            try:
                receipts.append(await client.ask("hi"))
            except OverBudget:
                refused.append(time.monotonic())
                await asyncio.sleep(0.02)

    async def play():
        config = configure(1_000, simulator.base_url("openai"))
        config.write_text(config.read_text() + "store_timeout: 0.3s\n")
        async with AsyncClient(config, write_delay=0.1, warn=lambda _text: None) as client:
            await ask_until(client, lambda: len(receipts) >= 60)
            assert client_budget(await client.status()).held
            redis_server.freeze()
            try:
                await ask_until(client, lambda: refused)
            finally:
                redis_server.thaw()
            before, gives_up_at = len(receipts), time.monotonic() + PATIENCE_SECONDS
            await ask_until(client, lambda: len(receipts) >= before + 60 or time.monotonic() > gives_up_at)

    asyncio.run(play())
    with Watcher(redis_url) as watcher:
        spending = watcher.read()
    assert refused
    assert (spending.spent, spending.held) == (sum(one.cost_pico_usd for one in receipts), 0)


def client_budget(status):
    (standing,) = status.budgets
    return standing.spending
