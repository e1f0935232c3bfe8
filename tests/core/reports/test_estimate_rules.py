"""cost-estimate's arithmetic: exact to the last digit, and honest about what nobody knows."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import UsageError
from llmfail.core.model import Target
from llmfail.core.pricing.price import Price, PricePeriod, Rate
from llmfail.core.reports.cost_estimate import (
    Estimate,
    FeatureEstimate,
    estimate_month,
    order_chain,
    price_target,
    saving,
)
from llmfail.core.reports.scenario import parse_scenario
from llmfail.core.routing.candidates import Candidate

PROVIDERS = ("anthropic", "openai", "google")
STRONG, SECOND, FAST, CHEAP = (
    Target("anthropic", "strong"),
    Target("openai", "second"),
    Target("anthropic", "fast"),
    Target("google", "cheap"),
)
UNPRICED = Target("openai", "unpriced")
PRICES = {
    STRONG: Price.per_million(Decimal(3), Decimal(15)),
    SECOND: Price.per_million(Decimal("2.5"), Decimal(10)),
    FAST: Price.per_million(Decimal("0.25"), Decimal("1.25")),
    CHEAP: Price.per_million(Decimal("0.05"), Decimal("0.40")),
}
NOW = 1_800_000_000.0
EVERYTHING = (STRONG, SECOND, FAST, CHEAP, UNPRICED)


def candidates(*targets):
    return tuple(Candidate(target, timeout=60.0, price=PRICES.get(target)) for target in targets)


def offers(targets, tokens):
    return tuple(price_target(target, PRICES.get(target), tokens, NOW) for target in targets)


def line(name, *targets, tokens=(2000, 1000), others=()):
    return FeatureEstimate(name, tokens[1], offers(targets, tokens), (*offers(EVERYTHING, tokens), *others))


def months(text, *lines, requests=10_000):
    return estimate_month(parse_scenario(text, PROVIDERS), lines, requests)


def in_usd(text, *lines, requests=10_000):
    return months(text, *lines, requests=requests).to_json()["monthly_cost_usd"]


def shown(*targets):
    return Estimate((line("vpr", *targets),), ()).to_json()["features"]["vpr"]["targets"]


@pytest.mark.parametrize(
    ("target", "per_request", "per_1k", "per_month"),
    [
        (STRONG, "0.021", "21", "210"),
        (SECOND, "0.015", "15", "150"),
        (FAST, "0.00175", "1.75", "17.5"),
        (CHEAP, "0.0005", "0.5", "5"),
    ],
)
def test_2000_and_1000_tokens_cost_what_the_prices_say(target, per_request, per_1k, per_month):
    [only] = shown(target)
    assert only["cost_per_request_usd"] == per_request
    assert only["cost_per_1k_usd"] == per_1k
    assert in_usd("all-primary", line("vpr", target)) == per_month


@pytest.mark.parametrize(
    ("primary", "other", "share"),
    [
        (STRONG, SECOND, 0.2857),
        (FAST, CHEAP, 0.7143),
        (CHEAP, STRONG, -41.0),
        (STRONG, STRONG, 0.0),
        (STRONG, UNPRICED, None),
        (UNPRICED, STRONG, None),
    ],
)
def test_a_saving_is_a_share_of_the_primary_s_cost(primary, other, share):
    assert shown(primary, other)[1]["saving"] == share


def test_nothing_is_saved_against_a_primary_that_is_free():
    free = price_target(
        Target("local", "llama"), Price.per_million(Decimal(0), Decimal(0)), (2000, 1000), NOW
    )
    assert free.cost == 0
    assert saving(line("vpr", CHEAP).primary, free) is None
    assert saving(free, free) == 0.0


def test_the_json_has_the_shape_of_the_contract():
    assert shown(STRONG, UNPRICED) == [
        {
            "target": "anthropic/strong",
            "role": "primary",
            "input_tokens": 2000,
            "output_tokens": 1000,
            "cost_per_request_usd": "0.021",
            "cost_per_1k_usd": "21",
            "saving": 0.0,
            "price": {"input": "3", "output": "15", "source": "config", "as_of": None},
        },
        {
            "target": "openai/unpriced",
            "role": "fallback",
            "input_tokens": 2000,
            "output_tokens": 1000,
            "cost_per_request_usd": None,
            "cost_per_1k_usd": None,
            "saving": None,
            "price": None,
        },
    ]


@pytest.mark.parametrize(
    ("text", "usd", "served_by"),
    [
        ("all-primary", "210", ["anthropic/strong"]),
        ("fallback:50%", "180", ["anthropic/strong", "openai/second"]),
        ("fallback:12.5%", "202.5", ["anthropic/strong", "openai/second"]),
        ("fallback:0%", "210", ["anthropic/strong"]),
        ("fallback:100%", "150", ["openai/second"]),
        ("aggressive", "17.5", ["anthropic/fast"]),
        ("budget", "5", ["google/cheap"]),
        ("outage:anthropic", "150", ["openai/second"]),
        ("outage:google", "210", ["anthropic/strong"]),
    ],
)
def test_a_scenario_says_who_serves_and_what_the_month_costs(text, usd, served_by):
    found = months(text, line("vpr", STRONG, SECOND, FAST)).to_json()
    assert found["monthly_cost_usd"] == usd
    assert found["served_by"] == {"vpr": served_by}
    assert (found["name"], found["requests"]) == (text, 10_000)


def test_requests_are_split_evenly_over_the_features():
    assert in_usd("all-primary", line("vpr", STRONG), line("pii", CHEAP)) == "107.5"


def test_a_split_that_does_not_come_out_even_loses_nothing():
    three = [line(name, STRONG, SECOND) for name in ("vpr", "gaps", "letter")]
    assert in_usd("all-primary", *three) == "210"
    assert in_usd("fallback:50%", *three) == "180"
    assert in_usd("all-primary", *three, requests=1) == "0.021"


def test_the_average_is_the_month_over_its_requests():
    found = months("all-primary", line("vpr", STRONG), line("pii", CHEAP), requests=300).to_json()
    assert found["avg_cost_usd"] == "0.01075"


def test_a_feature_without_a_fallback_stays_with_its_primary():
    assert in_usd("fallback:50%", line("vpr", STRONG)) == "210"


def test_a_feature_that_an_outage_leaves_without_a_target_costs_nothing_and_is_named():
    found = months("outage:anthropic", line("vpr", STRONG, SECOND), line("lone", FAST)).to_json()
    assert found["monthly_cost_usd"] == "75"
    assert found["served_by"] == {"vpr": ["openai/second"], "lone": []}
    assert found["note"] == "no target answers lone"


@pytest.mark.parametrize("text", ["all-primary", "fallback:50%", "outage:google"])
def test_a_month_over_an_unknown_price_is_unknown_and_says_whose_it_is(text):
    found = months(text, line("vpr", UNPRICED, SECOND), line("pii", CHEAP, FAST)).to_json()
    assert found["monthly_cost_usd"] is None
    assert found["avg_cost_usd"] is None
    assert found["note"] == "the price of openai/unpriced is unknown"


@pytest.mark.parametrize("text", ["fallback:100%", "aggressive", "budget", "outage:openai"])
def test_a_target_that_serves_nobody_spoils_nothing(text):
    found = months(text, line("vpr", UNPRICED, CHEAP)).to_json()
    assert found["monthly_cost_usd"] == "5"
    assert "note" not in found


def test_the_cheapest_of_targets_without_any_price_is_unknown():
    found = months("aggressive", line("vpr", UNPRICED, Target("google", "unpriced"))).to_json()
    assert found["monthly_cost_usd"] is None
    assert found["note"] == "the price of openai/unpriced is unknown"


def test_the_cheapest_depends_on_the_tokens():
    reader = Target("openai", "reader")
    price = Price.per_million(Decimal("0.01"), Decimal(20))

    def cheapest(*tokens):
        others = (price_target(reader, price, tokens, NOW),)
        return months("budget", line("vpr", STRONG, tokens=tokens, others=others)).served_by["vpr"]

    assert cheapest(2000, 1) == (reader,)
    assert cheapest(2000, 1000) == (CHEAP,)


def test_each_target_is_charged_for_the_tokens_that_it_counts_itself():
    first, second = (
        price_target(STRONG, PRICES[STRONG], (100, 0), NOW),
        price_target(SECOND, PRICES[SECOND], (130, 0), NOW),
    )
    found = Estimate((FeatureEstimate("vpr", 0, (first, second)),), ()).to_json()["features"]["vpr"][
        "targets"
    ]
    assert [one["input_tokens"] for one in found] == [100, 130]
    assert [one["cost_per_request_usd"] for one in found] == ["0.0003", "0.000325"]


def test_the_price_that_is_shown_is_that_of_such_a_request():
    cliff = Price(
        (PricePeriod(input=Rate(3, ((200_000, 6),)), output=Rate(15, ((200_000, 22),))),), as_of="2026-11-09"
    )

    def priced(tokens):
        shown_line = FeatureEstimate("vpr", 0, (price_target(STRONG, cliff, (tokens, 0), NOW),))
        return Estimate((shown_line,), ()).to_json()["features"]["vpr"]["targets"][0]["price"]

    listed = {"source": "catalogue", "as_of": "2026-11-09"}
    assert priced(200_000) == {"input": "0.000003", "output": "0.000015", **listed}
    assert priced(200_001) == {"input": "0.000006", "output": "0.000022", **listed}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "takes all-primary"),
        ("primary", "takes all-primary"),
        ("all-primary:2", "takes all-primary"),
        ("fallback", "takes all-primary"),
        ("fallback:", "0% to 100%"),
        ("fallback:50", "0% to 100%"),
        ("fallback:0.5", "0% to 100%"),
        ("fallback:101%", "0% to 100%"),
        ("fallback:-1%", "0% to 100%"),
        ("fallback:1e999999999%", "0% to 100%"),
        ("fallback:nan%", "0% to 100%"),
        ("outage:nobody", "there are anthropic, openai, google"),
        ("outage:", "there is no provider"),
        ("actual:7d", "takes all-primary"),
    ],
)
def test_what_is_no_scenario_is_refused_with_a_hint(text, why):
    with pytest.raises(UsageError, match=why):
        parse_scenario(text, PROVIDERS)


def test_what_was_recorded_is_no_assumption():
    with pytest.raises(ValueError, match="estimated from history"):
        months("actual", line("vpr", STRONG))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("listed", (STRONG, CHEAP, FAST)),
        ("cost", (CHEAP, FAST, STRONG)),
        ("quality", (STRONG, FAST, CHEAP)),
        ("round_robin", (STRONG, CHEAP, FAST)),
        ("weighted", (STRONG, CHEAP, FAST)),
    ],
)
def test_a_chain_is_in_the_order_that_does_not_change_from_ask_to_ask(order, expected):
    found = order_chain(candidates(STRONG, CHEAP, FAST), order, NOW)
    assert tuple(one.target for one in found) == expected


PICO = st.integers(0, 10**8)


def price_of(pico):
    return Price((PricePeriod(input=Rate(pico), output=Rate(0)),))


@given(
    costs=st.lists(st.tuples(PICO, PICO), min_size=1, max_size=7),
    hundredths=st.integers(0, 10_000),
    requests=st.integers(1, 10**7),
)
def test_a_mixture_is_exactly_its_parts(costs, hundredths, requests):
    lines = [
        FeatureEstimate(
            f"feature {number}",
            0,
            tuple(
                price_target(Target("openai", f"{number}-{place}"), price_of(pico), (1, 0), NOW)
                for place, pico in enumerate(pair)
            ),
        )
        for number, pair in enumerate(costs)
    ]
    share = Fraction(hundredths, 10_000)
    mixed = estimate_month(parse_scenario(f"fallback:{hundredths / 100:.2f}%", ()), lines, requests).cost
    firsts, seconds = (Fraction(sum(pair[place] for pair in costs), len(costs)) for place in (0, 1))
    assert mixed == requests * ((1 - share) * firsts + share * seconds)
