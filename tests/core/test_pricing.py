"""Money is exact."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.model import Completion, Usage
from llmfail.core.pricing import Price, charge, cost
from llmfail.core.receipt import usd


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        (("3", "15"), "0.021"),
        (("2.5", "10"), "0.015"),
        (("0.25", "1.25"), "0.00175"),
        (("0.05", "0.40"), "0.0005"),
    ],
)
def test_two_thousand_in_and_one_thousand_out(prices, expected):
    price = Price.per_million(*map(Decimal, prices))
    assert usd(cost(Usage(2000, output_tokens=1000), price)) == expected


def test_cached_and_written_tokens_are_parts_of_the_input():
    price = Price.per_million(Decimal(1), Decimal(5), Decimal("0.1"), Decimal("1.25"))
    usage = Usage(1000, cached_input_tokens=800, cache_write_tokens=100, output_tokens=10)
    assert usd(cost(usage, price)) == "0.000355"


def test_an_unknown_price_is_unknown_and_not_free():
    answer = Completion("hi", "stop", Usage(10, output_tokens=5))
    assert charge(answer, None) is None
    assert charge(Completion("hi", "stop"), Price(1, 1, 1, 1)) is None


def test_what_the_provider_says_wins():
    answer = Completion("hi", "stop", Usage(10, output_tokens=5, reported_cost=7))
    assert charge(answer, Price(1, 1, 1, 1)) == 7


def test_a_refusal_that_is_not_billed_costs_nothing():
    assert charge(Completion("", "refusal", Usage(10), billed=False), Price(1, 1, 1, 1)) == 0


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.decimals("0", "1000", places=6),
    st.decimals("0", "1000", places=6),
)
def test_integers_agree_with_decimals_to_the_last_digit(tokens_in, tokens_out, price_in, price_out):
    exact = (tokens_in * price_in + tokens_out * price_out) / 10**6
    price = Price.per_million(price_in, price_out)
    assert Decimal(usd(cost(Usage(tokens_in, output_tokens=tokens_out), price))) == exact


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (212_000_000, "0.000212"), (10**12, "1"), (10**13, "10"), (1, "0.000000000001")],
)
def test_dollars_are_plain_decimals_without_trailing_zeros(pico, text):
    assert usd(pico) == text
    assert usd(None) is None
