"""A process that is killed in the middle of an ask, over real HTTP and a real state file: what it held and
led ends, and nothing is counted twice. Places are those of ``test_stopped_anywhere``, some of them.
"""

import signal
import subprocess
import sys
import time

import pytest

from llmfail import Client
from llmfail.core.admission.breaker import Circuit, CircuitState
from llmfail.core.admission.budget import Spending, expire_holds
from llmfail.core.model import Target
from llmfail.core.records.record import load_or_default
from llmfail.engine.ports.execution import run_sync
from llmfail.simulator import parse_faults

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
ASK = """\
import os, signal, sys
from llmfail import Client
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync

config, place, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
heard = []

def trace(step, _moment):
    if len(heard) == place:
        os.kill(os.getpid(), number)
    heard.append(step)

def stop(_number, _frame):
    raise SystemExit(143)

signal.signal(signal.SIGTERM, stop)
with Client(config) as client:
    run_sync(Engine(client.settings, client._ports, trace).ask(Ask(to_messages("hi"))))
"""
TARGETS = (Target("anthropic", "x"), Target("openai", "y"))


@pytest.fixture
def config(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("anthropic", "openai")}))
    return file


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("place", [1, 3, 5, 6, 8, 11, 13])
def test_a_killed_process_leaves_no_hold_no_lease_and_no_double_count(config, simulator, place, number):
    simulator.set_faults(parse_faults("anthropic=503"))
    with Client(config) as client:
        receipt = client.ask("before")
        time.sleep(1.1)  # both circuits would admit one trial
        ended = subprocess.run(
            [sys.executable, "-c", ASK, str(config), str(place), str(int(number))], check=False, timeout=60
        )
        assert ended.returncode in {-number, 143}
        keys = ["budget/all/total", *(f"circuit/{target}" for target in TARGETS)]
        values, _ = run_sync(client._ports.store.read(keys))
        spending = load_or_default(values[keys[0]], Spending)
        later = expire_holds(spending, time.time() + 60)
        worst = 100 * 1000 * 10**6
        assert later.held == 0
        assert receipt.cost_pico_usd <= later.spent <= receipt.cost_pico_usd + worst
        if number == signal.SIGTERM:
            assert (spending.held, spending.unsettled.calls) == (0, 0)
        for key in keys[1:]:
            circuit = load_or_default(values[key], Circuit)
            assert all(lease.until < time.time() + 60 for lease in circuit.leases)
            assert circuit.state is CircuitState.CLOSED or key == keys[1]
        began = time.monotonic()
        assert client.ask("hi").answer, "the next ask waits for no dead leader"
        assert time.monotonic() - began < 5
