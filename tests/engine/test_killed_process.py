"""A process that is killed in the middle of an ask, over real HTTP and a real store: what it held and
led ends, and nothing is counted twice. The steps at which it is killed are found by the driver itself.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from itertools import count

import pytest

from llmfail import Client
from llmfail.core.admission.budget import Spending, expire_holds
from llmfail.core.admission.circuit import Circuit, CircuitState
from llmfail.core.model import Target
from llmfail.core.records.record import load_or_default
from llmfail.engine.ports.execution import run_sync
from llmfail.simulator import parse_faults
from llmfail.store import open_store
from llmfail.store.state_records import read_records, write_records

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 5s, deadline: 20s, max_tokens: 100}}
breaker: {{failure_threshold: 1, recovery_timeout: 1s}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-1}}
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
models:
  anthropic/x: {{price: {{input: 0, output: 1000}}}}
  openai/y: {{price: {{input: 0, output: 1000}}}}
budgets: [{{name: all, limit: 100, per: total}}]
features:
  default: {{primary: anthropic/x, fallbacks: [openai/y]}}
"""
ASKS = """\
import os, signal, sys
from llmfail import Client
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync

def ask(config, state, place, number):
    heard = []

    def trace(step, _moment):
        if len(heard) == place:
            os.kill(os.getpid(), number)
        heard.append(step)

    def stop(_number, _frame):
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
    with Client(config, state_dir=state) as client:
        run_sync(Engine(client.settings, client._ports, trace).ask(Ask(to_messages("hi"))))

for line in sys.stdin:
    config, state, place, number = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            ask(config, state, int(place), int(number))
            status = 0
        except SystemExit as stopped:
            status = stopped.code
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Asks a line in a process of its own, forked from one that has imported everything; prints how it ended."""
TARGETS = (Target("anthropic", "x"), Target("openai", "y"))


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("anthropic", "openai")}))
    return file


@pytest.fixture
def kill_at():
    """``kill_at(config, state, place, number)``: ask, with a signal at that step. How the process ended."""
    with subprocess.Popen(
        [sys.executable, "-c", ASKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as asks:

        def ask(config, state, place, number):
            print(config, state, place, int(number), sep="\t", file=asks.stdin, flush=True)
            return int(asks.stdout.readline())

        yield ask
        asks.stdin.close()


@pytest.fixture
def copy_state(store_kind, request):
    """``copy_state(before, state)``: what every process finds that is to be killed."""
    records = []

    def copy(before, state):
        shutil.copytree(before, state)
        if store_kind == "redis":
            with closing(open_store(os.environ["LLMFAIL_STORE"], state, 5.0)) as store:
                records.extend([] if records else read_records(store))
                request.getfixturevalue("redis_server").run("FLUSHALL")
                write_records(store, records)

    return copy


@pytest.mark.stores
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_killed_at_any_step_leaves_no_hold_no_lease_and_no_double_count(
    config, simulator, kill_at, copy_state, tmp_path, number
):
    simulator.set_faults(parse_faults("anthropic=503"))
    before = tmp_path / "before"
    with Client(config, state_dir=before) as client:
        receipt = client.ask("before")
    time.sleep(1.1)  # both circuits would admit one trial
    for place in count():
        state = tmp_path / f"killed-at-{place}"
        copy_state(before, state)
        status = kill_at(config, state, place, number)
        if status == 0:
            break
        assert status in {-number, 143}
        check_state_after_kill(config, state, receipt.cost_pico_usd, number)
    assert place >= 12, "there are as many steps as the driver takes"


def check_state_after_kill(config, state, cost_before, number):
    with Client(config, state_dir=state) as client:
        circuits = [client._engine.routes[target].gate.circuit_key for target in TARGETS]
        keys = ["budget/all/total", *circuits]
        values, _ = run_sync(client._ports.store.read(keys))
        spending = load_or_default(values[keys[0]], Spending)
        later = expire_holds(spending, time.time() + 60)
        worst = 100 * 1000 * 10**6
        assert later.held == 0
        assert cost_before <= later.spent <= cost_before + worst
        if number == signal.SIGTERM:
            assert (spending.held, spending.unsettled.calls) == (0, 0)
        for key in keys[1:]:
            circuit = load_or_default(values[key], Circuit)
            assert all(lease.until < time.time() + 60 for lease in circuit.leases)
            assert circuit.state is CircuitState.CLOSED or key == keys[1]
        began = time.monotonic()
        assert client.ask("hi").answer, "the next ask waits for no dead leader"
        assert time.monotonic() - began < 5
