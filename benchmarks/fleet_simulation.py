"""A fleet of hosts with one budget on a simulated clock, by the rules that llmfail itself uses: what was
overspent, how much was spent at the first refusal and in the end, and how often the shared store was written;
with slices of the budget (``budget_slices``), and with a hold for each call.

    python benchmarks/fleet_simulation.py [HOSTS [ASKS_A_SECOND_OF_EACH [SECONDS_THAT_THE_BUDGET_LASTS]]]
"""

import heapq
import random
import sys
from functools import partial
from itertools import count

from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import gate_settlement
from llmfail.core.admission.budget import BudgetScope, Spending, expire_holds
from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.admission.gate import Admission, Gate, Settlement
from llmfail.core.admission.gate_settlement import SettledCall
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Address, Request, Target, Usage
from llmfail.core.pricing.price import Rate, Rates
from llmfail.core.records.record import load
from llmfail.core.request.ask import to_messages
from llmfail.core.tokens import token_bounds
from llmfail.engine.ports.budget_slices import BudgetSlices
from llmfail.engine.ports.deferred_writes import DeferredWrites
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.store_access import InlineStore
from llmfail.store.memory import MemoryStore

TARGET = Target("p", "m")
GATE = Gate(TARGET, Address("openai", "https://p.invalid/v1", "m"), "identity", BreakerRules())
WORST = 20_000
"""Twice what a call costs on the average."""
CALL_SECONDS = 2.0
FLUSH_SECONDS = 1.0
SETTLE_SECONDS = 40.0
"""Until nothing of the budget is held any more."""
RATES = Rates(Rate(0), Rate(100))
BEGIN = 1_000_000.0
SIZE = token_bounds.size_of(Request(to_messages("Say hello")))


class SimulatedStore(MemoryStore):
    """Counts its updates."""

    def __init__(self, fleet):
        super().__init__(lambda: fleet.now)
        self.updates = 0

    def update(self, keys, change, *, waits=True):
        self.updates += 1
        return super().update(keys, change, waits=waits)


class Host:
    """One service: its slices, and what it puts off."""

    def __init__(self, fleet):
        self.slices = BudgetSlices(lambda: fleet.now, lambda: False)
        self.deferred = DeferredWrites(
            InlineStore(fleet.store),
            FLUSH_SECONDS,
            lambda: fleet.now,
            lambda seconds, work: fleet.plan(seconds, lambda: run_sync(work())),
            print,
            self.slices,
        )

    def admit(self, request, now):
        values = self.deferred.recent.find(GATE.keys_with_budgets(replace(request, scopes=())))
        answer = self.slices.admit(GATE, request, values, now)
        if self.slices.is_low(request):
            self.deferred.hurry()
        return answer

    def close(self):
        run_sync(self.deferred.flush(is_last=True))


class Fleet:
    """``limit`` is that of the budget; with ``slices`` or without."""

    def __init__(self, hosts, rate, limit, *, slices):
        self.now = BEGIN
        self.random = random.Random(1)
        self.scope = BudgetScope("whole", "budget/whole", limit)
        self.store = SimulatedStore(self)
        self.rate, self.calls, self.answered, self.refused = rate, 0, 0, 0
        self.most = self.costs = 0
        self.first_refusal = None
        self.updates_by_second = {}
        self._events, self._numbers = [], count()
        self.hosts = [Host(self) if slices else None for _ in range(hosts)]
        for host in range(hosts):
            self.plan(self.random.expovariate(rate), partial(self.ask, host))

    def plan(self, seconds, work):
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), work))

    def run(self, seconds):
        ends_at = self.now + seconds
        while self._events and self._events[0][0] <= ends_at:
            self.now, _, work = heapq.heappop(self._events)
            before = self.store.updates
            work()
            if self.store.updates > before:
                second = int(self.now)
                done = self.updates_by_second.get(second, 0)
                self.updates_by_second[second] = done + self.store.updates - before
                self.most = max(self.most, self.spending.spent_and_held)
        self.now = ends_at

    def close(self):
        """Every host ends, and gives back what it has."""
        for host in filter(None, self.hosts):
            host.close()

    @property
    def spending(self):
        values, now = self.store.read([self.scope.key])
        return expire_holds(load(values[self.scope.key], Spending), now)

    def ask(self, host):
        self.plan(self.random.expovariate(self.rate), partial(self.ask, host))
        self.calls += 1
        request = ReservationRequest(
            f"call-{self.calls}", 90.0, "f", SIZE, WORST // 100, rates=RATES, scopes=(self.scope,)
        )
        answer = self._admit(self.hosts[host], request)
        if isinstance(answer, Admission):
            wait = self.random.expovariate(1 / CALL_SECONDS)
            self.plan(min(wait, 60.0), partial(self._settle, host, request.call_id, answer))
            return
        self.refused += 1
        if self.first_refusal is None:
            self.first_refusal = self.spending.spent / self.scope.limit

    def _admit(self, own, request):
        answer = None if own is None else own.admit(request, self.now)
        if answer is not None:
            return answer

        def change(values, now):
            writes, answer = gates.admit(GATE, request, values, now)
            if own is not None:
                own.slices.note_answer(request, answer, values)
            return writes, answer

        remembered = change if own is None else own.deferred.recent.remember_after(change)
        return self.store.update(GATE.keys_with_budgets(request), remembered)

    def _settle(self, host, call_id, admission):
        cost = int(self.random.uniform(0, WORST))
        self.costs += cost
        self.answered += 1
        paid = Settlement(Outcome(Kind.OK), 900, cost, fallback=False, usage=Usage(12, output_tokens=40))
        own = self.hosts[host]
        if own is not None and not admission.reservation.request.scopes:
            own.slices.settle(call_id, paid)
            own.deferred.put_off((), [SettledCall(GATE, admission, paid)])
        else:
            step = gate_settlement.settle(GATE, admission, paid)
            self.store.update(step.keys, lambda values, now: (step.change(values, now), None))


def describe(fleet, lasts):
    spent = fleet.spending.spent
    seconds = sorted(fleet.updates_by_second.items())[:-1]
    usual = sorted(updates for second, updates in seconds if second < BEGIN + 0.9 * lasts)
    first = 1.0 if fleet.first_refusal is None else fleet.first_refusal
    return (
        f"overspent {max(fleet.most - fleet.scope.limit, 0)}, first refusal when {first:.1%} were spent, "
        f"in the end {spent / fleet.scope.limit:.2%}; shared updates a second: "
        f"{usual[len(usual) // 2]} usual, {max(updates for _, updates in seconds)} most"
    )


def main(hosts=100, rate=10.0, lasts=60.0):
    limit = int(hosts * rate * lasts * WORST / 2)
    print(
        f"{hosts} hosts, {rate:g} asks a second each, one budget that lasts {lasts:g} s, worst case twice "
        f"the mean, calls of {CALL_SECONDS:g} s, a flush each {FLUSH_SECONDS:g} s"
    )
    for slices in (False, True):
        fleet = Fleet(hosts, rate, limit, slices=slices)
        fleet.run(lasts + SETTLE_SECONDS)
        fleet.close()
        name = "slices" if slices else "a hold for each call"
        print(f"{name}: {describe(fleet, lasts)}")


if __name__ == "__main__":
    main(*[kind(text) for kind, text in zip((int, float, float), sys.argv[1:], strict=False)])
