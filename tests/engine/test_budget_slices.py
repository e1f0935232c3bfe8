"""Services that hold slices of one budget: real engines, many processes' worth of them, on a clock that
jumps.
"""

import asyncio
import json
import os

import pytest

from llmfail.core.admission.budget import Spending, expire_holds
from llmfail.core.model import Reply
from llmfail.core.records import name_list
from llmfail.core.records.record import load
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.budget_slices import BudgetSlices
from llmfail.engine.ports.deferred_writes import DeferredWrites
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.engine.ports.store_access import InlineStore
from llmfail.prices import Catalogue
from llmfail.settings import load as load_settings
from llmfail.store.memory import MemoryStore

CONFIG = """\
version: 1
budget_slices: true
defaults: {{retries: 0, timeout: 10s, max_tokens: 20}}
breaker: {{failure_threshold: 3, volume_threshold: 100000}}
providers:
  p: {{api: openai, base_url: "http://p.invalid/v1", api_key: key-of-p-0123}}
models:
  p/m: {{price: {{input: 0, output: 1000}}, context: 100000, max_output: 1000}}
cache: {{enabled: false}}
features:
  default: {{primary: p/m}}
budgets: [{{name: whole, limit: {limit}, per: total{more}}}]
"""
PICO = 10**12
WORST = 20 * 10**9
"""20 tokens; an answer has 5."""
COST = 5 * 10**9
BUDGET_KEY = "budget/whole/total"


class CountedStore(MemoryStore):
    def __init__(self, clock):
        super().__init__(clock.wall)
        self.updates = self.most = 0

    def update(self, keys, change, *, waits=True):
        self.updates += 1
        result = super().update(keys, change, waits=waits)
        self.most = max(self.most, self.spending.spent_and_held)
        return result

    @property
    def spending(self):
        return self.spending_of(BUDGET_KEY)

    def spending_of(self, key):
        values, now = self.read([key])
        return expire_holds(load(values[key], Spending), now)


class ServiceStore:
    """The store as one process has it: once it is dead, it writes no more."""

    def __init__(self, store, service):
        self._store, self._service = InlineStore(store), service

    async def read(self, keys):
        return await self._store.read(keys)

    async def update(self, keys, change):
        if self._service.is_dead:
            raise asyncio.CancelledError
        return await self._store.update(keys, change)

    async def run_shielded(self, work, *, writes):
        return await work


class Service:
    """One process: an engine with slices of its own."""

    def __init__(self, fleet):
        self._fleet = fleet
        self.costs, self.refused, self.is_dead = [], 0, False
        self.statuses = []
        clock, store = fleet.clock, ServiceStore(fleet.store, self)
        self.is_down = False
        slices = BudgetSlices(clock.monotonic, lambda: self.is_down)
        self.deferred = DeferredWrites(store, 1.0, clock.monotonic, self._run_later, print, slices)
        ports = Ports(
            send=self._send,
            open=self._send,
            google_tokens=None,
            store=store,
            catalogue=Catalogue(),
            sleep=clock.sleep,
            prepare=lambda: None,
            is_down=lambda: self.is_down,
            monotonic=clock.monotonic,
            wall=clock.wall,
            deferred=self.deferred,
        )
        self.engine = Engine(fleet.settings, ports)

    async def ask(self, user=None):
        receipt = await self.engine.ask(Ask(to_messages("hi"), user=user))
        if receipt.ok:
            self.costs.append(receipt.cost_pico_usd)
        elif receipt.error.kind == "over_budget":
            self.refused += 1
        return receipt

    async def ask_often(self, rate, seconds):
        """``rate`` a second, until the time is over or this process is dead."""
        ends_at, asks = self._fleet.clock.now + seconds, []
        while self._fleet.clock.now < ends_at and not self.is_dead:
            asks.append(asyncio.create_task(self.ask()))
            await asyncio.sleep(1 / rate)
        if self.is_dead:
            for one in asks:
                one.cancel()
        await asyncio.gather(*asks, return_exceptions=self.is_dead)

    async def _send(self, call, timeout):
        await asyncio.sleep(0.3)
        status = self.statuses.pop() if self.statuses else 200
        choice = {"message": {"content": "hello"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return Reply(status, {}, json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode())

    def _run_later(self, seconds, work):
        async def begin():
            await asyncio.sleep(seconds)
            if not self.is_dead:
                await work()

        self._fleet.tasks.add(asyncio.ensure_future(begin()))


class Fleet:
    def __init__(self, directory, limit, more=""):
        file = directory / "llmfail.yaml"
        file.write_text(CONFIG.format(limit=limit, more=more))
        self.settings = load_settings(file, {}, directory, directory)
        self.clock = SimulatedClock(1_700_000_000.0)
        self.store = CountedStore(self.clock)
        self.tasks = set()

    def open_services(self, count):
        return [Service(self) for _ in range(count)]

    def run(self, work):
        async def whole():
            result = await work()
            for one in self.tasks:
                one.cancel()
            return result

        return self.clock.run(whole())


@pytest.fixture
def build(tmp_path):
    return lambda limit, more="": Fleet(tmp_path, limit, more)


async def close(services):
    for one in services:
        await one.deferred.flush(is_last=True)


def test_p3_21_twenty_services_five_of_which_are_killed(build):
    """Above the limit never; and the store is written for 3 % of the calls."""
    fleet = build(1_000)
    services = fleet.open_services(20)

    async def kill():
        await asyncio.sleep(2.5)
        for one in services[:5]:
            one.is_dead = True

    async def play():
        await asyncio.gather(*(one.ask_often(50, 1.5) for one in services))
        before, calls = fleet.store.updates, sum(len(one.costs) for one in services)
        await asyncio.gather(kill(), *(one.ask_often(50, 4) for one in services))
        answered = sum(len(one.costs) for one in services) - calls
        assert fleet.store.updates - before <= 0.03 * answered
        await close(services[5:])

    fleet.run(play)
    told = sum(sum(one.costs) for one in services[5:])
    unsettled = fleet.store.spending
    assert fleet.store.most <= 1_000 * PICO
    assert told <= unsettled.spent <= told + sum(sum(one.costs) for one in services[:5])
    assert unsettled.held > 0
    assert sum(one.calls for one in unsettled.holds.values()) == 5
    fleet.clock.advance(120.0)
    assert (fleet.store.spending.held, fleet.store.spending.unsettled.calls) == (0, 5)


def test_a_budget_can_be_spent_to_its_last_call_and_no_further(build):
    fleet = build(6)
    services = fleet.open_services(4)

    async def play():
        await asyncio.gather(*(one.ask_often(50, 14) for one in services))
        await close(services)

    fleet.run(play)
    spent = sum(sum(one.costs) for one in services)
    assert all(one.refused for one in services)
    assert fleet.store.most <= 6 * PICO
    assert (fleet.store.spending.spent, fleet.store.spending.held) == (spent, 0)
    assert 6 * PICO - spent < WORST


@pytest.mark.parametrize(
    ("unit", "key", "used"),
    [("requests", "budget/whole:requests/total", 1), ("tokens", "budget/whole:tokens/total", 15)],
)
def test_a_slice_counts_what_its_budget_counts(build, unit, key, used):
    fleet = build(100_000, f", unit: {unit}")
    (service,) = fleet.open_services(1)

    async def play():
        await service.ask_often(50, 3)
        assert fleet.store.spending_of(key).held
        assert fleet.store.updates < len(service.costs)
        await close([service])

    fleet.run(play)
    spending = fleet.store.spending_of(key)
    assert (spending.spent, spending.held) == (used * len(service.costs), 0)


def test_buckets_of_one_budget_have_slices_of_their_own_and_are_all_listed(build):
    fleet = build(1_000, ", each: user")
    (service,) = fleet.open_services(1)
    users = ["ann", "bob", "eve"]

    async def play():
        for _ in range(100):
            await asyncio.gather(*(service.ask(user) for user in users))
        await close([service])

    fleet.run(play)
    spent = [fleet.store.spending_of(f"{BUDGET_KEY}/{user}") for user in users]
    assert [(one.spent, one.held) for one in spent] == [(100 * COST, 0)] * 3
    values, _ = fleet.store.read([f"{BUDGET_KEY}#"])
    rows, _ = fleet.store.read(name_list.row_keys(f"{BUDGET_KEY}#", values))
    assert sorted(map(name_list.read_name, rows.values())) == users


def test_what_a_budget_has_refused_it_refuses_again_without_the_store(build):
    fleet = build("0.02")
    (service,) = fleet.open_services(1)

    async def play():
        await asyncio.gather(*(service.ask() for _ in range(3)))
        before = fleet.store.updates
        receipts = [await service.ask() for _ in range(20)]
        assert fleet.store.updates - before <= 2
        await asyncio.sleep(0.2)
        await service.ask()
        assert fleet.store.updates - before >= 2
        return receipts

    for receipt in fleet.run(play):
        assert "out of $0.02" in receipt.trail[0].note


def test_a_failure_is_told_at_once_and_opens_the_circuit_for_the_next_call(build):
    fleet = build(1_000)
    (service,) = fleet.open_services(1)

    async def play():
        await service.ask_often(50, 2)
        service.statuses = [503] * 3
        failed = [await service.ask() for _ in range(3)]
        return failed, await service.ask()

    failed, last = fleet.run(play)
    assert [one.trail[0].outcome for one in failed] == ["server_error"] * 3
    assert last.trail[0].outcome == "circuit_open"


def test_who_is_told_of_a_budget_is_told_by_the_next_answer(build):
    fleet = build(10, ", alert_at: 0.1")
    (service,) = fleet.open_services(1)
    warned = []

    async def play():
        ends_at = fleet.clock.now + 6
        while fleet.clock.now < ends_at:
            receipts = await asyncio.gather(*(service.ask() for _ in range(30)))
            warned.extend(one.warnings for one in receipts if one.warnings)

    fleet.run(play)
    ((text,),) = warned
    assert text.startswith("budget whole: $1.")


def test_a_service_that_has_slept_until_its_slice_ended_counts_its_calls_once(build):
    fleet = build(1_000)
    (service,) = fleet.open_services(1)

    async def play():
        await service.ask_often(50, 2)
        under_way = [asyncio.create_task(service.ask()) for _ in range(10)]
        await asyncio.sleep(0.1)
        fleet.clock.advance(300.0)
        await asyncio.gather(*under_way)
        await service.ask_often(50, 2)
        await close([service])

    fleet.run(play)
    assert (fleet.store.spending.spent, fleet.store.spending.held) == (sum(service.costs), 0)
    assert fleet.store.spending.unsettled.calls == 0


def test_a_forked_child_has_no_part_in_the_slices_of_its_parent(build):
    fleet = build(1_000)
    (service,) = fleet.open_services(1)
    fleet.run(lambda: service.ask_often(50, 2))
    slices = service.deferred.slices
    child = os.fork()
    if child == 0:
        os._exit(int(slices.is_active))
    _, status = os.waitpid(child, 0)
    assert (os.waitstatus_to_exitcode(status), slices.is_active) == (0, True)


def test_while_the_store_is_down_no_slice_is_spent_or_renewed(build):
    fleet = build(1_000)
    (service,) = fleet.open_services(1)

    async def play():
        await service.ask_often(50, 2)
        service.is_down = True
        refused = await service.ask()
        await service.deferred.flush()
        service.is_down = False
        await service.ask_often(50, 2)
        await close([service])
        return refused

    assert fleet.run(play).error.kind == "over_budget"
    assert (fleet.store.spending.spent, fleet.store.spending.held) == (sum(service.costs), 0)
