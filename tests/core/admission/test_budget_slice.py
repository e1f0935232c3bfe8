"""Slices of a budget: whatever processes do and whoever dies, what is spent and held stays below the limit,
and each cost is counted once.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from llmfail.core.admission import budget as budgets
from llmfail.core.admission import budget_slice as slices
from llmfail.core.admission.budget import BudgetScope, Spending
from llmfail.core.admission.budget_slice import (
    BudgetSlice,
    SliceDemand,
    SliceHold,
    SliceRecord,
    SliceWish,
)
from llmfail.core.admission.local_admission import SliceRenewal, renew
from llmfail.core.records.record import dump, load

LEASE = 60.0
FATES = st.sampled_from(["good", "lost", "away"])
WISH = SliceWish(100, 20, LEASE + 10)
NOW = 1_000_000.0


def spending_of(**fields):
    return Spending(since=NOW, **fields)


def test_a_slice_is_a_hold_in_the_record_of_the_budget():
    renewed = slices.renew(BudgetSlice(), None, spending_of(), 10_000, WISH, NOW)
    assert (renewed.spending.spent, renewed.spending.held) == (0, 100)
    assert renewed.record == SliceRecord(0, 100, budgets.expiry_of(NOW + LEASE + 10))
    assert slices.apply_renewal(BudgetSlice(), renewed).free == 100


def test_a_call_fits_into_a_slice_that_has_room_and_is_held_as_long():
    one = BudgetSlice(ceiling=100, spent=30, held=30, ends_at=500)
    assert slices.take(one, 41, 500) is None
    assert slices.take(one, 40, 501) is None
    after = slices.take(one, 40, 500)
    assert after is not None
    assert (after.held, after.free) == (70, 0)
    assert slices.settle(after, SliceHold(40, 0), 15).free == 25


@pytest.mark.parametrize(
    ("spent", "others", "amount"),
    [(0, 0, 100), (880, 0, 60), (880, 2, 20), (961, 0, 0), (880, 5, 0), (1_200, 0, 0)],
)
def test_a_slice_takes_a_share_of_the_room_that_shrinks_with_the_holders(spent, others, amount):
    """Below two calls it is not worth it, and each call holds for itself."""
    holds = {1_000_500: budgets.HoldSum(0, others)} if others else {}
    renewed = slices.renew(BudgetSlice(), None, spending_of(spent=spent, holds=holds), 1_000, WISH, NOW)
    assert renewed.record.amount == amount


def test_what_is_not_wanted_any_more_is_given_back():
    one = BudgetSlice(ceiling=100, spent=10, held=20, ends_at=1_000_100)
    record, spending = SliceRecord(0, 100, 1_000_100), spending_of(holds={1_000_100: budgets.HoldSum(100, 1)})
    idle = SliceWish(0, 20, 70)
    renewed = slices.renew(slices.shrink(one, idle), record, spending, 10_000, idle, NOW)
    assert (renewed.spending.spent, renewed.spending.held) == (10, 20)


def test_a_slice_that_has_ended_is_unsettled_and_its_calls_are_counted_when_they_end():
    one = BudgetSlice(ceiling=100, spent=10, held=40, ends_at=999_990)
    record = SliceRecord(0, 100, 999_990)
    lost = budgets.expire_holds(spending_of(holds={999_990: budgets.HoldSum(100, 1)}), NOW)
    renewed = slices.renew(slices.shrink(one, WISH), record, lost, 10_000, WISH, NOW)
    assert (renewed.spending.spent, renewed.spending.held) == (10, 100)
    assert renewed.spending.unsettled == budgets.NO_HOLDS
    after = slices.apply_renewal(one, renewed)
    assert (after.held, after.generation) == (0, 1)
    late = slices.settle(after, SliceHold(40, 0), 30)
    assert (late.spent, late.held) == (40, 0)


def test_a_renewal_whose_reply_was_lost_is_made_again_and_counts_once():
    one = BudgetSlice(ceiling=100, spent=30, told=10, held=0, ends_at=1_000_100)
    record, before = SliceRecord(10, 90, 1_000_100), spending_of(spent=10)
    before = budgets.hold(before, budgets.ReservationRecord(90, 1_000_100))
    lost = slices.renew(one, record, before, 10_000, WISH, NOW)
    again = slices.renew(one, lost.record, lost.spending, 10_000, WISH, NOW)
    assert (again.spending.spent, again.spending.held) == (30, 100)
    assert again.record == lost.record


def test_what_a_failover_has_lost_of_a_slice_is_told_again():
    """The records are as they were before the last renewals; its process has spent 30 since it began."""
    one = BudgetSlice(ceiling=130, spent=30, told=30, held=0, ends_at=1_000_100)
    older = budgets.hold(spending_of(spent=10), budgets.ReservationRecord(90, 1_000_100))
    renewed = slices.renew(one, SliceRecord(10, 90, 1_000_100), older, 10_000, WISH, NOW)
    assert (renewed.spending.spent, renewed.spending.held) == (30, 100)


def test_who_asks_seldom_wants_no_slice():
    once = SliceDemand().with_call(10, LEASE, NOW)
    assert once.wish_at(NOW).amount == 0
    busy = once.with_call(10, LEASE, NOW)
    assert busy.wish_at(NOW).amount == 30
    assert busy.wish_at(NOW + 2).amount == 0
    assert not busy.is_over(NOW)
    assert busy.is_over(NOW + 30)


@dataclass
class Process:
    name: str
    slice: BudgetSlice = field(default_factory=BudgetSlice)
    calls: list = field(default_factory=list)
    spent: int = 0


class Fleet(RuleBasedStateMachine):
    """Processes with one budget in a store that may lose a reply, and a clock that goes on."""

    @initialize(limit=st.sampled_from([100, 400, 1_500, 6_000]))
    def begin(self, limit):
        self.scope = BudgetScope("daily", "budget/daily", limit)
        self.values, self.now = {"budget/daily": None}, NOW
        self.processes = [Process(str(number)) for number in range(3)]
        self.dead = []
        self.has_slept = False

    @property
    def spending(self):
        return budgets.expire_holds(load(self.values["budget/daily"], Spending), self.now)

    def record_of(self, process):
        return load(self.values.get(f"slice/{process.name}"), SliceRecord) or SliceRecord()

    def pick(self, number):
        return self.processes[number % len(self.processes)]

    @rule(number=st.integers(0, 2), wanted=st.sampled_from([300, 100, 20, 0]), fate=FATES)
    def renew(self, number, wanted, fate):
        """``lost``: it was made, and its process does not know; ``away``: the store was not reached."""
        process = self.pick(number)
        wish = SliceWish(wanted, 20, LEASE + 10)
        process.slice = slices.shrink(process.slice, wish)
        if fate == "away":
            return
        renewal = SliceRenewal(process.name, self.scope, process.slice, wish)
        values = {key: self.values.get(key) for key in renewal.keys}
        writes, renewed = renew(renewal, values, self.now)
        self.values |= {key: write.text for key, write in writes.items()}
        if fate == "good":
            process.slice = slices.apply_renewal(process.slice, renewed)

    @rule(amount=st.integers(1, 40))
    def call(self, amount):
        """Every process makes one, if it may."""
        for process in self.processes:
            after = slices.take(process.slice, amount, budgets.expiry_of(self.now + LEASE))
            if after is not None:
                process.slice = after
                process.calls.append(SliceHold(amount, after.generation))

    @rule(share=st.sampled_from([1.0, 0.5, 0.0]))
    def settle(self, share):
        for process in self.processes:
            if not process.calls:
                continue
            hold = process.calls.pop()
            used = int(hold.amount * share)
            process.slice, process.spent = slices.settle(process.slice, hold, used), process.spent + used

    @rule(seconds=st.sampled_from([0.5, 5, 30]))
    def wait(self, seconds):
        """Calls end in time: who does not renew in time sleeps, which is another rule."""
        ends = [one.slice.ends_at for one in self.processes if one.calls]
        if not ends or self.now + seconds < min(ends):
            self.now += seconds

    @rule(number=st.integers(0, 15))
    def die(self, number):
        """Seldom, as is sleep."""
        if number >= len(self.processes):
            return
        process = self.pick(number)
        index = self.processes.index(process)
        self.dead.append(process)
        self.processes[index] = Process(f"{process.name}+")

    @rule(number=st.integers(0, 9))
    def sleep(self, number):
        """All of them, with their calls under way, until every hold has ended."""
        if number:
            return
        self.has_slept = True
        self.now += 200

    @invariant()
    def nothing_is_above_the_limit(self):
        """A call that ends after its hold has cost what it has, whoever has the room by now."""
        if hasattr(self, "scope") and not self.has_slept:
            assert self.spending.spent_and_held <= self.scope.limit

    @invariant()
    def a_process_never_has_more_than_is_held_for_it(self):
        """But for calls that end after their hold."""
        if not hasattr(self, "scope"):
            return
        for process in self.processes:
            record = self.record_of(process)
            own = process.slice
            if self.now < own.ends_at:
                left = record.settled + record.amount - own.spent - own.held
                assert own.free <= max(left, 0)
                assert left >= 0 or self.has_slept

    def teardown(self):
        """Once all calls are settled and told, only the dead hold anything, and the budget has each cost
        once, but for what the dead have not told.
        """
        if not hasattr(self, "scope"):
            return
        while any(process.calls for process in self.processes):
            self.settle(0.5)
        for number in range(len(self.processes)):
            self.renew(number, 0, "good")
        left = [self.record_of(one) for one in self.dead]
        spent = sum(one.spent for one in self.processes) + sum(one.settled for one in left)
        held = sum(one.amount for one in left if one.ends_at > self.now)
        assert (self.spending.spent, self.spending.held) == (spent, held)


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_record_of_a_newer_version_is_left_alone():
    renewal = SliceRenewal("a", BudgetScope("daily", "budget/daily", 100), BudgetSlice(), WISH)
    newer = dump(Spending()).replace('"v":1', '"v":2')
    assert renew(renewal, {"budget/daily": newer, "slice/a": None}, NOW) == ({}, None)
