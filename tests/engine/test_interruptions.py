"""Stopped at every step around every write to the store: what was paid for is counted once, nothing stays
held.

The primary is down, the fallback answers; both are under a budget.
"""

import asyncio
import signal

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, address_of, answer, error

from llmfail.core.admission.budget import Spending
from llmfail.core.records.counters import CallCounters
from llmfail.core.records.record import load_or_default
from llmfail.core.records.state_keys import call_counters_key
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.stop_signals import block_signals
from llmfail.engine.ports.threaded_store import GroupCommitStore

MORE = """\
models:
  a/one: {price: {input: 0, output: 1000}}
  b/one: {price: {input: 0, output: 1000}}
budgets: [{name: all, limit: 100, per: total}]
"""
COST = 5 * 10**9
"""Of the answer: five tokens of output."""
CHAIN = (("a/one", "b/one"),)
UPDATES = 3
"""Of one such ask: admit the first, settle it and admit the second, settle that with the receipt."""


class Stop(BaseException):
    """What a signal raises."""


class Stopping:
    """A keeper at whose n-th verb something happens: ``before`` or ``after`` the update, or once what had to
    be unbroken is over, as a signal that was held back.
    """

    def __init__(self, keeper, number, place, stop):
        self._keeper = keeper
        self._left = number
        self._place = place
        self._stop = stop

    async def read(self, keys):
        return await self._keeper.read(keys)

    async def update(self, keys, change):
        self._left -= 1
        if self._left == 0 and self._place == "before":
            self._stop()
        result = await self._keeper.update(keys, change)
        if self._left == 0 and self._place == "after":
            self._stop()
        return result

    async def run_shielded(self, work, *, writes):
        before = self._left
        result = await self._keeper.run_shielded(work, writes=writes)
        if self._left == 0 < before and self._place == "released":
            self._stop()
        return result


@pytest.fixture
def play(tmp_path):
    return ScriptedEngine(tmp_path, {"a": [error(503)], "b": [answer()]}, more=MORE)


def state(play):
    hour = int(play.now // 3600)
    keys = [call_counters_key(address_of(name), hour) for name in ("a/one", "b/one")]
    values, _ = play.store.read(["budget/all/total", *keys, "log"])
    spending = load_or_default(values["budget/all/total"], Spending)
    calls = {
        name[0]: load_or_default(values[key], CallCounters).calls
        for name, key in zip("ab", keys, strict=True)
    }
    return spending, calls


def raising():
    raise Stop


def ask(play, keeper):
    engine = Engine(play.settings, replace(play.ports, store=keeper))
    targets = tuple(entry.target for entry in engine.routes.chain(play.settings.find_feature("default"))[::2])
    return engine.ask(Ask(to_messages("hi"), targets=targets[:2]))


@pytest.mark.parametrize("place", ["before", "after", "released"])
@pytest.mark.parametrize("number", range(1, UPDATES + 1))
def test_a_signal_at_any_step_loses_no_money_and_leaves_no_hold(play, number, place):
    with pytest.raises(Stop):
        run_sync(ask(play, Stopping(play.ports.store, number, place, raising)))
    spending, calls = state(play)
    answered = play.hosts().count("b")
    assert (spending.spent, spending.held) == (answered * COST, 0)
    # What no signal brings about, since they wait: the store itself fails after it has written.
    counted_twice = (number, place) == (2, "after")
    assert calls == {"a": play.hosts().count("a") + counted_twice, "b": answered}


def test_the_number_of_updates_is_what_these_tests_go_through(play):
    receipt = run_sync(ask(play, Stopping(play.ports.store, UPDATES + 1, "before", raising)))
    assert (receipt.ok, receipt.cost_pico_usd) == (True, COST)
    assert state(play)[0].spent == COST


@pytest.mark.parametrize("place", ["before", "after", "released"])
@pytest.mark.parametrize("number", range(1, UPDATES + 1))
def test_a_task_that_is_cancelled_at_any_step_loses_no_money_and_leaves_no_hold(play, number, place):
    async def cancelled():
        task = asyncio.current_task()
        await ask(play, Stopping(GroupCommitStore(play.store), number, place, task.cancel))
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    spending, calls = state(play)
    answered = play.hosts().count("b")
    assert (spending.spent, spending.held) == (answered * COST, 0)
    assert calls == {"a": play.hosts().count("a"), "b": answered}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_what_must_not_be_broken_is_done(number):
    done = []

    def stop(_number, _frame):
        raise Stop

    def work():
        with block_signals():
            signal.raise_signal(number)
            done.append("all of it")

    before = signal.signal(number, stop)
    try:
        with pytest.raises(Stop):
            work()
        assert done == ["all of it"]
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(number, before)
