"""Many processes on one state directory: real ones, at the same moment, and some of them killed."""

import signal
import sqlite3
import threading

import pytest
import worker_processes

from llmfail.core.records.record import Write
from llmfail.store.disk import DiskStore


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "deep" / "state"


def counters(directory):
    disk = DiskStore(directory, 5)
    values, _ = disk.read(["a", "b"])
    disk.close()
    return int(values["a"] or 0), int(values["b"] or 0)


def add(disk, key):
    disk.update([key], lambda values, _now: ({key: Write(str(int(values[key] or 0) + 1))}, None))


def test_32_processes_lose_no_increment(directory):
    reports = worker_processes.run_workers(32, "count", directory, 25)
    assert [report["error"] for report in reports] == [None] * 32
    assert counters(directory) == (800, 800)


@pytest.mark.parametrize("attempt", range(3))
def test_24_processes_open_a_directory_that_does_not_exist(directory, attempt):
    reports = worker_processes.run_workers(24, "count", directory, 1)
    assert reports == [{"error": None, "warnings": []}] * 24
    assert counters(directory) == (24, 24)


def test_a_creator_that_died_half_way_is_no_obstacle(directory):
    directory.mkdir(parents=True)
    (directory / "state.sqlite3").touch()
    (directory / "state.lock").touch()
    assert {report["error"] for report in worker_processes.run_workers(8, "count", directory, 1)} == {None}
    assert counters(directory) == (8, 8)


def test_processes_killed_in_the_middle_leave_whole_updates(directory):
    workers = worker_processes.start_workers(6, "count_for_ever", directory)
    worker_processes.release_workers(workers)
    told = 0
    for worker in workers:
        told += sum(worker.stdout.readline() == "+\n" for _ in range(20))
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        told += worker.stdout.read().count("+\n")
        worker_processes.wait_for_end(worker)
    a, b = counters(directory)
    assert a == b
    assert told <= a <= told + len(workers)
    with sqlite3.connect(directory / "state.sqlite3") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_8_processes_with_20_coroutines_each_lose_no_increment(directory):
    workers = worker_processes.start_workers(8, "count_together", directory, 5)
    worker_processes.release_workers(workers)
    assert sum(worker.communicate()[0].count("+\n") for worker in workers) == 800
    assert counters(directory) == (800, 800)


def test_processes_killed_among_many_updates_leave_whole_ones_and_all_that_were_told(directory):
    workers = worker_processes.start_workers(3, "count_together", directory, 10_000)
    worker_processes.release_workers(workers)
    told = 0
    for worker in workers:
        told += sum(worker.stdout.readline() == "+\n" for _ in range(100))
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        told += worker.stdout.read().count("+\n")
        worker_processes.wait_for_end(worker)
    a, b = counters(directory)
    assert a == b
    assert told <= a <= told + 20 * len(workers)


def test_a_killed_process_leaves_no_lock(directory):
    (worker,) = worker_processes.start_workers(1, "count_for_ever", directory)
    worker_processes.release_workers([worker])
    assert worker.stdout.readline() == "+\n"
    worker.kill()
    worker_processes.wait_for_end(worker)
    assert worker_processes.run_workers(1, "count", directory, 1)[0]["error"] is None


@pytest.mark.parametrize("damage", ["not a database", "broken pages"])
def test_damage_seen_by_8_processes_at_once_is_set_aside_once(directory, damage):
    disk = DiskStore(directory, 5)
    disk.update([], lambda _values, _now: ({f"key/{n}": Write("x" * 500) for n in range(200)}, None))
    disk.close()
    file = directory / "state.sqlite3"
    whole = file.read_bytes()
    file.write_bytes(b"no database " * 1000 if damage == "not a database" else whole[:4096] + b"\xff" * 40960)
    reports = worker_processes.run_workers(8, "count", directory, 3)
    assert [report["error"] for report in reports] == [None] * 8
    assert sum(len(report["warnings"]) for report in reports) == 1
    assert len([path for path in directory.glob("*.corrupt-*") if path.suffix.endswith("Z")]) == 1
    assert counters(directory) == (24, 24)


def test_a_forked_child_and_its_parent_lose_nothing(directory):
    """SQLite must not have the file open in a fork: see ``file._pause_all``."""
    disk = DiskStore(directory, 10)
    add(disk, "a")

    def work():
        for _ in range(50):
            add(disk, "a")
        disk.close()
        return "done"

    for forks in range(1, 6):
        assert worker_processes.run_in_child(work, meanwhile=work) == "done"
        assert disk.read(["a"])[0] == {"a": str(1 + 100 * forks)}
    disk.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_may_fork_while_its_threads_update(directory):
    disk = DiskStore(directory, 10)
    stop = threading.Event()
    done = []

    def work():
        while not stop.is_set():
            add(disk, "a")
            done.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        answers = [worker_processes.run_in_child(lambda: add(disk, "a") or "done") for _ in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert answers == ["done"] * 20
    assert disk.read(["a"])[0] == {"a": str(len(done) + 20)}
    disk.close()
