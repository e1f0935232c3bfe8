"""Money is exact."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmfail.core.model import Completion, Usage
from llmfail.core.pricing.price import (
    Price,
    PricePeriod,
    Rate,
    Rates,
    charge,
    compute_cost,
    raise_rates,
    to_pico,
    with_surcharge,
    worst_case,
)
from llmfail.core.receipt import format_usd

NOW = 1_800_000_000.0
ONE = Price.per_million(Decimal(1), Decimal(1))


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
    assert format_usd(compute_cost(Usage(2000, output_tokens=1000), price.at(NOW))) == expected


def test_cached_and_written_tokens_are_parts_of_the_input():
    price = Price.per_million(Decimal(1), Decimal(5), Decimal("0.1"), Decimal("1.25"))
    usage = Usage(1000, cached_input_tokens=800, cache_write_tokens=100, output_tokens=10)
    assert format_usd(compute_cost(usage, price.at(NOW))) == "0.000355"


def test_an_unknown_price_is_unknown_and_not_free():
    answer = Completion("hi", "stop", Usage(10, output_tokens=5))
    assert charge(answer, None, NOW, reports_cost=False) is None
    assert charge(Completion("hi", "stop"), ONE, NOW, reports_cost=False) is None


def test_what_the_provider_says_wins():
    answer = Completion("hi", "stop", Usage(10, output_tokens=5, reported_cost=7))
    assert charge(answer, ONE, NOW, reports_cost=True) == 7


def test_elsewhere_a_figure_in_the_answer_counts_for_nothing():
    answer = Completion("hi", "stop", Usage(10, output_tokens=5, reported_cost=7))
    assert charge(answer, ONE, NOW, reports_cost=False) == compute_cost(answer.usage, ONE.at(NOW))
    assert charge(answer, None, NOW, reports_cost=False) is None


def test_a_refusal_that_is_not_billed_costs_nothing():
    assert charge(Completion("", "refusal", Usage(10), billed=False), ONE, NOW, reports_cost=False) == 0


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.decimals("0", "1000", places=6),
    st.decimals("0", "1000", places=6),
)
def test_integers_agree_with_decimals_to_the_last_digit(tokens_in, tokens_out, price_in, price_out):
    exact = (tokens_in * price_in + tokens_out * price_out) / 10**6
    price = Price.per_million(price_in, price_out)
    assert (
        Decimal(format_usd(compute_cost(Usage(tokens_in, output_tokens=tokens_out), price.at(NOW)))) == exact
    )


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (212_000_000, "0.000212"), (10**12, "1"), (10**13, "10"), (1, "0.000000000001")],
)
def test_dollars_are_plain_decimals_without_trailing_zeros(pico, text):
    assert format_usd(pico) == text
    assert format_usd(None) is None


def listed(usd, **conditions):
    return PricePeriod(input=Rate(to_pico(Decimal(usd))), output=Rate(0), **conditions)


def at(*day_and_time):
    return datetime(*day_and_time, tzinfo=UTC).timestamp()


def base(price, moment, variant=None):
    return Decimal(price.at(moment, variant).input.base) / 10**6


def test_the_whole_input_reaches_a_step_and_then_every_token_costs_it():
    rates = Rates(
        input=Rate(1, ((100, 5), (200, 7))), output=Rate(2, ((100, 10),)), cached_input=Rate(0, ((100, 3),))
    )
    assert compute_cost(Usage(100, output_tokens=1), rates) == 100 + 2
    assert compute_cost(Usage(101, output_tokens=1), rates) == 505 + 10
    assert compute_cost(Usage(201, 200, output_tokens=1), rates) == 7 + 600 + 10


def test_what_has_no_rate_of_its_own_costs_as_what_it_is_a_part_of():
    usage = Usage(100, 10, 40, 15, 0)
    plain = Rates(Rate(100), Rate(0))
    assert compute_cost(usage, plain) == 100 * 100
    assert compute_cost(usage, replace(plain, cached_input=Rate(1))) == 90 * 100 + 10
    assert compute_cost(usage, replace(plain, cache_write=Rate(2))) == 60 * 100 + 80
    assert (
        compute_cost(usage, replace(plain, cache_write=Rate(2), cache_write_1h=Rate(3))) == 60 * 100 + 50 + 45
    )


def test_usage_that_contradicts_itself_makes_nothing_cheaper_than_its_parts():
    assert compute_cost(Usage(1, 5, 5, 7, 0), Rates(Rate(100), Rate(0), Rate(1), Rate(2), Rate(3))) == 5 + 21


def test_a_fee_is_for_every_request():
    assert compute_cost(Usage(), Rates(Rate(1), Rate(1), request=12)) == 12


def test_the_last_period_that_holds_counts_and_the_first_when_none_does():
    price = Price(
        (
            listed("1", since=date(2026, 1, 1)),
            listed("2", since=date(2026, 12, 1)),
            listed("9", hours=(79_200, 3600)),
        )
    )
    assert base(price, at(2025, 6, 1, 12)) == 1
    assert base(price, at(2026, 11, 30, 21, 59, 59)) == 1
    assert base(price, at(2026, 11, 30, 22)) == 9
    assert base(price, at(2026, 12, 1, 0, 59, 59)) == 9
    assert base(price, at(2026, 12, 1, 1)) == 2


def test_of_a_variant_the_first_that_holds_counts_for_each_rate_and_nothing_else_changes():
    price = Price(
        (PricePeriod(input=Rate(10), output=Rate(20), cached_input=Rate(5)),),
        (
            PricePeriod(variant="batch", since=date(2026, 12, 1), input=Rate(3)),
            PricePeriod(variant="batch", input=Rate(4), output=Rate(8)),
            PricePeriod(variant="flex", input=Rate(1)),
        ),
    )
    assert price.at(at(2026, 11, 30), "batch") == Rates(Rate(4), Rate(8), Rate(5))
    assert price.at(at(2026, 12, 1), "batch") == Rates(Rate(3), Rate(8), Rate(5))
    assert price.at(at(2026, 12, 1), "flex") == Rates(Rate(1), Rate(20), Rate(5))
    assert price.at(at(2026, 12, 1), "unheard of") == price.at(at(2026, 12, 1))


def test_an_answer_is_charged_by_the_variant_and_with_the_surcharge_that_it_reports():
    price = Price(
        (PricePeriod(input=Rate(1000), output=Rate(0)),),
        (PricePeriod(variant="flex", input=Rate(500)),),
        as_of="today",
    )

    def charged(**usage):
        return charge(Completion("hi", "stop", Usage(10, **usage)), price, NOW, reports_cost=False)

    assert charged() == 10_000
    assert charged(variant="flex") == 5_000
    assert charged(surcharge=10) == 11_000
    assert charged(variant="flex", surcharge=10) == 5_500


@given(st.integers(0, 10**15), st.integers(0, 100))
def test_a_surcharge_is_off_by_half_a_pico_dollar_at_most(amount, per_cent):
    assert abs(with_surcharge(amount, per_cent) * 100 - amount * (100 + per_cent)) <= 50


def test_every_rate_of_a_list_is_raised_with_its_steps():
    [raised_one] = raise_rates(
        [PricePeriod(variant="x", input=Rate(1000, ((5, 2000),)), output=Rate(3000), request=500)], 10
    )
    assert raised_one == PricePeriod(
        variant="x", input=Rate(1100, ((5, 2200),)), output=Rate(3300), request=550
    )


STEPS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50)), max_size=3).map(
    lambda steps: tuple(sorted(steps))
)
RATES = st.builds(Rate, st.integers(0, 50), STEPS)
MAYBE = st.none() | RATES


@given(
    rates=st.builds(Rates, RATES, RATES, MAYBE, MAYBE, MAYBE, st.integers(0, 99)),
    whole=st.integers(0, 400),
    room=st.integers(0, 100),
    parts=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    output=st.integers(0, 100),
)
def test_no_call_costs_more_than_the_most(rates, whole, room, parts, output):
    cached = int(whole * parts[0])
    written = int((whole - cached) * parts[1])
    usage = Usage(whole, cached, written, int(written * parts[2]), output)
    assert compute_cost(usage, rates) <= worst_case(rates, whole + room, output + room)


def test_the_most_is_reached():
    rates = Rates(Rate(1), Rate(2), cache_write=Rate(3), cache_write_1h=Rate(4, ((9, 5), (99, 6))), request=7)
    assert worst_case(rates, 10, 10) == 50 + 20 + 7 == compute_cost(Usage(10, 0, 10, 10, 10), rates)
