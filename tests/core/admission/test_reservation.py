"""What money and rates allow of a call, in the same step as the circuit: all is taken, or nothing."""

import pytest
from gate_states import SIZE, GateStore, build_reservation_request
from msgspec.structs import replace

from llmfail.core.admission import budget, gate_settlement, rate_limit
from llmfail.core.admission.budget import BudgetScope, Spending
from llmfail.core.admission.budget_notice import collect_notices
from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.admission.gate import Admission, Gate
from llmfail.core.admission.rate_limit import GcraState, RateLimit
from llmfail.core.admission.refusal import Refusal
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Address, Request, Target, Usage
from llmfail.core.pricing.price import Rate, Rates
from llmfail.core.records import name_list
from llmfail.core.records.record import Write, load, load_or_default
from llmfail.core.records.state_keys import calibration_key
from llmfail.core.request.ask import to_messages
from llmfail.core.tokens import token_bounds as tokens
from llmfail.core.tokens.token_bounds import Calibration

TARGET = Target("p", "a")
ADDRESS = Address("openai", "https://p.test/v1", "a")
DIME = Rates(Rate(0), Rate(100))
"""At 1000 tokens of output a call may cost 100,000."""
WORST = 100_000
MOST = 1_000 + tokens.upper_bound(SIZE)
"""Tokens that a call may use."""
OK = Outcome(Kind.OK)


def gate(*limits):
    return Gate(TARGET, ADDRESS, "k", BreakerRules(failure_threshold=1), limits=limits)


def cover(limit, name="daily", **fields):
    return BudgetScope(name, f"budget/{name}", limit, ends_at=1_086_400.0, **fields)


@pytest.fixture
def book():
    return GateStore()


def spending(book, name="daily"):
    return budget.expire_holds(load(book.values.get(f"budget/{name}"), Spending), book.now)


def admit(book, covers, call="l", **fields):
    return book.admit(gate(), call, scopes=covers, rates=DIME, **fields)


def test_a_call_holds_its_worst_case_in_every_budget_that_covers_it(book):
    assert isinstance(admit(book, (cover(WORST), cover(WORST, "monthly"))), Admission)
    assert (spending(book).held, spending(book, "monthly").held) == (WORST, WORST)


def test_as_many_go_as_the_limit_has_room_for(book):
    answers = [admit(book, (cover(5 * WORST),), str(number)) for number in range(9)]
    assert [isinstance(answer, Admission) for answer in answers] == [True] * 5 + [False] * 4


def test_one_budget_without_room_leaves_the_others_and_everything_else_untouched(book):
    before = dict(book.values)
    refused = admit(book, (cover(WORST), cover(WORST - 1, "small")))
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.retry_at) == ("over_budget", 1_086_400.0)
    assert "small" in refused.note
    written = {key for key, text in book.values.items() if before.get(key) != text}
    assert (written, spending(book, "small").refused) == ({"budget/small"}, WORST)
    assert (spending(book, "small").held, spending(book).held) == (0, 0)


@pytest.mark.parametrize(
    ("unit", "worst", "used"),
    [("usd", WORST, 7), ("requests", 1, 1), ("tokens", MOST, 30)],
)
def test_a_budget_holds_and_settles_what_its_unit_counts(book, unit, worst, used):
    scopes = (cover(2 * worst, unit=unit),)
    admitted = admit(book, scopes)
    assert spending(book).held == worst
    assert isinstance(admit(book, scopes, "second"), Admission)
    refused = admit(book, scopes, "third")
    assert (refused.reason, spending(book).refused) == ("over_budget", worst)
    book.settle(gate(), admitted, OK, cost=7, usage=Usage(10, output_tokens=20))
    assert (spending(book).spent, spending(book).held) == (used, worst)
    assert not spending(book).refuses(3 * worst)


@pytest.mark.parametrize(
    ("unit", "outcome", "cost", "counts"),
    [
        ("requests", Kind.OVERLOADED, 0, 0),
        ("requests", Kind.TIMEOUT, None, 1),
        ("requests", Kind.OK, 0, 1),
        ("tokens", Kind.OVERLOADED, 0, 0),
        ("tokens", Kind.TIMEOUT, None, MOST),
        ("tokens", Kind.OK, 0, MOST),
    ],
)
def test_a_call_without_an_answer_counts_where_it_may_have_been_charged(book, unit, outcome, cost, counts):
    """What an answer used that reports nothing is unknown, and counts as what was held."""
    admitted = admit(book, (cover(5_000, unit=unit),))
    book.settle(gate(), admitted, Outcome(outcome), cost=cost)
    assert (spending(book).spent, spending(book).held) == (counts, 0)


def test_one_call_counts_in_budgets_of_all_units_and_is_settled_once_in_each(book):
    scopes = (
        cover(WORST),
        cover(9, "calls", unit="requests", alert_at=1),
        cover(9_000, "tokens", unit="tokens"),
    )
    admitted = admit(book, scopes)
    for _ in range(2):
        book.settle(gate(), admitted, OK, cost=7, usage=Usage(10, output_tokens=20))
    assert [spending(book, name).spent for name in ("daily", "calls", "tokens")] == [7, 1, 30]
    assert [spending(book, name).held for name in ("daily", "calls", "tokens")] == [0, 0, 0]
    assert spending(book, "calls").warned


def test_a_call_of_unknown_price_goes_where_no_budget_counts_dollars(book):
    calls, money = cover(2, unit="requests"), cover(WORST, "money")
    assert isinstance(book.admit(gate(), "l", scopes=(calls,), rates=None), Admission)
    assert book.admit(gate(), "m", scopes=(calls, money), rates=None).reason == "unknown_price"


def test_a_budget_remembers_the_smallest_call_that_it_refused_until_it_has_room_again(book):
    admitted = admit(book, (cover(WORST),))
    admit(book, (cover(WORST),), "second")
    assert spending(book).refuses(WORST)
    before = book.values["budget/daily"]
    admit(book, (cover(WORST),), "third")
    assert book.values["budget/daily"] == before, "nothing new is written"
    book.settle(gate(), admitted, OK, cost=0)
    assert not spending(book).refuses(WORST)


def test_a_refused_call_takes_no_place_in_a_half_open_circuit(book):
    book.call(gate(), Kind.SERVER_ERROR)
    book.now += 61
    assert isinstance(admit(book, (cover(0),)), Refusal)
    assert isinstance(admit(book, (cover(WORST),), "other"), Admission)


def test_a_settled_call_counts_what_it_cost_and_frees_the_rest(book):
    admitted = admit(book, (cover(WORST),))
    book.settle(gate(), admitted, OK, cost=7)
    assert (spending(book).spent, spending(book).held) == (7, 0)


def test_what_nobody_knows_the_cost_of_counts_as_what_was_held(book):
    admitted = admit(book, (cover(WORST),))
    book.settle(gate(), admitted, Outcome(Kind.TIMEOUT), cost=None)
    assert spending(book).spent == WORST


def test_a_settlement_that_is_made_twice_counts_once(book):
    admitted = admit(book, (cover(WORST),))
    for _ in range(2):
        book.settle(gate(), admitted, OK, cost=7)
    assert spending(book).spent == 7


def test_an_answer_that_comes_after_the_end_of_its_hold_is_counted_all_the_same(book):
    admitted = admit(book, (cover(WORST),))
    book.now += 3600
    assert isinstance(admit(book, (cover(WORST),), "another"), Admission)
    book.settle(gate(), admitted, OK, cost=7)
    assert (spending(book).spent, spending(book).held) == (7, WORST)


def noticed(book, covers, act):
    before = dict(book.values)
    act()
    writes = {key: Write(text) for key, text in book.values.items() if text and text != before.get(key)}
    return collect_notices(
        covers, {**dict.fromkeys(key for one in covers for key in one.keys), **before}, writes
    )


def test_what_ended_unsettled_comes_to_light_once_also_under_several_budgets(book):
    covers = (cover(9 * WORST), cover(9 * WORST, "monthly"))
    admit(book, covers)
    book.now += 3600
    [found] = noticed(book, covers, lambda: admit(book, covers, "2"))
    assert (found.scope.name, found.calls, found.amount) == ("daily", 1, WORST)
    assert noticed(book, covers, lambda: admit(book, covers, "3")) == ()


def test_a_settlement_brings_to_light_what_others_have_lost(book):
    covers = (cover(9 * WORST),)
    admit(book, covers, "lost")
    book.now += 50
    mine = admit(book, covers, "mine")
    book.now += 50
    [found] = noticed(book, covers, lambda: book.settle(gate(), mine, OK))
    assert found.calls == 1


@pytest.mark.parametrize("early", [False, True])
def test_a_new_period_brings_to_light_what_the_old_one_lost_at_its_end_once(book, early):
    """Also when its first call was before that end."""
    yesterday = cover(9 * WORST, "yesterday")
    today = replace(cover(9 * WORST, "today"), previous_key=yesterday.key)
    admit(book, (yesterday,))
    if early:
        assert noticed(book, (today,), lambda: admit(book, (today,), "early")) == ()
        book.settle(gate(), admit(book, (today,), "soon"), OK)
    book.now += 3600
    [found] = noticed(book, (today,), lambda: admit(book, (today,), "2"))
    assert found.calls == 1 + early
    assert noticed(book, (today,), lambda: admit(book, (today,), "3")) == ()


def test_what_is_withdrawn_holds_nothing_and_only_once(book):
    covers = (cover(9 * WORST),)
    admit(book, covers)
    admit(book, covers, "other")
    for _ in range(2):
        book.apply(gate_settlement.cancel_reservation(gate(), build_reservation_request(scopes=covers)))
    assert spending(book).held == WORST


def test_a_call_that_was_settled_can_not_be_withdrawn(book):
    covers = (cover(WORST),)
    book.settle(gate(), admit(book, covers), OK, cost=7)
    book.apply(gate_settlement.cancel_reservation(gate(), build_reservation_request(scopes=covers)))
    assert (spending(book).spent, spending(book).held) == (7, 0)


def test_a_call_whose_budget_was_lost_is_counted_in_the_new_one(book):
    covers = (cover(WORST),)
    admitted = admit(book, covers)
    book.values.clear()
    book.now += 5
    admit(book, covers, "other")
    book.settle(gate(), admitted, OK, cost=7)
    assert (spending(book).spent, spending(book).held) == (7, WORST)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scopes": (cover(5),)}, "unknown_price"),
        ({"max_cost": 5}, "unknown_price"),
        ({}, None),
        ({"scopes": (cover(5),), "allow_unknown": True}, None),
        ({"max_cost": 5, "allow_unknown": True}, "unknown_price"),
        ({"rates": DIME, "max_cost": WORST - 1}, "too_expensive"),
        ({"rates": DIME, "max_cost": WORST}, None),
        ({"rates": DIME, "max_cost": -1}, "too_expensive"),
        ({"rates": Rates(Rate(0), Rate(0)), "scopes": (cover(0),)}, None),
    ],
)
def test_a_price_or_a_limit_of_the_caller_refuses(book, fields, reason):
    answer = book.admit(gate(), **fields)
    assert (answer.reason if isinstance(answer, Refusal) else None) == reason


def test_a_bucket_is_enlisted_once(book):
    mine = cover(9 * WORST, each="user", bucket="ann", bucket_index_key="budget/daily#")
    for call in "ab":
        book.settle(gate(), admit(book, (mine,), call), OK)
    lines = name_list.row_keys("budget/daily#", book.values)
    assert [name_list.read_name(book.values[line]) for line in lines] == ["ann"]


def test_a_warning_is_noticed_in_the_settlement_that_crosses_the_share(book):
    covers = (cover(9 * WORST, alert_at=10),)
    for cost, due in ((6, 0), (6, 1), (6, 0)):
        admitted = admit(book, covers)
        found = noticed(
            book, covers, lambda paid=admitted, cost=cost: book.settle(gate(), paid, OK, cost=cost)
        )
        assert len(found) == due


class TestRates:
    SLOW = RateLimit("rate/p/requests", "p", "requests", 10)

    def test_a_call_that_may_wait_is_told_how_long_and_has_its_place(self, book):
        waits = [book.admit(gate(self.SLOW), call, max_wait=60.0).reservation.wait for call in "abc"]
        assert waits == pytest.approx([0, 6.1, 12.2])

    def test_a_call_that_may_not_wait_so_long_takes_no_place(self, book):
        book.admit(gate(self.SLOW), "a")
        refused = book.admit(gate(self.SLOW), "b", max_wait=6.0)
        assert (refused.reason, refused.retry_at) == ("rate_limited_here", pytest.approx(book.now + 6.1))
        assert "10 requests a minute at p" in refused.note
        assert book.admit(gate(self.SLOW), "c", max_wait=6.2).reservation.wait == pytest.approx(6.1)

    def test_over_budget_takes_no_place_in_the_row(self, book):
        book.admit(gate(self.SLOW), "a", scopes=(cover(1),), rates=DIME)
        assert book.admit(gate(self.SLOW), "b").reservation.wait == 0

    def test_the_slowest_limit_decides(self, book):
        slower = RateLimit("rate/p/a/requests", "p/a", "requests", 1)
        book.admit(gate(self.SLOW, slower), "a")
        refused = book.admit(gate(self.SLOW, slower), "b")
        assert "1 requests a minute at p/a" in refused.note

    TOKENS = RateLimit("rate/p/tokens", "p", "tokens", 1000)

    def left(self, book):
        return rate_limit.wait_seconds(
            load_or_default(book.values["rate/p/tokens"], GcraState), self.TOKENS, book.now
        )

    def test_tokens_are_corrected_to_what_the_call_took(self, book):
        admitted = book.admit(gate(self.TOKENS))
        book.settle(gate(self.TOKENS), admitted, OK, usage=Usage(300, output_tokens=200))
        assert self.left(book) == pytest.approx(500 * self.TOKENS.interval)

    @pytest.mark.parametrize(("cost", "tokens"), [(0, 0), (None, 1000)])
    def test_what_was_free_took_no_tokens_and_what_nobody_knows_all(self, book, cost, tokens):
        admitted = book.admit(gate(self.TOKENS))
        book.settle(gate(self.TOKENS), admitted, Outcome(Kind.SERVER_ERROR), cost=cost)
        assert self.left(book) == pytest.approx(tokens * self.TOKENS.interval, rel=0.2)

    def test_tokens_whose_time_has_gone_by_are_not_given_back(self, book):
        first = book.admit(gate(self.TOKENS))
        book.now += self.left(book)
        book.admit(gate(self.TOKENS), "second")
        before = self.left(book)
        book.settle(gate(self.TOKENS), first, OK, usage=Usage(1))
        assert self.left(book) == before


LONG = tokens.size_of(Request(to_messages("An ordinary sentence about nothing in particular. " * 60)))


def test_how_a_target_counts_is_learnt_from_what_it_reports(book):
    known = tokens.default_calibration(TARGET.model)
    reported = 2 * tokens.estimate_input(LONG, known)
    book.settle(gate(), book.admit(gate(), size=LONG), OK, usage=Usage(reported))
    learnt = load(book.values[calibration_key(ADDRESS)], Calibration)
    assert tokens.estimate_input(LONG, known) < tokens.estimate_input(LONG, learnt) <= reported


def test_an_estimated_usage_teaches_nothing(book):
    book.settle(gate(), book.admit(gate(), size=LONG), OK, usage=Usage(9999, estimated=True))
    assert calibration_key(ADDRESS) not in book.values
