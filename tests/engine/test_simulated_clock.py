"""The clock jumps to the next moment at which something happens, whoever waits."""

import asyncio

import pytest

from llmfail.engine.ports.simulated_clock import SimulatedClock


def test_waits_end_in_the_order_of_their_moments_and_take_no_time():
    time, ended = SimulatedClock(1000.0), []

    async def wait(name, *waits):
        for seconds in waits:
            await time.sleep(seconds)
        ended.append((name, time.now, time.wall()))

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(wait("slow", 3000, 3000))
            group.create_task(wait("quick", 5))
            group.create_task(wait("at once"))
            stopped = group.create_task(wait("stopped", 100))
            await time.sleep(50)
            stopped.cancel()

    time.run(work())
    assert ended == [("at once", 0.0, 1000.0), ("quick", 5.0, 1005.0), ("slow", 6000.0, 7000.0)]


def test_who_waits_for_nothing_that_will_ever_happen_is_told():
    time = SimulatedClock(0.0)

    async def work():
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no moment"):
        time.run(work())


def test_the_clock_goes_on_from_where_it_was():
    time = SimulatedClock(0.0)
    time.run(time.sleep(10))
    time.advance(5)
    time.run(time.sleep(1))
    assert time.now == 16.0
