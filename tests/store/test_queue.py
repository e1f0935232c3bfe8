"""What every queue promises: who may have an item, and what is never lost."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest
import worker_processes
from forked_program import start_script
from redis_servers import RedisProcess, ServerClock

from llmfail.core.degrade.queue_item import dump_ask
from llmfail.core.errors import StoreError
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.store_url import parse_redis_url
from llmfail.store.disk_queue import DiskQueue
from llmfail.store.redis.redis_queue import RedisQueue

QUEUEING = Path(__file__).with_name("queue_worker.py")
ASK = dump_ask(Ask(to_messages("Say hello"), max_tokens=7))
DAMAGED = ASK[:-1]
ITEMS = int(os.environ.get("QUEUE_TEST_ITEMS", "200"))
WORKERS = int(os.environ.get("QUEUE_TEST_WORKERS", "4"))
"""3000 and 16 for the whole promise, which takes longer than a test should."""
NEWER = ASK.replace('"v":1', '"v":2')


class Clock:
    """Of this process, for queues in files."""

    now = 1000.0

    def __call__(self):
        return self.now


class DiskPlace:
    """Where queues of one host are."""

    def __init__(self, tmp_path):
        self.directory = tmp_path / "deep" / "state"
        self.argument = str(self.directory)
        self.clock = Clock()

    def open(self, max_items, max_age, warn=lambda _text: None):
        return DiskQueue(self.directory, max_items, max_age, 10, self.clock, warn)


class RedisPlace(DiskPlace):
    """Where many hosts have theirs; the clock is the server's."""

    def __init__(self, tmp_path, server, clock):
        super().__init__(tmp_path)
        server.run("FLUSHALL")
        self.argument = server.url
        self.clock = clock
        clock.now = 1000.0

    def open(self, max_items, max_age, warn=lambda _text: None):
        return RedisQueue(parse_redis_url(self.argument), max_items, max_age, 10, warn)


@pytest.fixture(scope="module")
def clocked_server(tmp_path_factory):
    """A server, and its clock."""
    directory = tmp_path_factory.mktemp("clocked")
    clock = ServerClock(directory)
    with RedisProcess(directory, environ=clock.environ) as server:
        yield server, clock


@pytest.fixture(params=["disk", "redis"])
def place(request, tmp_path):
    if request.param == "disk":
        return DiskPlace(tmp_path)
    return RedisPlace(tmp_path, *request.getfixturevalue("clocked_server"))


@pytest.fixture
def clock(place):
    return place.clock


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def queue(place, warnings):
    made = place.open(5, 100, warnings.append)
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


def start(job, place, *arguments):
    words = job, place.argument, *map(str, arguments)
    worker = start_script(QUEUEING, *words, stdin=PIPE, stdout=PIPE, text=True)
    assert worker.stdout.readline() == "ready\n"
    return worker


def read_told(workers):
    return [line for worker in workers for line in worker.communicate()[0].split()]


class TestLooking:
    def test_who_only_looks_finds_nothing_and_makes_no_file(self, queue, place):
        assert ids(queue) == queue.remove_expired() == queue.drop(["A"]) == []
        assert (queue.count_pending(), queue.find_next_time(), queue.drop_all()) == (0, None, 0)
        assert queue.take("A", "one", 30) is None
        assert not queue.store_answer("A", "one", "{}", 30)
        assert not queue.remove("A", "one")
        queue.release("one")
        assert not place.directory.exists()

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


class TestProcesses:
    def test_8_processes_that_put_in_at_once_lose_nothing(self, place):
        workers = [start("put", place, name, 25) for name in "abcdefgh"]
        worker_processes.release_workers(workers)
        told = read_told(workers)
        assert len(told) == 200
        with closing(place.open(1, 1)) as queue:
            assert ids(queue) == sorted(told)

    @pytest.mark.parametrize("attempt", range(3))
    def test_what_was_put_in_before_a_process_is_killed_is_there(self, place, attempt):
        worker = start("put_for_ever", place, "a")
        worker_processes.release_workers([worker])
        told = [worker.stdout.readline().strip() for _ in range(20)]
        worker.send_signal(signal.SIGKILL)
        told += worker.stdout.read().split()
        worker_processes.wait_for_end(worker)
        with closing(place.open(1, 1)) as queue:
            found = ids(queue)
        assert found[: len(told)] == told
        assert len(found) - len(told) in {0, 1}, "the last may have had no time to tell"

    def test_p0_4_processes_that_answer_at_once_answer_each_item_once_although_one_is_killed(self, place):
        place.clock.now = time.time()
        names = [f"{n:04}" for n in range(ITEMS)]
        with closing(place.open(ITEMS, 1e6)) as queue:
            for name in names:
                queue.put(name, "vpr", ASK, None)
            victim = start("take_one", place, "victim")
            workers = [start("answer", place, f"worker {n}") for n in range(WORKERS)]
            worker_processes.release_workers([victim])
            assert victim.stdout.readline().strip() == names[0]
            victim.send_signal(signal.SIGKILL)
            worker_processes.wait_for_end(victim)
            worker_processes.release_workers(workers)
            assert sorted(read_told(workers)) == names
            assert ids(queue) == []

    def test_what_a_killed_process_had_comes_back_when_its_lease_ends(self, place):
        place.clock.now = time.time()
        with closing(place.open(10, 1e6)) as queue:
            for name in "ABC":
                queue.put(name, "vpr", ASK, None)
            worker = start("take", place, "one")
            worker_processes.release_workers([worker])
            assert [worker.stdout.readline().strip() for _ in range(4)] == ["A", "B", "C", "all"]
            worker.send_signal(signal.SIGKILL)
            worker_processes.wait_for_end(worker)
            ends_at = queue.find_next_time()
            place.clock.now = ends_at - 1
            assert queue.take("A", "two", 30) is None
            place.clock.now = ends_at + 1
            assert queue.take("A", "two", 30).attempts == 0

    def test_a_forked_child_and_its_parent_lose_nothing(self, place):
        queue = place.open(1000, 100)
        queue.put("first", "vpr", ASK, None)

        def work():
            for n in range(20):
                queue.put(f"{os.getpid()}-{n}", "vpr", ASK, None)
            queue.close()
            return "done"

        assert worker_processes.run_in_child(work, meanwhile=work) == "done"
        assert len(ids(queue)) == 41
        queue.close()
