"""A store for asyncio: nobody's update is lost, and nothing that the store waits for holds up the loop."""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmfail.core.records.record import Write
from llmfail.engine.ports.aio import build_asyncio_ports
from llmfail.engine.ports.protocols import Stores
from llmfail.engine.ports.store_access import InlineStore
from llmfail.engine.ports.threaded_store import MAX_GROUP, GroupCommitStore
from llmfail.store.disk import DiskStore
from llmfail.store.failover import FailoverStore
from llmfail.store.memory import MemoryStore
from llmfail.wire.aio import AiohttpWire


@pytest.fixture
def disk(tmp_path):
    made = DiskStore(tmp_path / "state", 10)
    yield made
    made.close()


def append(letter):
    def change(values, _now):
        return {"a": Write((values["a"] or "") + letter)}, letter

    return ["a"], change


def text(disk):
    return disk.read(["a"])[0]["a"]


class Locked:
    """Somebody else has the file of the state locked; its own writes are in the way of nobody's."""

    def __init__(self, disk):
        disk.update([], lambda _values, _now: ({}, None))
        self._connection = sqlite3.connect(disk.file.path, isolation_level=None)

    def __enter__(self):
        self._connection.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *_exc_info):
        self._connection.close()


def test_updates_are_made_in_the_order_in_which_they_were_asked_for(disk):
    letters = [chr(ord("a") + number % 26) for number in range(3 * MAX_GROUP)]

    async def ask():
        keeper = GroupCommitStore(disk)
        return await asyncio.gather(*(keeper.update(*append(letter)) for letter in letters))

    assert asyncio.run(ask()) == letters
    assert text(disk) == "".join(letters)


def test_updates_that_wait_are_made_as_one(disk):
    seen = []

    def look(_values, _now):
        other = DiskStore(disk.file.path.parent, 10)
        seen.append(text(other))
        other.close()
        return {}, None

    async def ask():
        keeper = GroupCommitStore(disk)
        with Locked(disk):
            first = asyncio.create_task(keeper.update(*append("1")))
            await asyncio.sleep(0)
            rest = asyncio.gather(keeper.update(*append("2")), keeper.update([], look))
            await asyncio.sleep(0)
        await asyncio.gather(first, rest)

    asyncio.run(ask())
    assert (text(disk), seen) in [("12", ["1"]), ("12", [None])]


def test_the_loop_goes_on_while_the_store_waits(disk):
    async def ask():
        keeper = GroupCommitStore(disk)
        with Locked(disk):
            asked = asyncio.create_task(keeper.update(*append("1")))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not asked.done()
        await asked

    asyncio.run(ask())
    assert text(disk) == "1"


def test_whoever_is_stopped_takes_nobody_along(disk):
    async def ask():
        keeper = GroupCommitStore(disk)
        with Locked(disk):
            tasks = [asyncio.create_task(keeper.update(*append(letter))) for letter in "123"]
            await asyncio.sleep(0)
            tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    one, stopped, three = asyncio.run(ask())
    assert (one, type(stopped), three) == ("1", asyncio.CancelledError, "3")
    assert text(disk) in {"13", "123"}


def test_an_error_is_raised_where_the_update_was_asked_for(disk):
    def change(_values, _now):
        raise StopIteration

    async def ask():
        keeper = GroupCommitStore(disk)
        updates = keeper.update(*append("1")), keeper.update([], change), keeper.update(*append("2"))
        return await asyncio.gather(*updates, return_exceptions=True)

    one, error, two = asyncio.run(ask())
    assert (one, type(error), two) == ("1", RuntimeError, "2")


def test_a_loop_that_ended_in_the_middle_is_no_obstacle_to_the_next(disk):
    keeper = GroupCommitStore(disk)

    async def leave():
        asyncio.get_running_loop().create_task(keeper.update(*append("1")))
        await asyncio.sleep(0)

    with Locked(disk):
        asyncio.run(leave())
    asyncio.run(keeper.update(*append("2")))
    assert text(disk) == "12"


def test_a_loop_that_ended_before_it_began_is_no_obstacle_either(disk):
    keeper, asked = GroupCommitStore(disk), []

    async def leave(loop):
        """The update is asked for in the last turn of the loop."""
        loop.call_soon(lambda: asked.append(loop.create_task(keeper.update(*append("1")))))
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave(loop))
    assert asyncio.run(asyncio.wait_for(keeper.update(*append("2")), 10)) == "2"
    loop.run_until_complete(*asked)
    loop.close()
    assert text(disk) == "12"


def test_two_loops_may_ask_at_once(disk):
    keeper = GroupCommitStore(disk)

    async def ask(letter):
        for _ in range(100):
            await asyncio.wait_for(keeper.update(*append(letter)), 10)

    disk.update([], lambda _values, _now: ({}, None))
    with ThreadPoolExecutor(2) as threads:
        for asked in [threads.submit(asyncio.run, ask(letter)) for letter in "12"]:
            asked.result()
    assert sorted(text(disk)) == ["1"] * 100 + ["2"] * 100


def test_a_loop_that_ends_leaves_nobody_of_another_loop_waiting(disk):
    first, found = threading.get_ident(), []
    other = asyncio.new_event_loop()

    class AskedMeanwhile:
        """Each time that the first loop writes, the other one asks for something more."""

        name = "disk"
        is_local = True

        def update(self, keys, change, *, waits=True):
            if threading.get_ident() == first:
                asked = len(keeper._pending)
                found.append(asyncio.run_coroutine_threadsafe(keeper.update(*append("2")), other))
                while len(keeper._pending) == asked:
                    time.sleep(0.001)
            return disk.update(keys, change, waits=waits)

    keeper = GroupCommitStore(AskedMeanwhile())
    disk.update([], lambda _values, _now: ({}, None))
    with ThreadPoolExecutor(1) as threads:
        threads.submit(other.run_forever)
        try:
            asyncio.run(keeper.update(*append("1")))
            for one in found:
                one.result(10)
        finally:
            other.call_soon_threadsafe(other.stop)
    other.close()
    assert text(disk).count("2") == len(found)


def test_where_no_thread_can_be_had_the_loop_waits_itself(disk):
    keeper = GroupCommitStore(disk)
    keeper._thread.shutdown()  # as the end of the main thread does
    assert asyncio.run(asyncio.wait_for(keeper.update(*append("1")), 10)) == "1"


def test_who_interrupts_the_loop_leaves_nobody_waiting(disk):
    def interrupt(_values, _now):
        raise KeyboardInterrupt

    async def ask():
        keeper = GroupCommitStore(disk)
        await keeper.run_shielded(keeper.update([], interrupt), writes=True)

    disk.update([], lambda _values, _now: ({}, None))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(ask())


def test_a_store_that_is_free_needs_no_thread(disk):
    disk.update(*append("1"))
    before = set(threading.enumerate())
    asyncio.run(GroupCommitStore(disk).update(*append("2")))
    assert text(disk) == "12"
    assert set(threading.enumerate()) <= before


async def stopped_in_a_block(disk, work, times):
    """The work on a file that is locked until its caller was stopped so many times."""
    keeper = GroupCommitStore(disk)
    with Locked(disk):
        task = asyncio.create_task(keeper.run_shielded(work(keeper), writes=True))
        for _ in range(times):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_must_not_be_broken_is_done_to_its_end_before_its_caller_stops(disk, times):
    async def work(keeper):
        for letter in "12":
            assert await keeper.update(*append(letter)) == letter
        values, _ = await keeper.read(["a"])
        await keeper.update(*append(f"-{values['a']}"))

    asyncio.run(stopped_in_a_block(disk, work, times))
    assert text(disk) == "12-12"


def test_a_stop_among_results_that_have_come_is_put_off_too(disk):
    async def ask():
        keeper = GroupCommitStore(disk)

        async def work():
            await keeper.update(*append("1"))
            await keeper.update(*append("2"))

        def stop(_values, _now):
            """While the group of the first is made, whose result is told in the same turn."""
            asyncio.get_running_loop().call_soon(task.cancel)
            return {}, None

        task = asyncio.create_task(keeper.run_shielded(work(), writes=True))
        await asyncio.sleep(0)
        await keeper.update([], stop)
        await task

    disk.update(*append("0"))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask())
    assert text(disk) == "012"


def test_reading_in_a_block_is_not_broken_off(disk):
    async def work(keeper):
        values, _ = await keeper.read(["a"])
        await keeper.update(*append(f"-{values['a']}"))

    async def ask():
        keeper = GroupCommitStore(disk)
        task = asyncio.create_task(keeper.run_shielded(work(keeper), writes=True))
        await asyncio.sleep(0)
        task.cancel()
        await task

    disk.update(*append("1"))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask())
    assert text(disk) == "1-1"


def test_what_is_in_memory_needs_no_thread():
    ports = build_asyncio_ports(
        AiohttpWire(), Stores(MemoryStore(lambda: 0.0), MemoryStore(lambda: 0.0)), None
    )
    assert [type(ports.store), type(ports.answers)] == [InlineStore, InlineStore]


def test_what_is_in_memory_only_while_its_store_is_down_may_block(disk):
    (disk.file.path.parent).write_text("no directory")
    answers = FailoverStore(disk, MemoryStore(lambda: 0.0), lambda _text: None)
    answers.read([])
    assert answers.name == "memory"
    ports = build_asyncio_ports(AiohttpWire(), Stores(MemoryStore(lambda: 0.0), answers), None)
    assert [type(ports.store), type(ports.answers)] == [InlineStore, GroupCommitStore]
