"""Many processes that ask at the same moment: forked from one that has imported everything, each with its
client.
"""

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from itertools import islice

PROGRAM = """\
import json, os, signal, sys, time, traceback
from collections import Counter
from importlib import import_module
from pkgutil import walk_packages
from llmfail import Client, OverBudget
from llmfail import core, engine, providers, store, wire
from llmfail.core.errors import LlmfailError

for room in (core, engine, providers, store, wire):
    for module in walk_packages(room.__path__, room.__name__ + "."):
        import_module(module.name)

def work(settings, go, asks, seconds):
    warnings, kinds, moments, answered, cost = [], Counter(), [], Counter(), 0
    with Client(settings=settings, warn=warnings.append) as client:
        os.write(ready_end, b"r")
        os.read(go, 1)
        ends_at = time.monotonic() + seconds
        while asks and time.monotonic() < ends_at:
            asks -= 1
            try:
                receipt = client.ask("hi")
            except OverBudget as error:
                kinds[error.receipt.error.kind] += 1
                moments.append(time.monotonic())
                time.sleep(0.02)
            except LlmfailError as error:
                kinds[type(error).__name__ + ": " + str(error)[:300]] += 1
            else:
                answered[str(receipt.target)] += 1
                cost += receipt.cost_pico_usd
    report = {
        "pid": os.getpid(), "answered": answered, "cost_pico_usd": cost, "failed": kinds,
        "refused_from": moments[:1], "refused_until": moments[-1:], "warnings": warnings,
    }
    os.write(1, json.dumps(report).encode() + b"\\n")

config, count, asks, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
with Client(config) as first:
    settings = first.settings
go, go_end = os.pipe()
ready, ready_end = os.pipe()
for _ in range(count):
    if os.fork() == 0:
        os.close(go_end)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            work(settings, go, asks, seconds)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
os.close(ready_end)
heard = 0
while heard < count:
    found = os.read(ready, count)
    assert found, "one of them could not begin"
    heard += len(found)
print("ready", flush=True)
sys.stdin.readline()
os.close(go_end)
for _ in range(count):
    os.wait()
"""


class AskProcesses:
    """They are ready; ``release`` lets all of them go, each with so many asks, or for so many seconds."""

    def __init__(self, config, count, *, asks=1_000_000, seconds=60.0):
        arguments = [sys.executable, "-c", PROGRAM, config, count, asks, seconds]
        self._process = subprocess.Popen(
            list(map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.kill()
        with self._process:
            pass

    def release(self):
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self):
        """All of them at once, as when their host loses its power."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def read_reports(self, count=None):
        """What each came to, or so many that end first: ``answered`` by target, ``failed`` by kind."""
        return [json.loads(line) for line in islice(self._process.stdout, count)]

    def run(self):
        self.release()
        return self.read_reports()


def ask_at_once(config, count, **how):
    """The reports of so many processes that ask at the same moment."""
    with AskProcesses(config, count, **how) as processes:
        return processes.run()


def sum_costs(reports):
    """In dollars."""
    return sum(Decimal(one["cost_pico_usd"]) for one in reports) / 10**12


def list_warnings(reports):
    return [warning for one in reports for warning in one["warnings"]]


def add_up(reports, name):
    """``answered`` or ``failed`` of all."""
    total = {}
    for report in reports:
        for key, number in report[name].items():
            total[key] = total.get(key, 0) + number
    return total
