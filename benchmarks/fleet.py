"""Many hosts on one Redis: asks a second of many processes on one set of three budgets, two rate limits and
statistics, over the same on the disk store in the same run; and what a single ``llmfail ask`` costs more than
with the disk store.

Each ask is an admission and a settlement as the engine makes them, by processes forked from one that has
imported everything. Disk and Redis take turns, so a machine that drifts drifts for both. Starts a
``redis-server`` of its own, which must be installed.

    python benchmarks/fleet.py [PROCESSES [SECONDS [ROUNDS]]]
"""

import itertools
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bookkeeping import CALL, CALL_RECORDS, CLAIM, GATE, PAID
from msgspec.structs import replace
from pairs import LLMFAIL, place, simulator

from llmfail.core.admission import gate as gates
from llmfail.core.admission import gate_settlement
from llmfail.core.records import receipt_log
from llmfail.core.records.counted_events import CountedAsk
from llmfail.core.records.counters import AskCounters, count_asks
from llmfail.core.records.record import combine, dump, make_idempotent
from llmfail.core.records.statistics import Count, CountedRecord, write_counts
from llmfail.store import open_store

MARK = "routing/hour"
WARM_UP_ASKS = 20
ASK_PAIRS = 15
LEAST_RATE, MOST_LATE = 2, 0.2
MOST_RUNS, MOST_RUNS_ON_OWN_SETS, MOST_TRIPS = 2.2, 2.05, 2.1
MOST_MS_MORE = 15


class Figures(NamedTuple):
    """Asks a second, milliseconds, and per ask: how often a change was run, and microseconds of processor
    time of the processes and of the server.
    """

    rate: float
    median: float
    late: float
    runs: float
    processor: float
    server: float
    trips: float


ASK = CountedAsk(tier=0, missing=None, saw_open_circuit=False, latency_ms=900)
ASK_RECORDS = (CountedRecord(MARK, AskCounters, count_asks),)


def ask(store, gate, claim, runs):
    def admit(values, now):
        runs[0] += 1
        return gates.admit(gate, claim, values, now)

    admission = store.update(gate.keys_with_budgets(claim), admit)
    step = make_idempotent(
        claim.call_id,
        combine(
            [
                gate_settlement.settle(gate, admission, PAID),
                write_counts(
                    [
                        Count(
                            CALL, (replace(CALL_RECORDS[0], key=gate.call_counters_key(0)), CALL_RECORDS[1])
                        ),
                        Count(ASK, ASK_RECORDS),
                    ]
                ),
                receipt_log.append([dump({"id": claim.call_id})]),
            ]
        ),
    )

    def settle(values, now):
        runs[0] += 1
        return step.change(values, now), None

    store.update(step.keys, settle)


def set_of(number, *, is_shared):
    """The gate and the claim of a process: the same for all, or a target, budgets and limits of its own."""
    if is_shared:
        return GATE, CLAIM
    address = replace(GATE.address, base_url=f"https://{number}.example")
    limits = tuple(replace(one, key=f"{one.key}/{number}") for one in GATE.limits)
    scopes = tuple(
        replace(one, key=f"{one.key}/{number}", bucket_index_key=one.bucket_index_key and f"{number}#")
        for one in CLAIM.scopes
    )
    return replace(GATE, address=address, limits=limits), replace(CLAIM, scopes=scopes)


def work(url, directory, number, seconds, *, is_shared, wait):
    store = open_store(url, Path(directory), 10.0)
    gate, claim = set_of(number, is_shared=is_shared)
    claims = (replace(claim, call_id=f"{os.getpid()}-{count}") for count in itertools.count())
    for one in itertools.islice(claims, WARM_UP_ASKS):
        ask(store, gate, one, [0])
    wait()
    runs, times, processor, ends_at = [0], [], time.process_time(), time.monotonic() + seconds
    while time.monotonic() < ends_at:
        before = time.monotonic()
        ask(store, gate, next(claims), runs)
        times.append(time.monotonic() - before)
    processor = time.process_time() - processor
    store.close()
    return {"times": times, "runs": runs[0], "processor": processor}


class Workers:
    """Forked processes that are ready and wait for ``release``."""

    def __init__(self, count, job):
        self._go, self._go_end = os.pipe()
        self._ready, ready_end = os.pipe()
        self._reports = []
        for number in range(count):
            report, report_end = os.pipe()
            if os.fork() == 0:
                self._work(job, number, ready_end, report_end)
            os.close(report_end)
            self._reports.append(report)
        os.close(ready_end)
        heard = 0
        while heard < count and (found := os.read(self._ready, count)):
            heard += len(found)

    def release(self):
        os.close(self._go_end)
        reports = []
        for report in self._reports:
            with os.fdopen(report) as file:
                reports.append(json.load(file))
            os.wait()
        os.close(self._go)
        os.close(self._ready)
        return reports

    def _work(self, job, number, ready_end, report_end):
        try:
            os.close(self._go_end)
            with os.fdopen(report_end, "w") as file:
                json.dump(job(number, partial(self._wait, ready_end)), file)
        except Exception:  # noqa: BLE001 - it must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(0)

    def _wait(self, ready_end):
        os.write(ready_end, b"r")
        os.read(self._go, 1)


class Server:
    """A ``redis-server``, and what it has done so far."""

    def __init__(self, port):
        self.port = port
        command = ["redis-server", "--port", str(port), "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while subprocess.run(self._cli("ping"), capture_output=True, check=False).stdout != b"PONG\n":
            time.sleep(0.05)

    def _cli(self, *command):
        return ["redis-cli", "-p", str(self.port), *command]

    def read_info(self):
        text = subprocess.run(self._cli("info", "all"), capture_output=True, check=True, text=True).stdout
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def stop(self):
        self._process.kill()
        self._process.wait()

    def measure(self):
        """Seconds of processor time, and trips: one for each script."""
        info = self.read_info()
        scripts = [info.get(f"cmdstat_{name}", "calls=0,") for name in ("evalsha", "eval")]
        calls = sum(int(one.partition("calls=")[2].partition(",")[0]) for one in scripts)
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"]), calls


def measure(server, url, processes, seconds, *, is_shared=True):
    with tempfile.TemporaryDirectory() as directory:
        job = partial(_report, url, directory, seconds, is_shared)
        workers = Workers(processes, job)
        processor, trips = server.measure()
        reports = workers.release()
    used, made = server.measure()
    times = sorted(each for one in reports for each in one["times"])
    count = len(times)
    return Figures(
        count / seconds,
        1000 * times[count // 2],
        1000 * times[int(count * 0.99)],
        sum(one["runs"] for one in reports) / count,
        1e6 * sum(one["processor"] for one in reports) / count,
        1e6 * (used - processor) / count,
        (made - trips) / count,
    )


def _report(url, directory, seconds, is_shared, number, wait):
    return work(url, directory, number, seconds, is_shared=is_shared, wait=wait)


def show(name, found):
    print(
        f"{name:14} {found.rate:6.0f} asks/s, p50 {found.median:6.1f} ms, p99 {found.late:6.1f} ms; per ask "
        f"{found.runs:.2f} changes run, {found.trips:.2f} trips, {found.processor:.0f} us of processor time "
        f"and {found.server:.0f} us of the server",
        flush=True,
    )


def judge(name, figure, limit, *, at_least=False):
    is_fine = figure >= limit if at_least else figure <= limit
    verdict = "within" if is_fine else "NOT WITHIN"
    print(f"{name}: {figure:.2f} ({verdict}: at {'least' if at_least else 'most'} {limit:g})", flush=True)
    return is_fine


def compare_fleets(server, url, processes, seconds, rounds):
    pairs = []
    for _ in range(rounds):
        pairs.append((measure(server, "disk", processes, seconds), measure(server, url, processes, seconds)))
        show("disk", pairs[-1][0])
        show("redis", pairs[-1][1])
    own = measure(server, url, processes, seconds, is_shared=False)
    show("redis, own sets", own)
    rate = statistics.median(shared.rate / disk.rate for disk, shared in pairs)
    late = statistics.median(shared.late / disk.late for disk, shared in pairs)
    runs = statistics.median(shared.runs for _, shared in pairs)
    trips = statistics.median(shared.trips for _, shared in pairs)
    return [
        judge("rate of redis over disk", rate, LEAST_RATE, at_least=True),
        judge("p99 of redis over disk", late, MOST_LATE),
        judge("changes run per ask on one set", runs, MOST_RUNS),
        judge("changes run per ask on own sets", own.runs, MOST_RUNS_ON_OWN_SETS),
        judge("trips per ask", trips, MOST_TRIPS),
    ]


def compare_commands(url):
    """What one ``llmfail ask`` costs more, as processor time of the process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with simulator() as urls, place(urls) as (config, state):
        shared = config.with_name("shared.yaml")
        shared.write_text(f"{config.read_text()}store: {url}\n")

        def run(file):
            used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
            command = [LLMFAIL, "--config", file, "--state-dir", state, "ask", "Say hello"]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            return 1000 * (sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - used)

        for file in (config, shared) * 2:
            run(file)
        more = [run(shared) - run(config) for _ in range(ASK_PAIRS)]
    name = f"ms of processor time of llmfail ask more than on the disk (median of {ASK_PAIRS} pairs)"
    return judge(name, statistics.median(more), MOST_MS_MORE)


def main(processes=16, seconds=3.0, rounds=5):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(port)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        fine = [*compare_fleets(server, url, processes, seconds, rounds), compare_commands(url)]
    finally:
        server.stop()
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main(*[kind(text) for kind, text in zip((int, float, int), sys.argv[1:], strict=False)]))
