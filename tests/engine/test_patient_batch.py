"""A batch is patient: while no target of a line can be asked, the run pauses instead of failing its lines."""

import asyncio
import json

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.model import Target
from llmfail.core.receipt import Failure, TrailEntry
from llmfail.core.records.counters import AskCounters, hour_of
from llmfail.core.records.record import load_or_default
from llmfail.core.records.state_keys import ask_counters_key
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.routing.repeat import MAX_FAILED_CALLS, find_hopeful, find_repeat
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.bulk.batch_budget import BatchBudget
from llmfail.engine.bulk.run_pauses import RunPauses

A, B = Target("a", "one"), Target("b", "one")
UNAVAILABLE = Failure(3, "unavailable", "no")


def called(outcome, target=A):
    return TrailEntry(target, "called", outcome)


def skipped(reason, target=A):
    return TrailEntry(target, "skipped", reason)


class TestRules:
    @pytest.mark.parametrize(
        ("trail", "hopeful"),
        [
            ([skipped("circuit_open")], {A}),
            ([skipped("probing"), skipped("held", B)], {A, B}),
            ([skipped("rate_limited_here"), skipped("no_key", B)], {A}),
            ([called("server_error"), called("rate_limited", B)], {A, B}),
            ([called("server_error"), skipped("disabled")], set()),
            ([skipped("circuit_open"), called("rejected_answer")], set()),
            ([skipped("over_budget"), skipped("too_small", B)], set()),
        ],
    )
    def test_the_last_that_stood_in_the_way_of_a_target_decides(self, trail, hopeful):
        assert find_hopeful(trail) == hopeful

    @pytest.mark.parametrize(
        ("opening", "max_pause", "at"),
        [(160.0, 60.0, 160.0), (160.1, 60.0, None), (100.5, 0.0, None), (None, 600.0, None)],
    )
    def test_each_pause_is_bounded_by_wait(self, opening, max_pause, at):
        found = find_repeat(
            UNAVAILABLE, [skipped("circuit_open")], opening, 100.0, max_pause=max_pause, random_number=0.5
        )
        assert (found and found.at) == at
        assert found is None or found.is_pause

    @pytest.mark.parametrize("code", [1, 2, 4, 5, 6, 7, 8])
    def test_what_waiting_does_not_help_fails_at_once(self, code):
        failure = Failure(code, "x", "no")
        trail = [skipped("circuit_open")]
        assert find_repeat(failure, trail, 101.0, 100.0, max_pause=600.0, random_number=0.5) is None

    def test_a_line_that_fails_of_itself_is_given_up(self):
        for failed in range(1, 2 * MAX_FAILED_CALLS):
            trail = [called("server_error")] * failed
            found = find_repeat(UNAVAILABLE, trail, 100.0, 100.0, max_pause=600.0, random_number=0.5)
            assert (found is not None) == (failed < MAX_FAILED_CALLS)
            assert found is None or (100.0 < found.at < 110.0 and not found.is_pause)


class Run:
    """A batch of so many lines on the engine in memory, by its clock; what it came to."""

    def __init__(self, stage, number=6, limits=None, *, budget=None, **options):
        self.stage, self.written, self.pauses = stage, [], []
        stage.ports = replace(stage.ports, sleep=self._sleep)
        stage.engine = type(stage.engine)(stage.settings, stage.ports)
        limits = limits or BatchLimits(concurrency=3)
        self.batch = Batch(self._ask, self._write, limits, stage.ports, budget, self.pauses.append)
        self._number, self._options = number, options

    def to_end(self):
        return asyncio.run(asyncio.wait_for(self.batch.run(self._source()), 60))

    async def _ask(self, ask, repeats):
        await asyncio.sleep(0)
        return await self.stage.engine.ask(ask, repeats=repeats)

    async def _write(self, receipts):
        self.written += receipts

    async def _source(self):
        for ref in range(self._number):
            yield Ask(to_messages("hi"), ref=ref, targets=(A,), fallback=False, **self._options)

    async def _sleep(self, seconds):
        """The clock goes on when everybody waits."""
        ends_at = self.stage.now + seconds
        for _ in range(50):
            await asyncio.sleep(0)
        self.stage.now = max(self.stage.now, ends_at)
        self.stage.slept.append(seconds)


@pytest.fixture
def stage(tmp_path):
    """A provider that fails twice, so that its circuit opens for a minute, and then answers."""
    return ScriptedEngine(tmp_path, {"a": [error(500), error(500), answer()]})


class TestRuns:
    def test_while_every_target_is_open_the_run_pauses_and_then_goes_on(self, stage):
        run = Run(stage)
        assert run.to_end() is True
        assert [(one.ref, one.ok) for one in run.written] == [(ref, True) for ref in range(6)]
        assert run.pauses
        assert 55 < run.pauses[0].seconds <= 60
        assert run.pauses[0].feature == "default"

    def test_without_patience_lines_fail_at_once(self, stage):
        run = Run(stage, wait=0.0)
        run.to_end()
        assert [one.ok for one in run.written].count(False) >= 4
        assert run.pauses == []

    @pytest.mark.parametrize(("wait", "answered"), [(59.0, 0), (61.0, 4)])
    def test_a_pause_longer_than_wait_is_none(self, stage, wait, answered):
        run = Run(stage, limits=BatchLimits(concurrency=3, max_pause=wait))
        run.to_end()
        assert sum(one.ok for one in run.written) >= answered
        assert bool(run.pauses) is bool(answered)

    def test_the_deadline_of_a_line_is_not_consumed_by_a_pause(self, stage):
        run = Run(stage, deadline=5.0)
        run.to_end()
        assert all(one.ok for one in run.written)

    def test_what_failed_calls_cost_stands_in_the_receipt_and_the_log_has_one_entry_a_line(self, stage):
        run = Run(stage, number=1)
        run.to_end()
        (receipt,) = run.written
        outcomes = [entry.outcome for entry in receipt.trail if entry.action == "called"]
        assert outcomes == ["server_error", "server_error", "ok"]
        values, _ = stage.store.read(["log"])
        assert json.loads(values["log"])["next"] == 1

    @pytest.mark.parametrize("reply", [error(400), error(401), answer("")])
    def test_a_line_without_an_answer_stands_in_the_log_once_and_is_counted_once(self, tmp_path, reply):
        stage = ScriptedEngine(tmp_path, {"a": [reply]})
        Run(stage, number=2, limits=BatchLimits(concurrency=1)).to_end()
        hour = ask_counters_key(stage.settings.configuration_id, hour_of(stage.ports.wall()))
        values, _ = stage.store.read(["log", hour])
        assert json.loads(values["log"])["next"] == 2
        assert load_or_default(values[hour], AskCounters).asks == 2

    def test_a_degrade_step_does_not_take_the_place_of_a_pause(self, tmp_path):
        script = {"a": [error(500), error(500), answer("from the model")]}
        feature = ", degrade: [{text: nobody is there}]"
        run = Run(ScriptedEngine(tmp_path, script, feature=feature))
        run.to_end()
        assert {one.answer for one in run.written} == {"from the model"}

    def test_a_budget_gives_back_what_a_paused_line_holds(self, tmp_path):
        more = "models: {a/one: {price: {input: 0, output: 1000}}}"
        stage = ScriptedEngine(tmp_path, {"a": [error(500), error(500), answer()]}, more=more)
        budget = BatchBudget(10**15, 0, stage.engine.plan)
        run = Run(stage, budget=budget, max_tokens=10)
        run.to_end()
        assert (budget.reserved, all(one.ok for one in run.written)) == (0, True)

    @pytest.mark.parametrize(("wall", "monotonic"), [(-3600.0, 60.0), (60.0, 0.0)])
    def test_a_pause_is_over_by_the_clock_that_says_so_first(self, stage, wall, monotonic):
        """A clock that is set back makes no pause longer, and neither does a machine that sleeps."""
        now = {"wall": stage.now, "monotonic": 0.0}

        async def sleep(_seconds):
            now["wall"] += wall
            now["monotonic"] += monotonic

        clocks = {"wall": lambda: now["wall"], "monotonic": lambda: now["monotonic"]}
        pauses = RunPauses(replace(stage.ports, sleep=sleep, **clocks), lambda _pause: None)
        ask = Ask(to_messages("hi"))
        pauses.begin(ask, stage.now + 60)
        assert pauses.is_paused(ask)
        assert asyncio.run(asyncio.wait_for(pauses.wait(ask), 10)) is True
        assert not pauses.is_paused(ask)

    def test_a_stop_in_a_pause_gives_up_what_waits_and_writes_the_rest(self, stage):
        run = Run(stage)

        async def sleep(seconds):
            if seconds > 30:
                run.batch.stop()
                await asyncio.sleep(3600)

        stage.ports = replace(stage.ports, sleep=sleep)
        run.batch._pauses._ports = stage.ports
        assert run.to_end() is False
        assert all(one.ok for one in run.written)
        assert run.batch.under_way == 0
