"""A store for asyncio: nobody's update is lost, and nothing that the store waits for holds up the loop."""

import asyncio
import sqlite3

import pytest

from llmfail.core.record import Write
from llmfail.engine.ports import BlockingKeeper, Stores, aio
from llmfail.engine.threaded import MOST, ThreadedKeeper
from llmfail.store.disk import Disk
from llmfail.store.memory import Memory


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "state", 10)
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
    letters = [chr(ord("a") + number % 26) for number in range(3 * MOST)]

    async def ask():
        keeper = ThreadedKeeper(disk)
        return await asyncio.gather(*(keeper.update(*append(letter)) for letter in letters))

    assert asyncio.run(ask()) == letters
    assert text(disk) == "".join(letters)


def test_updates_that_wait_are_made_as_one(disk):
    seen = []

    def look(_values, _now):
        other = Disk(disk.file.path.parent, 10)
        seen.append(text(other))
        other.close()
        return {}, None

    async def ask():
        keeper = ThreadedKeeper(disk)
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
        keeper = ThreadedKeeper(disk)
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
        keeper = ThreadedKeeper(disk)
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
        keeper = ThreadedKeeper(disk)
        updates = keeper.update(*append("1")), keeper.update([], change), keeper.update(*append("2"))
        return await asyncio.gather(*updates, return_exceptions=True)

    one, error, two = asyncio.run(ask())
    assert (one, type(error), two) == ("1", RuntimeError, "2")


def test_a_loop_that_ended_in_the_middle_is_no_obstacle_to_the_next(disk):
    keeper = ThreadedKeeper(disk)

    async def leave():
        asyncio.get_running_loop().create_task(keeper.update(*append("1")))
        await asyncio.sleep(0)

    with Locked(disk):
        asyncio.run(leave())
    asyncio.run(keeper.update(*append("2")))
    assert text(disk) == "12"


def test_what_is_in_memory_needs_no_thread():
    ports = aio(None, Stores(Memory(lambda: 0.0), Memory(lambda: 0.0)), None)
    assert [type(ports.keeper), type(ports.answers)] == [BlockingKeeper, BlockingKeeper]
