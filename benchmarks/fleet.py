"""Asks a second of many processes on one set of three budgets, two rate limits and statistics: on Redis, over
the same on the disk store in the same run. Each ask is an admission and a settlement as the engine makes
them. Starts a ``redis-server`` of its own, which must be installed.

    python benchmarks/fleet.py [PROCESSES [SECONDS]]
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bookkeeping import CLAIM, GATE, PAID, USE
from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.pricing import usage_record
from llmfail.core.records import receipt_log
from llmfail.core.records.counters import AskCounters, count_ask
from llmfail.core.records.record import combine, dump, make_idempotent
from llmfail.core.records.statistics import Count, write_counts
from llmfail.store import open_store

MARK = "routing/hour"


COUNT_ASK = partial(count_ask, tier=0, missing=None, saw_open_circuit=False, latency_ms=900)


def ask(store, number, runs):
    claim = replace(CLAIM, call_id=number)

    def admit(values, now):
        runs[0] += 1
        return gates.admit(GATE, claim, values, now)

    admission = store.update(GATE.keys_with_budgets(claim), admit)
    step = make_idempotent(
        number,
        combine(
            [
                gates.settle(GATE, admission, PAID),
                write_counts(
                    [
                        gates.count_call_of(GATE, admission, PAID),
                        usage_record.count_usage("2026-07-01", USE),
                        Count(MARK, AskCounters, COUNT_ASK),
                    ]
                ),
                receipt_log.append([dump({"id": number})]),
            ]
        ),
    )

    def settle(values, now):
        runs[0] += 1
        return step.change(values, now), None

    store.update(step.keys, settle)


def work(url, directory, name, seconds):
    store = open_store(url, Path(directory), 10.0)
    store.read(())
    print("ready", flush=True)
    sys.stdin.readline()
    runs, times, ends_at = [0], [], time.monotonic() + seconds
    while time.monotonic() < ends_at:
        before = time.monotonic()
        ask(store, f"{name}-{len(times)}", runs)
        times.append(time.monotonic() - before)
    print(json.dumps({"times": times, "runs": runs[0]}), flush=True)
    store.close()


def measure(url, processes, seconds):
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "work", url, directory]
        workers = [
            subprocess.Popen(
                [*command, str(number), str(seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(processes)
        ]
        for worker in workers:
            worker.stdout.readline()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        reports = [json.loads(worker.communicate()[0]) for worker in workers]
    times = sorted(each for one in reports for each in one["times"])
    runs = sum(one["runs"] for one in reports) / len(times)
    return len(times) / seconds, times[len(times) // 2], times[int(len(times) * 0.99)], runs


def main(processes=16, seconds=4.0):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        found = {url: measure(url, processes, seconds) for url in ("disk", f"redis://127.0.0.1:{port}/0")}
    finally:
        server.kill()
        server.wait()
    for url, (rate, median, late, runs) in found.items():
        print(
            f"{url.partition(':')[0]:6}{processes:4} processes: {rate:7.0f} asks/s, "
            f"p50 {1000 * median:6.1f} ms, p99 {1000 * late:7.1f} ms, {runs:.2f} changes run per ask"
        )
    disk, redis = found.values()
    print(f"redis over disk: rate {redis[0] / disk[0]:.1f}, p99 {redis[2] / disk[2]:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:5], float(sys.argv[5]))
    else:
        main(*[kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)])
