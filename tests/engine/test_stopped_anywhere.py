"""An ask that is stopped at any step of its driver: what was paid for is counted once, nothing stays held.

The steps are found by the driver itself: its trace hears each event and each operation. The primary is down,
the fallback is tried after a break and answers; both are under a budget, and answers are stored.
"""

import asyncio
import signal
from itertools import count

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, address_of, answer, error

from llmfail.core.admission.budget import Spending
from llmfail.core.admission.circuit import Circuit
from llmfail.core.cache.single_flight import FlightLease
from llmfail.core.classification.outcome import Kind
from llmfail.core.model import Target
from llmfail.core.records.counters import CallCounters
from llmfail.core.records.record import load, load_or_default
from llmfail.core.records.state_keys import call_counters_key, circuit_key
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.routing import ask_events as ev
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.store_access import InlineStore
from llmfail.engine.ports.threaded_store import GroupCommitStore

MORE = """\
models:
  a/one: {price: {input: 0, output: 1000}}
  b/one: {price: {input: 0, output: 1000}}
budgets: [{name: all, limit: 100, per: total}]
"""
TARGETS = (Target("a", "one"), Target("b", "one"))


class Stop(BaseException):
    """What a signal raises."""


class Recorder:
    """Hears the steps, and stops the ask at one of them."""

    def __init__(self, place, stop):
        self.heard, self.admissions = [], {}
        self._place, self._stop = place, stop

    def __call__(self, step, _moment):
        if len(self.heard) == self._place:
            self._place = -1
            self._stop()
        self.heard.append(step)
        if isinstance(step, ev.Admitted):
            self.admissions[step.attempt] = step.admission.reservation.amount

    def finished(self, target):
        """The calls to it that the ask was told the end of, and that were not broken off."""
        attempts = {one.attempt for one in self.heard if isinstance(one, ev.Send) and one.target == target}
        ended = [one for one in self.heard if isinstance(one, ev.CallFinished) and one.attempt in attempts]
        return [one for one in ended if one.result.outcome.kind is not Kind.CANCELLED]

    def spent(self):
        """What is told, and the worst case of what was sent and never ended."""
        ended = {one.attempt: one.cost for one in self.heard if isinstance(one, ev.CallFinished)}
        sent = {one.attempt for one in self.heard if isinstance(one, ev.Sent)}
        return sum(ended.get(one, self.admissions[one]) for one in sent)


CIRCUIT = circuit_key(address_of("b/one"))


@pytest.fixture
def play(tmp_path):
    def make():
        played = ScriptedEngine(tmp_path, {"a": [error(503)], "b": [answer()]}, more=MORE, cached=True)
        played.script["b"] = [error(500)]
        for _ in range(2):
            played.ask(targets=("b/one",), fallback=False)
        played.now += 60.0  # half open: there is one place for a trial
        played.script["b"] = [answer()]
        return played

    return make


def check(play, recorder):
    hour = int(play.now // 3600)
    keys = [call_counters_key(address_of(target), hour) for target in TARGETS]
    values, _ = play.store.read(["budget/all/total", *keys, CIRCUIT])
    spending = load_or_default(values["budget/all/total"], Spending)
    assert (spending.spent, spending.held, spending.unsettled.calls) == (recorder.spent(), 0, 0)
    calls = [load_or_default(values[key], CallCounters).calls for key in keys]
    before = [0, 2]
    told = [len(recorder.finished(target)) for target in TARGETS]
    assert calls == [had + more for had, more in zip(before, told, strict=True)]
    assert not load_or_default(values[CIRCUIT], Circuit).leases
    rows = (load(row.text, FlightLease) for key, row in play.answers._rows.items() if "flight/" in key)
    assert not [one for one in rows if one.ends_at > play.now]


def asking(play, ports, recorder, **options):
    engine = Engine(play.settings, ports, recorder)
    return engine.ask(Ask(to_messages("hi"), targets=TARGETS, **options))


@pytest.fixture
def terminate():
    """A real signal: where one must wait, it does."""

    def stop(_number, _frame):
        raise Stop

    before = signal.signal(signal.SIGTERM, stop)
    yield lambda: signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


def test_a_signal_at_any_step_loses_no_money_and_leaves_nothing_held(play, terminate):
    for place in count():
        played, recorder = play(), Recorder(place, terminate)
        try:
            run_sync(asking(played, played.ports, recorder))
        except Stop:
            check(played, recorder)
            continue
        assert len(recorder.heard) == place
        assert place > 10
        check(played, recorder)
        break


@pytest.mark.parametrize("hedge", [None, 0.0], ids=["in turn", "hedged"])
@pytest.mark.parametrize("keep", [InlineStore, GroupCommitStore])
def test_a_cancellation_at_any_step_loses_no_money_and_leaves_nothing_held(play, hedge, keep):
    async def run(place):
        played = play()
        task = asyncio.current_task()
        recorder = Recorder(place, task.cancel)

        async def send(call, timeout):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return await played.ports.send(call, timeout)

        async def sleep(seconds):
            await asyncio.sleep(0)

        ports = replace(
            played.ports,
            send=send,
            sleep=sleep,
            store=keep(played.store),
            answers=keep(played.answers),
            concurrent=True,
            lock=asyncio.Lock,
        )
        try:
            await asking(played, ports, recorder, hedge=hedge)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        check(played, recorder)
        return len(recorder.heard)

    for place in count():
        if asyncio.run(run(place)) <= place:
            assert place > 10
            break
