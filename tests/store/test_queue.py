"""The queue's file: who may have an item, what is never lost, and what is said when it cannot be used."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import worker_processes

from llmfail.core.degrade.queue_item import QueueOrigin, dump_ask
from llmfail.core.errors import StoreError
from llmfail.core.request.ask import Ask, to_messages
from llmfail.store.queue import RequestQueue

QUEUEING = Path(__file__).with_name("queue_worker.py")
ASK = dump_ask(Ask(to_messages("Say hello"), max_tokens=7))
DAMAGED = ASK[:-1]
NEWER = ASK.replace('"v":1', '"v":2')


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "deep" / "state"


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def queue(directory, clock, warnings):
    made = RequestQueue(directory, 5, 100, 5, clock, warnings.append)
    yield made
    made.close()


@pytest.fixture
def full(queue):
    """A queue of three: A, B and C."""
    for name in "ABC":
        queue.put(name, "vpr", ASK, None)
    return queue


def ids(queue):
    return [item.id for item in queue.items()]


def in_vain(queue, item_id, holder="one", **more):
    known = {"attempted": True, "rests_until": None, "retry_at": None, "error": "503"}
    return queue.give_back(item_id, holder, **known | more)


def rows(directory, statement="SELECT * FROM queue", *values):
    with contextlib.closing(sqlite3.connect(directory / "queue.sqlite3")) as connection, connection:
        return connection.execute(statement, values).fetchall()


def everything_in(directory):
    return b"".join(path.read_bytes() for path in directory.iterdir())


def start(job, directory, *arguments):
    command = [sys.executable, str(QUEUEING), job, str(directory), *map(str, arguments)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout.readline() == "ready\n"
    return worker


class TestLooking:
    def test_who_only_looks_makes_no_file(self, queue, directory):
        assert ids(queue) == queue.remove_expired() == queue.drop(["A"]) == []
        assert (queue.count_pending(), queue.find_next_time(), queue.drop_all()) == (0, None, 0)
        assert queue.take("A", "one", 30) is None
        assert not queue.store_answer("A", "one", "{}", 30)
        assert not queue.remove("A", "one")
        queue.release("one")
        assert not directory.exists()

    def test_what_was_put_in_is_there_the_oldest_first(self, queue, clock):
        queue.put("B", "vpr", ASK, 1060.5)
        clock.now += 1
        queue.put("A", "default", ASK, None)
        first, second = queue.items()
        assert (first.id, first.feature, first.created_at, first.expires_at) == ("A", "default", 1001, 1101)
        assert (second.id, second.feature, second.retry_at, second.attempts) == ("B", "vpr", 1060.5, 0)
        assert second.ask == Ask(to_messages("Say hello"), max_tokens=7)
        assert (second.error, second.receipt, second.rests_until, second.is_newer) == ("", None, None, False)

    def test_a_second_put_of_the_same_id_is_the_same(self, full):
        full.put("A", "other", ASK, None)
        assert [(item.id, item.feature) for item in full.items()] == [(name, "vpr") for name in "ABC"]

    @pytest.mark.parametrize(("text", "is_newer"), [(DAMAGED, False), (NEWER, True), ("", False)])
    def test_an_item_that_cannot_be_read_is_shown_and_in_nobodys_way(self, full, text, is_newer):
        full.put("AA", "vpr", text, None)
        found = list(full.items())
        assert [item.id for item in found] == ["A", "AA", "B", "C"]
        assert (found[1].ask, found[1].is_newer) == (None, is_newer)
        assert all(item.ask is not None for item in found if item.id != "AA")
        assert full.drop(["AA"]) == ["AA"]

    @pytest.mark.parametrize("column", ["feature", "created_at", "expires_at", "attempts", "error", "ask"])
    @pytest.mark.parametrize("value", [b"\xff\xfe", 7, 1.5, "text"])
    def test_a_tampered_row_can_still_be_listed_and_dropped(self, full, directory, column, value):
        full.close()
        rows(directory, f"UPDATE queue SET {column} = ? WHERE id = 'B'", value)
        assert ids(full) == ["A", "B", "C"]
        assert full.drop(["B"]) == ["B"]

    def test_the_items_are_read_as_they_are_when_their_turn_comes(self, full):
        walk = full.items()
        assert next(walk).id == "A"
        full.drop(["B"])
        full.put("D", "vpr", ASK, None)
        assert [item.id for item in walk] == ["C", "D"]


class TestLease:
    def test_nobody_else_gets_an_item_before_its_lease_ends(self, full, clock):
        assert full.take("A", "one", 30).id == "A"
        assert full.take("A", "two", 30) is None
        assert full.take("A", "one", 30) is None, "not even who has it"
        clock.now += 29.9
        assert full.take("A", "two", 30) is None
        clock.now += 0.1
        assert full.take("A", "two", 30).id == "A"

    def test_a_lease_of_somebody_who_is_known_to_have_ended_is_over(self, full):
        assert full.take("A", "one", 30)
        assert full.take("A", "two", 30, lambda holder: holder != "one") is None
        assert full.take("A", "two", 30, lambda holder: holder == "one").id == "A"
        assert full.take("A", "three", 30, lambda holder: holder == "one") is None

    @pytest.mark.parametrize("verb", ["remove", "renew", "give_back", "answered"])
    def test_somebody_whose_item_was_taken_over_changes_nothing(self, full, clock, verb):
        full.take("A", "one", 30)
        clock.now += 30
        full.take("A", "two", 30)
        before = list(full.items())
        done = {
            "remove": lambda: full.remove("A", "one"),
            "renew": lambda: full.renew("A", "one", 1000),
            "give_back": lambda: in_vain(full, "A"),
            "answered": lambda: full.store_answer("A", "one", "{}", 30),
        }[verb]()
        assert done is False
        full.release("one")
        assert list(full.items()) == before
        assert full.take("A", "three", 30) is None
        assert full.remove("A", "two")

    def test_a_lease_that_was_renewed_ends_later(self, full, clock):
        full.take("A", "one", 30)
        clock.now += 20
        assert full.renew("A", "one", 30)
        clock.now += 29
        assert full.take("A", "two", 30) is None
        clock.now += 1
        assert full.take("A", "two", 30)

    def test_what_is_released_can_be_taken_at_once_and_counts_as_never_taken(self, full):
        before = list(full.items())
        full.take("A", "one", 30)
        full.take("B", "one", 30)
        full.take("C", "two", 30)
        full.release("one")
        assert list(full.items()) == before
        assert [full.take(name, "three", 30) is not None for name in "ABC"] == [True, True, False]

    def test_an_item_that_was_asked_in_vain_rests(self, full, clock):
        full.take("A", "one", 30)
        assert in_vain(full, "A", rests_until=1030, retry_at=1010.0)
        item = next(full.items())
        assert (item.attempts, item.rests_until, item.retry_at, item.error) == (1, 1030, 1010, "503")
        assert full.take("A", "two", 30) is None
        clock.now = 1030
        assert full.take("A", "two", 30).attempts == 1

    def test_an_item_for_which_nobody_was_called_has_one_attempt_less(self, full):
        full.take("A", "one", 30)
        assert in_vain(full, "A", attempted=False, retry_at=1500.0)
        item = full.take("A", "two", 30)
        assert (item.attempts, item.retry_at) == (0, 1500)

    def test_the_next_moment_is_of_a_retry_a_rest_or_a_lease(self, full):
        assert full.find_next_time() is None
        full.put("D", "vpr", ASK, 1090.0)
        assert full.find_next_time() == 1090
        full.take("A", "one", 30)
        in_vain(full, "A", rests_until=1060, retry_at=1070.0)
        assert full.find_next_time() == 1070
        full.take("B", "one", 40)
        assert full.find_next_time() == 1040


class TestAnswer:
    def test_an_answer_is_kept_until_its_item_is_removed(self, full, clock):
        full.take("A", "one", 30)
        assert full.store_answer("A", "one", '{"answer": 1}', 30)
        assert full.take("A", "two", 30) is None
        clock.now += 30
        assert full.take("A", "two", 30).receipt == '{"answer": 1}'
        assert not full.remove("A", "one")
        assert full.remove("A", "two")
        assert ids(full) == ["B", "C"]

    def test_the_first_answer_is_the_answer(self, full, clock):
        full.take("A", "one", 30)
        clock.now += 30
        full.take("A", "two", 30)
        assert full.store_answer("A", "two", "second", 30)
        full.release("two")
        assert not full.store_answer("A", "one", "first", 30)
        assert next(full.items()).receipt == "second"

    def test_an_answer_that_comes_after_its_lease_is_not_lost_when_nobody_has_the_item(self, full, clock):
        full.take("A", "one", 30)
        clock.now += 50
        assert full.store_answer("A", "one", "late", 30)
        assert full.take("A", "two", 30) is None
        assert full.remove("A", "one")

    def test_also_when_somebody_else_had_it_in_vain_meanwhile(self, full, clock):
        full.take("A", "one", 30)
        clock.now += 30
        full.take("A", "two", 30)
        in_vain(full, "A", "two", rests_until=5000, retry_at=5000.0)
        assert full.store_answer("A", "one", "late", 30)
        clock.now += 30
        assert full.take("A", "three", 30).receipt == "late"

    def test_an_answer_to_what_was_dropped_is_nobodys(self, full):
        full.take("A", "one", 30)
        assert full.drop(["A", "Z"]) == ["A"]
        assert not full.store_answer("A", "one", "{}", 30)
        assert ids(full) == ["B", "C"]

    def test_an_answer_does_not_expire_with_its_request(self, full, clock):
        full.take("A", "one", 200)
        clock.now += 99
        assert full.store_answer("A", "one", "{}", 30)
        clock.now += 50
        assert full.remove_expired() == ["B", "C"]
        assert full.take("A", "two", 30).receipt == "{}"


class TestLimits:
    def test_a_full_queue_takes_nothing_and_loses_nothing(self, queue):
        for name in "ABCDE":
            queue.put(name, "vpr", ASK, None)
        with pytest.raises(StoreError, match=r"^the queue is full \(5 requests; queue\.max_items\)"):
            queue.put("F", "vpr", ASK, None)
        assert ids(queue) == list("ABCDE")
        queue.drop(["C"])
        queue.put("F", "vpr", ASK, None)
        assert ids(queue) == list("ABDEF")

    def test_what_is_too_old_makes_room_and_that_is_told(self, full, clock, warnings):
        clock.now += 50
        full.put("D", "vpr", ASK, None)
        full.put("E", "vpr", ASK, None)
        clock.now += 50
        full.put("F", "vpr", ASK, None)
        assert ids(full) == list("DEF")
        assert warnings == ["queued requests that were not answered within queue.max_age are gone: 3"]

    def test_what_is_too_old_is_not_asked_any_more(self, full, clock):
        clock.now += 99.9
        assert (full.count_pending(), full.remove_expired()) == (3, [])
        clock.now += 0.1
        assert full.count_pending() == 0
        assert full.take("A", "one", 30) is None
        assert full.remove_expired() == ["A", "B", "C"]
        assert (full.remove_expired(), ids(full)) == ([], [])

    def test_what_is_being_asked_does_not_expire_meanwhile(self, full, clock):
        clock.now += 90
        full.take("A", "one", 30)
        clock.now += 20
        assert full.remove_expired() == ["B", "C"]
        assert full.store_answer("A", "one", "{}", 30)

    def test_everything_can_be_dropped(self, full):
        full.take("A", "one", 30)
        full.put("D", "vpr", NEWER, None)
        assert full.drop_all() == 4
        assert (ids(full), full.count_pending()) == ([], 0)


class TestFile:
    def test_it_is_for_its_owner_only(self, full, directory):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        names = ["queue.sqlite3", "queue.sqlite3-wal", "queue.sqlite3-shm", "queue.lock"]
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert modes == dict.fromkeys(names, 0o600)

    def test_nothing_of_a_prompt_is_left_once_it_has_gone(self, queue, directory):
        secret = "the patient's name is Ödön "
        for name in "ABC":
            queue.put(name, "vpr", dump_ask(Ask(to_messages(f"{secret * 2000} {name}"))), None)
        assert secret.encode() in everything_in(directory)
        size = sum(path.stat().st_size for path in directory.iterdir())
        queue.take("A", "one", 30)
        queue.store_answer("A", "one", secret, 30)
        queue.remove("A", "one")
        queue.drop(["B"])
        queue.drop_all()
        queue.close()
        assert secret.encode() not in everything_in(directory)
        assert sum(path.stat().st_size for path in directory.iterdir()) < size / 4, "nor its room"

    def test_a_file_of_a_newer_schema_is_left_alone(self, full, directory):
        full.close()
        rows(directory, "PRAGMA user_version = 3")
        before = (directory / "queue.sqlite3").read_bytes()
        for verb in (full.count_pending, full.drop_all, lambda: full.put("D", "vpr", ASK, None)):
            with pytest.raises(StoreError, match=r"queue\.sqlite3 was written by a newer llmfail"):
                verb()
        assert (directory / "queue.sqlite3").read_bytes() == before

    def test_a_damaged_file_is_set_aside_and_that_is_told(self, full, directory, warnings):
        full.close()
        (directory / "queue.sqlite3").write_bytes(b"no database " * 1000)
        full.put("D", "vpr", ASK, None)
        assert ids(full) == ["D"]
        assert len(warnings) == 1
        assert "queue.sqlite3 was damaged and is now" in warnings[0]
        assert b"no database" in everything_in(directory)

    def test_a_lock_held_longer_than_the_timeout_is_an_error_that_says_so(self, full, directory, clock):
        hasty = RequestQueue(directory, 5, 100, 0.05, clock)
        holder = sqlite3.connect(directory / "queue.sqlite3", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        for verb in (lambda: hasty.put("D", "vpr", ASK, None), lambda: hasty.take("A", "one", 30)):
            with pytest.raises(StoreError, match=r"queue\.sqlite3 is locked by another process"):
                verb()
        assert hasty.count_pending() == 3, "who looks does not wait"
        holder.close()
        hasty.put("D", "vpr", ASK, None)
        hasty.close()

    def test_a_place_that_cannot_be_written_is_an_error_that_says_so(self, tmp_path, clock):
        (tmp_path / "file").touch()
        queue = RequestQueue(tmp_path / "file", 5, 100, 1, clock)
        for verb in (queue.count_pending, lambda: queue.put("A", "vpr", ASK, None), lambda: ids(queue)):
            with pytest.raises(StoreError, match=r"cannot use .*queue\.sqlite3: Not a directory"):
                verb()

    def test_a_queue_that_was_deleted_by_a_person_is_empty(self, full, directory):
        for path in directory.glob("queue.*"):
            path.unlink()
        assert ids(full) == []
        full.put("D", "vpr", ASK, None)
        assert ids(full) == ["D"]


class TestProcesses:
    def test_8_processes_that_put_in_at_once_lose_nothing(self, directory, clock):
        workers = [start("put", directory, name, 25) for name in "abcdefgh"]
        worker_processes.release_workers(workers)
        told = [line for worker in workers for line in worker.communicate()[0].split()]
        assert ids(RequestQueue(directory, 1, 1, 5, clock)) == sorted(told)
        assert len(told) == 200

    @pytest.mark.parametrize("attempt", range(3))
    def test_what_was_put_in_before_a_process_is_killed_is_there(self, directory, clock, attempt):
        worker = start("put_for_ever", directory, "a")
        worker_processes.release_workers([worker])
        told = [worker.stdout.readline().strip() for _ in range(20)]
        worker.send_signal(signal.SIGKILL)
        told += worker.stdout.read().split()
        worker_processes.wait_for_end(worker)
        found = ids(RequestQueue(directory, 1, 1, 5, clock))
        assert found[: len(told)] == told
        assert len(found) - len(told) in {0, 1}, "the last may have had no time to tell"

    def test_4_processes_that_answer_at_once_answer_each_item_once(self, directory):
        queue = RequestQueue(directory, 10_000, 1000, 5, lambda: 1e9)
        for n in range(100):
            queue.put(f"{n:03}", "vpr", ASK, None)
        rows(directory, "UPDATE queue SET expires_at = 1e12")
        workers = [start("answer", directory, name) for name in "abcd"]
        worker_processes.release_workers(workers)
        told = [line for worker in workers for line in worker.communicate()[0].split()]
        assert sorted(told) == [f"{n:03}" for n in range(100)]
        assert ids(queue) == []
        queue.close()

    def test_what_a_killed_process_had_comes_back_when_its_lease_ends(self, directory):
        clock = Clock(0)
        queue = RequestQueue(directory, 10, 1e12, 5, clock)
        for name in "ABC":
            queue.put(name, "vpr", ASK, None)
        worker = start("take", directory, "one")
        worker_processes.release_workers([worker])
        assert [worker.stdout.readline().strip() for _ in range(4)] == ["A", "B", "C", "all"]
        worker.send_signal(signal.SIGKILL)
        worker_processes.wait_for_end(worker)
        ((until,),) = set(rows(directory, "SELECT lease_until FROM queue WHERE id = 'A'"))
        clock.now = until - 1
        assert queue.take("A", "two", 30) is None
        clock.now = until
        assert queue.take("A", "two", 30).attempts == 0
        queue.close()

    def test_a_forked_child_and_its_parent_lose_nothing(self, directory, clock):
        queue = RequestQueue(directory, 1000, 100, 10, clock)
        queue.put("first", "vpr", ASK, None)

        def work():
            for n in range(20):
                queue.put(f"{os.getpid()}-{n}", "vpr", ASK, None)
            queue.close()
            return "done"

        assert worker_processes.run_in_child(work, meanwhile=work) == "done"
        assert len(ids(queue)) == 41
        queue.close()

    def test_threads_take_each_item_once(self, directory, clock):
        queue = RequestQueue(directory, 1000, 100, 30, clock)
        for n in range(40):
            queue.put(f"{n:02}", "vpr", ASK, None)
        taken = []

        def work(holder):
            taken.extend(item.id for item in queue.items() if queue.take(item.id, holder, 30))

        threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [f"{n:02}" for n in range(40)]
        queue.close()


def test_d1_a_file_of_version_0_1_keeps_its_items_which_are_of_no_configuration(full, directory):
    full.close()
    for name in ("configuration", "addresses"):
        rows(directory, f"ALTER TABLE queue DROP COLUMN {name}")
    rows(directory, "PRAGMA user_version = 1")
    assert [(item.id, item.origin) for item in full.items()] == [("A", None), ("B", None), ("C", None)]
    full.put("D", "vpr", ASK, None, QueueOrigin("/here/llmfail.yaml", frozenset({"1", "2"})))
    assert [item.origin for item in full.items()][3] == QueueOrigin("/here/llmfail.yaml", {"1", "2"})
