"""One budget as a value: holds, settlements, what ends by itself, what is counted once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmfail.core.admission import budget
from llmfail.core.admission.budget import (
    BudgetScope,
    HoldSum,
    ReservationRecord,
    Spending,
    expire_holds,
    expiry_of,
    has_room,
    hold,
    release,
    settle,
)

NOW = 1_700_000_000


def fresh():
    return expire_holds(None, NOW)


def open_call(amount, until=NOW + 60):
    return ReservationRecord(amount, expiry_of(until))


@pytest.mark.parametrize(
    ("taken", "amount", "room"),
    [(0, 5, True), (3, 2, True), (3, 3, False), (5, 1, False), (5, 0, True), (9, 0, True)],
)
def test_a_call_fits_up_to_the_limit_itself_and_what_is_free_fits_always(taken, amount, room):
    assert has_room(hold(fresh(), open_call(taken)), 5, amount) is room


def test_a_settled_call_is_spent_and_holds_nothing():
    call = open_call(10)
    after = settle(hold(fresh(), call), call, 4)
    assert (after.spent, after.held, after.holds) == (4, 0, {})


def test_a_call_that_costs_more_than_it_held_is_counted_whole():
    call = open_call(10)
    assert settle(hold(fresh(), call), call, 40).spent == 40


@pytest.mark.parametrize("seconds", [0.0, 0.001, 4.999, 5.0])
def test_a_hold_ends_no_sooner_than_it_is_needed_and_hardly_later(seconds):
    assert NOW + seconds <= expiry_of(NOW + seconds) < NOW + seconds + budget.HOLD_GRAIN_SECONDS


def test_calls_that_end_together_are_one_sum():
    spending = fresh()
    for amount in (1, 2, 3):
        spending = hold(spending, open_call(amount))
    assert spending.holds == {expiry_of(NOW + 60): HoldSum(6, 3)}
    assert release(spending, open_call(2)).holds == {expiry_of(NOW + 60): HoldSum(4, 2)}


def test_a_hold_ends_by_itself_and_counts_as_unsettled():
    after = expire_holds(hold(fresh(), open_call(10)), NOW + 60)
    assert (after.held, after.unsettled) == (0, HoldSum(10, 1))


def test_an_answer_after_the_end_of_its_hold_is_counted_all_the_same():
    call = open_call(10)
    late = settle(expire_holds(hold(fresh(), call), NOW + 99), call, 4)
    assert (late.spent, late.unsettled) == (4, HoldSum(0, 0))


def test_a_call_that_was_never_made_leaves_nothing():
    call = open_call(10)
    assert release(hold(fresh(), call), call) == fresh()


def test_what_has_ended_is_found_once():
    before = hold(fresh(), open_call(10))
    assert budget.sum_expired_holds(before, NOW + 59) == HoldSum(0, 0)
    assert budget.sum_expired_holds(before, NOW + 60) == HoldSum(10, 1)
    assert budget.sum_expired_holds(expire_holds(before, NOW + 60), NOW + 60) == HoldSum(0, 0)


@pytest.mark.parametrize(("spent", "due"), [(7, False), (8, True), (12, True)])
def test_a_warning_is_due_once_from_the_share_that_was_set(spent, due):
    cover = BudgetScope("daily", "budget/daily", 10, alert_at=8)
    after = budget.mark_warned(Spending(spent=spent), cover)
    assert after.warned is due
    assert budget.mark_warned(after, cover) is after


@pytest.mark.parametrize(("taken", "tight"), [(9, False), (10, True)])
def test_a_budget_is_tight_above_the_share_that_was_set(taken, tight):
    cover = BudgetScope("daily", "budget/daily", 10, downgrade_at=9)
    assert budget.is_near_limit(hold(fresh(), open_call(taken)), cover) is tight


def test_of_a_limit_of_nothing_everything_is_spent():
    assert budget.share_of_limit(0, 0) == 1.0
    assert budget.share_of_limit(1, 4) == 0.25


class Accounts(RuleBasedStateMachine):
    """Against plain book-keeping: calls that are open, that ended late, and what was paid for."""

    LIMIT = 100

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.record = expire_holds(None, NOW)
        self.open = []
        self.paid = 0
        self.late = 0

    @rule(amount=st.integers(0, 40), lasts=st.integers(1, 30))
    def ask(self, amount, lasts):
        self.record = expire_holds(self.record, self.now)
        call = ReservationRecord(amount, expiry_of(self.now + lasts))
        live = sum(one.amount for one in self.open if one.ends_at > self.now)
        fits = amount == 0 or self.paid + live + amount <= self.LIMIT
        assert has_room(self.record, self.LIMIT, amount) is fits
        if fits:
            self.open.append(call)
            self.record = hold(self.record, call)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data):
        call = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        cost = data.draw(st.integers(0, call.amount))
        self.paid += cost
        self.late += cost if call.ends_at <= self.now else 0
        self.record = settle(expire_holds(self.record, self.now), call, cost)

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def what_was_paid_is_what_is_spent(self):
        assert self.record.spent == self.paid

    @invariant()
    def what_is_held_and_lost_is_what_is_open(self):
        now = expire_holds(self.record, self.now)
        live = [one.amount for one in self.open if one.ends_at > self.now]
        assert now.held == sum(live)
        assert now.unsettled == HoldSum(
            sum(one.amount for one in self.open) - sum(live), len(self.open) - len(live)
        )

    @invariant()
    def only_answers_that_came_late_go_beyond_the_limit(self):
        assert expire_holds(self.record, self.now).spent_and_held <= self.LIMIT + self.late


Accounts.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAccounts = Accounts.TestCase
