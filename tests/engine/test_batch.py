"""Many asks at once, in memory: order, windows, rate, and how a run ends."""

import asyncio

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, answer

from llmfail.core.errors import UsageError
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.bulk.batch import Batch, BatchLimits


class Desk:
    """Asks that are answered when the test says so, and what was written."""

    def __init__(self, stage, limits, total=20):
        self.asked = {}
        self.written = []
        self.taken = 0
        self.most = 0
        self.trouble = None
        self.writes = asyncio.Event()
        self.writes.set()
        self.total = total
        self.batch = Batch(self._ask, self._write, limits, stage.ports)
        self.run = asyncio.create_task(self.batch.run(self._source()))

    async def _source(self):
        for ref in range(self.total):
            self.taken += 1
            yield Ask(to_messages("hi"), ref=ref)

    async def _ask(self, ask, _repeats):
        self.asked[ask.ref] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.waiting))
        await self.asked[ask.ref]
        return Receipt(f"id{ask.ref}", "default", ref=ask.ref, answer="hi")

    async def _write(self, receipts):
        await self.writes.wait()
        if self.trouble:
            raise self.trouble
        self.written += [receipt.ref for receipt in receipts]

    @property
    def waiting(self):
        return [ref for ref, reply in self.asked.items() if not reply.done()]

    async def settled(self):
        """Let everything happen that can."""
        for _ in range(200):
            await asyncio.sleep(0)

    async def answer(self, *refs):
        for ref in refs:
            self.asked[ref].set_result(None)
        await self.settled()

    async def answer_all(self):
        while not self.run.done():
            await self.answer(*self.waiting)


@pytest.fixture
def stage(tmp_path):
    return ScriptedEngine(tmp_path, {"a": [answer()]})


def played(scene):
    """Run a scene that is a coroutine function."""
    return asyncio.run(asyncio.wait_for(scene(), 30))


class TestAtOnce:
    def test_no_more_are_under_way_than_was_said(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=3))
            await desk.settled()
            assert desk.waiting == [0, 1, 2]
            await desk.answer(1)
            assert desk.waiting == [0, 2, 3]
            await desk.answer_all()
            assert await desk.run is True
            assert desk.most == 3
            assert desk.batch.under_way == 0

        played(scene)

    def test_in_order_one_that_takes_long_holds_up_the_source_at_four_times_as_many(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=2), total=100)
            await desk.settled()
            for _ in range(50):
                await desk.answer(*[ref for ref in desk.waiting if ref != 0])
            assert desk.written == []
            assert len(desk.asked) == 8
            assert desk.taken == 8
            await desk.answer(0)
            assert desk.written == list(range(8))
            await desk.answer_all()
            assert desk.written == list(range(100))

        played(scene)

    def test_unordered_they_are_written_as_they_come(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=3, ordered=False))
            await desk.settled()
            await desk.answer(2)
            await desk.answer(1)
            assert desk.written == [2, 1]
            await desk.answer_all()
            assert sorted(desk.written) == list(range(20))

        played(scene)

    @pytest.mark.parametrize("ordered", [True, False])
    def test_who_does_not_take_the_receipts_holds_up_the_source(self, stage, ordered):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=2, ordered=ordered), total=100)
            desk.writes.clear()
            for _ in range(50):
                await desk.settled()
                await desk.answer(*desk.waiting)
            assert desk.taken == 8
            desk.writes.set()
            await desk.answer_all()
            assert sorted(desk.written) == list(range(100))

        played(scene)

    def test_a_receipt_in_the_source_keeps_its_place(self, stage):
        async def source():
            yield Ask(to_messages("hi"), ref="a")
            yield Receipt("id", "default", ref="b")
            yield Ask(to_messages("hi"), ref="c")

        async def ask(asked, _repeats):
            return Receipt("id", "default", ref=asked.ref)

        written = []

        async def write(receipts):
            written.extend(receipt.ref for receipt in receipts)

        assert asyncio.run(Batch(ask, write, BatchLimits(), stage.ports).run(source())) is True
        assert written == ["a", "b", "c"]


class TestRate:
    @pytest.mark.parametrize(
        ("per_minute", "lost", "starts"),
        [
            (120, 0, [0, 0.5, 1, 1.5]),
            (60, 0, [0, 1, 2, 3]),
            (60, 0.3, [0, 1, 2, 3]),
            (60, 30, [0, 1, 31, 32]),
        ],
    )
    def test_so_many_start_in_a_minute_and_lost_time_is_not_made_up_for(
        self, stage, per_minute, lost, starts
    ):
        began, found = stage.now, []

        async def turns():
            for _ in range(10):
                await asyncio.sleep(0)

        async def sleep(seconds):
            await turns()
            stage.now += seconds

        async def source():
            for ref in range(4):
                await turns()
                stage.now += lost * (ref == 2)
                yield Ask(to_messages("hi"), ref=ref)

        async def ask(asked, _repeats):
            found.append(stage.now - began)
            return Receipt("id", "default", ref=asked.ref)

        async def write(_receipts):
            return

        ports = replace(stage.ports, sleep=sleep)
        asyncio.run(Batch(ask, write, BatchLimits(per_minute=per_minute), ports).run(source()))
        assert found == pytest.approx(starts)

    def test_a_receipt_in_the_source_waits_for_nothing(self, stage):
        async def source():
            for ref in range(10):
                yield Receipt("id", "default", ref=ref)

        async def write(_receipts):
            return

        asyncio.run(Batch(None, write, BatchLimits(per_minute=1), stage.ports).run(source()))
        assert stage.slept == []


class TestHowItEnds:
    def test_stopped_it_begins_nothing_more_and_writes_what_is_under_way(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=3))
            await desk.settled()
            await desk.answer(1)
            desk.batch.stop()
            await desk.settled()
            assert desk.waiting == [0, 2, 3]
            await desk.answer(3, 2, 0)
            assert await desk.run is False
            assert desk.written == [0, 1, 2, 3]

        played(scene)

    def test_stopped_while_nobody_takes_the_receipts_it_writes_them_all(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=2), total=100)
            desk.writes.clear()
            for _ in range(20):
                await desk.settled()
                await desk.answer(*desk.waiting)
            desk.batch.stop()
            await desk.settled()
            desk.writes.set()
            assert await desk.run is False
            assert desk.written == list(range(8))

        played(scene)

    def test_cancelled_it_writes_the_answers_that_waited_for_an_earlier_one(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=4))
            await desk.settled()
            await desk.answer(3, 1)
            desk.run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await desk.run
            assert desk.written == [1, 3]

        played(scene)

    def test_stopped_after_the_last_line_it_came_to_its_end(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=30))
            await desk.settled()
            desk.batch.stop()
            await desk.answer_all()
            assert await desk.run is True

        played(scene)

    def test_an_error_of_the_source_is_raised_once_everything_is_written(self, stage):
        written = []

        async def source():
            yield Ask(to_messages("hi"), ref="a")
            raise UsageError("cannot read it")

        async def ask(asked, _repeats):
            await asyncio.sleep(0)
            return Receipt("id", "default", ref=asked.ref)

        async def write(receipts):
            written.extend(receipt.ref for receipt in receipts)

        with pytest.raises(UsageError, match="cannot read it"):
            asyncio.run(Batch(ask, write, BatchLimits(), stage.ports).run(source()))
        assert written == ["a"]

    def test_who_cannot_write_ends_the_run_with_that_error(self, stage):
        async def scene():
            desk = Desk(stage, BatchLimits(concurrency=3))
            desk.trouble = BrokenPipeError()
            await desk.settled()
            await desk.answer(0)
            with pytest.raises(BrokenPipeError):
                await desk.run
            assert [reply.cancelled() for reply in desk.asked.values()][:3] == [False, True, True]

        played(scene)

    @pytest.mark.parametrize(
        ("error", "code", "kind"), [(UsageError("no such feature"), 2, "usage"), (KeyError("x"), 1, "bug")]
    )
    def test_one_that_cannot_be_asked_has_a_receipt_and_the_others_go_on(self, stage, error, code, kind):
        written = []

        async def source():
            for ref in "abc":
                yield Ask(to_messages("hi"), ref=ref)

        async def ask(asked, _repeats):
            if asked.ref == "b":
                raise error
            return Receipt("id", "default", ref=asked.ref)

        async def write(receipts):
            written.extend(receipts)

        asyncio.run(Batch(ask, write, BatchLimits(), stage.ports).run(source()))
        assert [receipt.ref for receipt in written] == ["a", "b", "c"]
        assert [receipt.ok for receipt in written] == [True, False, True]
        assert (written[1].error.code, written[1].error.kind) == (code, kind)
