"""One budget as a value: holds, settlements, what ends by itself, what is counted once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmfail.core import budget
from llmfail.core.budget import Cover, Hold, Spending, begun, has_room, hold, release, settle

NOW = 1_700_000_000.0
DOLLAR = 10**12


def fresh():
    return begun(None, NOW)


def held(spending, call, amount, until=NOW + 60):
    return hold(spending, call, Hold(amount, until))


@pytest.mark.parametrize(
    ("taken", "amount", "room"),
    [(0, 5, True), (3, 2, True), (3, 3, False), (5, 1, False), (5, 0, True), (9, 0, True)],
)
def test_a_call_fits_up_to_the_limit_itself_and_what_is_free_fits_always(taken, amount, room):
    assert has_room(held(fresh(), "a", taken), 5, amount) is room


def test_a_settled_call_is_spent_and_holds_nothing():
    after = settle(held(fresh(), "a", 10), "a", NOW, 4)
    assert (after.spent, after.held) == (4, 0)


def test_a_call_is_settled_once():
    after = settle(held(fresh(), "a", 10), "a", NOW, 4)
    assert settle(after, "a", NOW, 4) == after


def test_a_hold_ends_by_itself_and_is_remembered_as_unsettled():
    after = begun(held(fresh(), "a", 10), NOW + 60)
    assert after.held == 0
    assert after.unsettled == {"a": Hold(10, NOW + 60)}


def test_an_answer_after_the_end_of_its_hold_is_counted_once_all_the_same():
    late = settle(begun(held(fresh(), "a", 10), NOW + 99), "a", NOW, 4)
    assert (late.spent, late.unsettled) == (4, {})
    assert settle(late, "a", NOW, 4) == late


def test_an_answer_whose_record_was_lost_is_counted_in_the_new_one():
    begun_later = begun(None, NOW + 5)
    assert settle(begun_later, "a", NOW, 4).spent == 4


def test_a_call_that_was_never_made_leaves_nothing():
    assert release(held(fresh(), "a", 10), "a") == fresh()


def test_only_so_many_unsettled_calls_are_remembered_the_latest_ones():
    spending = fresh()
    for number in range(budget.MOST_UNSETTLED + 5):
        spending = begun(held(spending, str(number), 1, NOW), NOW)
    assert len(spending.unsettled) == budget.MOST_UNSETTLED
    assert "0" not in spending.unsettled
    assert str(budget.MOST_UNSETTLED + 4) in spending.unsettled


@pytest.mark.parametrize(("spent", "due"), [(7, False), (8, True), (12, True)])
def test_a_warning_is_due_once_from_the_share_that_was_set(spent, due):
    cover = Cover("daily", "budget/daily", 10, alert_at=8)
    after = budget.warned(Spending(spent=spent), cover)
    assert after.warned is due
    assert budget.warned(after, cover) is after


@pytest.mark.parametrize(("taken", "tight"), [(9, False), (10, True)])
def test_a_budget_is_tight_above_the_share_that_was_set(taken, tight):
    cover = Cover("daily", "budget/daily", 10, downgrade_at=9)
    assert budget.is_tight(held(fresh(), "a", taken), cover) is tight


def test_of_a_limit_of_nothing_everything_is_spent():
    assert budget.fraction(0, 0) == 1.0
    assert budget.fraction(1, 4) == 0.25


class Accounts(RuleBasedStateMachine):
    """Against plain book-keeping: calls that are open, that ended late, and what was paid for."""

    LIMIT = 100

    def __init__(self):
        super().__init__()
        self.now = NOW
        self.record = begun(None, NOW)
        self.open = {}
        self.paid = 0
        self.late = 0
        self.calls = 0

    @rule(amount=st.integers(0, 40), lasts=st.integers(1, 30))
    def ask(self, amount, lasts):
        self.record = begun(self.record, self.now)
        live = sum(most for most, until in self.open.values() if until > self.now)
        fits = amount == 0 or self.paid + live + amount <= self.LIMIT
        assert has_room(self.record, self.LIMIT, amount) is fits
        if fits:
            self.calls += 1
            self.open[str(self.calls)] = (amount, self.now + lasts)
            self.record = hold(self.record, str(self.calls), Hold(amount, self.now + lasts))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), again=st.booleans())
    def answer(self, data, again):
        call = data.draw(st.sampled_from(sorted(self.open)))
        most, until = self.open.pop(call)
        cost = data.draw(st.integers(0, most))
        self.paid += cost
        self.late += cost if until <= self.now else 0
        for _ in range(1 + again):
            self.record = settle(begun(self.record, self.now), call, NOW, cost)

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def what_was_paid_is_what_is_spent(self):
        assert self.record.spent == self.paid

    @invariant()
    def only_answers_that_came_late_go_beyond_the_limit(self):
        assert begun(self.record, self.now).taken <= self.LIMIT + self.late


Accounts.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAccounts = Accounts.TestCase
