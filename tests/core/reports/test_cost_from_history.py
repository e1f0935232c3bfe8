"""A month like what was recorded: exact, priced again where it has to be, and honest about the rest."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.pricing.price import Price, PricePeriod, Rate
from llmfail.core.pricing.usage_record import TokenTotals, UsageEntry, UsageTotals
from llmfail.core.reports import cost_from_history
from llmfail.core.reports.cost_estimate import FeatureEstimate, price_target
from llmfail.core.reports.cost_from_history import CurrentPrices

CLAUDE, GPT, GROQ = Target("anthropic", "strong"), Target("openai", "second"), Target("groq", "third")
NOW = 1_800_000_000.0
PRICES = {
    CLAUDE: Price.per_million(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75")),
    GPT: Price.per_million(Decimal("2.5"), Decimal(10)),
}
TODAY = CurrentPrices(PRICES.get, NOW)
MILLI = 10**9
"""A thousandth of a dollar."""


def line(feature, *targets):
    return FeatureEstimate(
        feature,
        1000,
        tuple(price_target(target, PRICES.get(target), (2000, 1000), NOW) for target in targets),
    )


LINES = (line("vpr", CLAUDE, GPT), line("pii", GPT))


def answered(requests, cost, target=CLAUDE, feature="vpr"):
    return UsageEntry("2026-11-20", feature, target, None, UsageTotals(requests, requests, cost=cost))


def unpriced(requests, tokens, target=CLAUDE):
    used = UsageTotals(requests, requests, tokens, unpriced=requests, unpriced_tokens=tokens)
    return UsageEntry("2026-11-20", "vpr", target, None, used)


def failed(cost, requests=1):
    return UsageEntry("2026-11-20", "vpr", CLAUDE, None, UsageTotals(requests, cost=cost))


def month(*entries, requests=10_000, lines=LINES, today=TODAY):
    return cost_from_history.estimate_month(entries, lines, requests, today).to_json()


def test_an_answer_costs_what_it_did_on_average():
    found = month(answered(3, 63 * MILLI), answered(1, 15 * MILLI, GPT))
    assert found["avg_cost_usd"] == "0.0195"
    assert found["monthly_cost_usd"] == "195"
    assert (found["name"], found["requests"]) == ("actual", 10_000)


def test_the_mix_of_features_is_that_which_was_recorded():
    found = month(answered(9, 9 * 21 * MILLI), answered(1, 15 * MILLI, GPT, "pii"))
    assert found["monthly_cost_usd"] == "204"


def test_who_answered_is_told_the_busiest_first_and_how_often_it_was_a_fallback():
    found = month(answered(1, 0, CLAUDE), answered(2, 0, GPT), answered(5, 0, GPT, "pii"))
    assert found["served_by"] == {"vpr": ["openai/second", "anthropic/strong"], "pii": ["openai/second"]}
    assert found["note"] == "as 8 recorded answers, 25% by a fallback"


def test_calls_that_failed_are_paid_for_by_those_that_answered():
    assert month(answered(1, 20 * MILLI), failed(10 * MILLI), failed(0, 7))["avg_cost_usd"] == "0.03"


def test_features_that_are_not_shown_do_not_count():
    found = month(answered(1, MILLI), answered(1, 10**15, feature="other"))
    assert found["avg_cost_usd"] == "0.001"


def test_what_was_not_priced_then_costs_what_it_would_today():
    tokens = TokenTotals(input=10_000, cached=4000, written=2000, output=1000)
    found = month(unpriced(2, tokens), requests=2)
    assert found["monthly_cost_usd"] == "0.0357"  # 0.012 plain, 0.0012 cached, 0.0075 written, 0.015 output


def test_calls_that_are_priced_together_do_not_climb_the_steps_of_one_large_call():
    price = Price((PricePeriod(input=Rate(3, ((200_000, 6),)), output=Rate(0), request=7),))
    small = unpriced(3, TokenTotals(input=300_000))
    large = unpriced(1, TokenTotals(input=300_000))
    today = CurrentPrices({CLAUDE: price}.get, NOW)
    assert cost_from_history.cost_of(small, today) == 3 * 300_000 + 3 * 7
    assert cost_from_history.cost_of(large, today) == 6 * 300_000 + 7


def test_without_any_price_the_month_is_unknown_and_says_whose_it_is():
    found = month(
        answered(1, MILLI), unpriced(1, TokenTotals(10, output=1), GROQ), unpriced(2, TokenTotals(10), GROQ)
    )
    assert (found["avg_cost_usd"], found["monthly_cost_usd"]) == (None, None)
    assert "the price of groq/third is unknown" in found["note"]


def test_calls_of_which_nobody_knows_the_usage_are_told():
    assert month(answered(4, MILLI), unpriced(2, TokenTotals()))["note"].endswith(
        "without 2 calls of unknown usage"
    )


@pytest.mark.parametrize("entries", [(), (failed(MILLI),), (answered(5, MILLI, feature="other"),)])
def test_without_an_answer_there_is_no_average(entries):
    with pytest.raises(UsageError, match="needs history, and none of vpr, pii was answered"):
        month(*entries)


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 10**13)), min_size=1), st.integers(1, 10**6))
def test_as_many_requests_as_were_recorded_cost_exactly_what_they_did(calls, times):
    entries = [answered(requests, cost) for requests, cost in calls]
    requests = sum(one[0] for one in calls)
    found = cost_from_history.estimate_month(entries, LINES, requests * times, TODAY)
    assert found.cost == times * sum(one[1] for one in calls)
