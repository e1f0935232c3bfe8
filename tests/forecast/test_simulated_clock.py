"""The clock jumps to the next moment at which something happens, whoever waits."""

from llmfail.forecast.simulated_clock import SimulatedClock


def test_waits_end_in_the_order_of_their_moments_and_take_no_time():
    time, ended = SimulatedClock(1000.0), []

    async def work(name, *waits):
        for seconds in waits:
            await time.sleep(seconds)
        return name, time.now, time.wall()

    time.start(work("slow", 30, 30), ended.append)
    time.advance_to(10.0)
    time.start(work("quick", 5), ended.append)
    time.start(work("at once"), ended.append)
    assert ended == [("at once", 10.0, 1010.0)]
    time.advance_to(20.0)
    assert (time.now, ended[1]) == (20.0, ("quick", 15.0, 1015.0))
    time.run_out()
    assert (time.now, ended[2]) == (60.0, ("slow", 60.0, 1060.0))
