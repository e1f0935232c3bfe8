"""Rate limits and budgets on the way of an ask, on a clock that moves only when told."""

from datetime import datetime

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.admission.budget import Spending
from llmfail.core.records.record import Write, dump, load_or_default
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync

LIMITED = """\
models:
  a/one: {limits: {requests_per_minute: 10}, price: {input: 0, output: 1}}
  a/two: {price: {input: 0, output: 1}}
  b/one: {price: {input: 0, output: 1}}
  c/one: {price: {input: 0, output: 1}}
budgets: [{name: all, limit: 100, per: total}]
"""


@pytest.fixture
def play(tmp_path):
    return ScriptedEngine(tmp_path, {"a": [answer()], "b": [answer()], "c": [answer()]}, more=LIMITED)


def spending(play):
    return load_or_default(play.store.read(["budget/all/total"])[0]["budget/all/total"], Spending)


def test_the_last_that_could_answer_is_worth_a_wait(play):
    play.ask()
    receipt = play.ask(targets=("a/one",), fallback=False)
    assert receipt.ok
    assert play.slept == [pytest.approx(6.1)]


def test_nobody_waits_long_while_others_could_answer(play):
    play.ask()
    receipt = play.ask()
    assert [entry.outcome for entry in receipt.trail] == ["rate_limited_here", "ok"]
    assert (play.slept, receipt.tier) == ([], 1)


def test_nobody_waits_past_half_of_the_deadline(play):
    play.ask()
    receipt = play.ask(targets=("a/one",), fallback=False, deadline=12.0)
    assert (receipt.error.code, play.slept) == (3, [])
    assert receipt.retry_at == pytest.approx(play.now + 6.1)


def test_who_was_held_while_waiting_asks_for_a_new_place(play):
    play.ask()
    overslept = iter([100.0, 0.0])
    others = play.engine

    async def sleep(seconds):
        play.slept.append(seconds)
        play.now += seconds + next(overslept)
        if len(play.slept) == 1:
            await meanwhile()

    async def meanwhile():
        """Somebody else has taken the place, and the hold has ended."""
        await others.ask(Ask(to_messages("hi"), fallback=False))

    play.engine = Engine(play.settings, replace(play.ports, sleep=sleep))
    receipt = play.ask(targets=("a/one",), fallback=False, deadline=1000.0)
    assert receipt.ok
    assert play.slept == [pytest.approx(6.1)] * 2
    assert len(play.calls) == 3
    assert (spending(play).spent, spending(play).held) == (3 * 5_000_000, 0)
    assert spending(play).unsettled.calls == 0


def test_who_is_late_every_time_gives_up(play):
    play.ask()

    async def sleep(seconds):
        play.now += seconds + 1.0

    play.engine = Engine(play.settings, replace(play.ports, sleep=sleep))
    receipt = play.ask(targets=("a/one",), fallback=False, deadline=1000.0)
    assert [entry.outcome for entry in receipt.trail] == ["rate_limited_here"]
    assert (len(play.calls), spending(play).held) == (1, 0)


def test_a_budget_record_of_a_newer_version_refuses_and_is_left_alone(play):
    newer = dump(Spending()).replace('"v":1', '"v":2')
    play.store.update((), lambda _values, _now: ({"budget/all/total": Write(newer)}, None))
    receipt = play.ask()
    assert receipt.error.code == 4
    assert "newer llmfail" in receipt.error.message
    assert play.store.read(["budget/all/total"])[0]["budget/all/total"] == newer


@pytest.mark.parametrize("status", [504, 408])
def test_a_gateway_that_ran_out_of_time_may_have_been_charged_for(play, status):
    play.script["a"] = [error(status)]
    receipt = play.ask(targets=("a/one",), fallback=False)
    assert (receipt.ok, receipt.cost_pico_usd) == (False, None)
    assert spending(play).spent == 2000 * 1_000_000


def test_a_plan_waits_no_longer_than_the_ask_would(play):
    play.ask()
    steps = run_sync(play.engine.plan(Ask(to_messages("hi")))).steps
    assert [step.reason for step in steps][:2] == ["rate_limited_here", None]


def test_a_day_that_begins_on_the_way_pays_for_itself(tmp_path):
    more = LIMITED.replace("per: total", "per: day, timezone: UTC")
    play = ScriptedEngine(tmp_path, {"a": [error(503)], "b": [answer()]}, more=more)
    play.now = 1_700_006_399.0  # a second before midnight
    play.takes["a"] = 5.0
    receipt = play.ask(targets=("a/one", "b/one"))
    assert receipt.ok
    days = [f"budget/all/2023-11-{day}" for day in (14, 15)]
    values, _ = play.store.read(days)
    assert [load_or_default(values[day], Spending).spent for day in days] == [0, 5_000_000]


@pytest.mark.parametrize(
    ("per", "zone", "moment", "end"),
    [
        ("day", "UTC", "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"),
        ("day", "Europe/Berlin", "2026-11-21T23:30:00Z", "2026-11-22T23:00:00Z"),
        ("day", "Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-29T22:00:00Z"),
        ("day", "Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T23:00:00Z"),
        ("week", "Europe/Berlin", "2026-10-25T22:30:00Z", "2026-10-25T23:00:00Z"),
        ("month", "UTC", "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", "Europe/Berlin", "2026-03-01T00:00:00Z", "2026-03-31T22:00:00Z"),
    ],
)
def test_what_is_spent_is_spent_until_the_period_is_over(tmp_path, per, zone, moment, end):
    """One call at most: the answer costs more than the limit has left for another."""
    budget = f"budgets: [{{name: all, limit: 0.0020049, per: {per}, timezone: {zone}}}]"
    more = LIMITED.replace("budgets: [{name: all, limit: 100, per: total}]", budget)
    play = ScriptedEngine(tmp_path, {"a": [answer()], "b": [answer()], "c": [answer()]}, more=more)
    play.now = datetime.fromisoformat(moment).timestamp()
    assert play.ask().ok
    assert play.ask().error.code == 4
    play.now = datetime.fromisoformat(end).timestamp() - 0.001
    assert play.ask().error.code == 4
    play.now += 0.001
    assert play.ask().ok
