"""genai-prices' objects -> our lists: what is kept, what is left out, and what is refused."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace as Thing

import pytest
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from llmfail.core.pricing.catalogue import NameCondition
from llmfail.core.pricing.price import PricePeriod, Rate
from llmfail.prices.facts import build_ai21_price_list, facts_of
from llmfail.prices.generate import build_entry, split_alternatives

ONE, TWO = Rate(1_000_000), Rate(2_000_000)


def usd(**prices):
    return ModelPrice(**{name: Decimal(price) for name, price in prices.items()})


def made(prices, variants=None, name="m", provider="openai"):
    model = ModelInfo(id=name, match=ClauseEquals(name), prices=prices, price_variants=variants)
    return build_entry(model, provider)


def test_tokens_of_text_are_kept_and_what_no_call_of_ours_has_is_left_out():
    found = made(
        usd(
            input_mtok=1,
            output_mtok=2,
            cache_read_mtok=1,
            cache_write_mtok=2,
            cache_write_1h_mtok=1,
            input_audio_mtok=9,
            web_searches_kcount=9,
            requests_kcount="0.5",
        )
    )
    assert found.periods == (
        PricePeriod(
            input=ONE, output=TWO, cached_input=ONE, cache_write=TWO, cache_write_1h=ONE, request=500_000_000
        ),
    )


@pytest.mark.parametrize(
    "prices",
    [
        {"audio_hours": 1},
        {"input_mtok": 1, "output_image_mtok": 30},
        {"input_mtok": 1, "output_mtok": 2, "output_reasoning_mtok": 3},
        {"input_mtok": 1, "output_mtok": 2, "heard_of_tomorrow": 3},
        {"output_mtok": 2},
        {},
    ],
)
def test_what_is_not_paid_for_by_tokens_of_text_alone_has_no_price(prices):
    assert made(usd(**prices)).periods == ()
    assert made([]).periods == ()


def test_an_embedding_pays_for_no_output():
    assert made(usd(input_mtok=1)).periods == (PricePeriod(input=ONE, output=Rate(0)),)


def test_prices_finer_than_a_pico_dollar_are_rounded():
    assert made(usd(input_mtok="0.0000004", output_mtok="0.0000016")).periods[0].input == Rate(0)
    assert made(usd(input_mtok="0.0000004", output_mtok="0.0000016")).periods[0].output == Rate(2)


def test_steps_days_and_hours_are_kept():
    tiered = TieredPrices(Decimal(1), [Tier(300, Decimal(3)), Tier(200, Decimal(2))])
    night = TimeOfDateConstraint(time(23, 30, tzinfo=UTC), time(1, tzinfo=UTC))
    abroad = TimeOfDateConstraint(time(1, tzinfo=timezone(timedelta(hours=8))), time(2))
    found = made(
        [
            ConditionalPrice(prices=ModelPrice(input_mtok=tiered)),
            ConditionalPrice(StartDateConstraint(date(2026, 12, 1)), prices=usd(input_mtok=2)),
            ConditionalPrice(night, prices=usd(input_mtok=1)),
            ConditionalPrice(abroad, prices=usd(input_mtok=1)),
        ]
    )
    assert found.periods[0].input == Rate(1_000_000, ((200, 2_000_000), (300, 3_000_000)))
    assert found.periods[1].since == date(2026, 12, 1)
    assert [one.hours for one in found.periods[2:]] == [(84_600, 3600), (61_200, 7200)]
    assert found.periods[2].is_in_force(datetime(2026, 1, 1, 0, 59, tzinfo=UTC).timestamp())


def test_variants_by_what_a_provider_reports_are_kept():
    variants = [
        PriceVariant({"service_tier": "default"}, ModelPrice()),
        PriceVariant({"service_tier": "flex"}, usd(input_mtok=1)),
        PriceVariant({"processing": "batch"}, usd(output_mtok=1), StartDateConstraint(date(2026, 10, 14))),
        PriceVariant({"speed": "fast"}, usd(output_mtok=2)),
        PriceVariant({"route": "eu"}, usd(output_mtok=9)),
        PriceVariant({"service_tier": "flex", "region": "eu"}, usd(output_mtok=9)),
    ]
    assert made(usd(input_mtok=2, output_mtok=2), variants).variants == (
        PricePeriod(variant="flex", input=ONE),
        PricePeriod(variant="batch", since=date(2026, 10, 14), output=ONE),
        PricePeriod(variant="fast", output=TWO),
    )


@pytest.mark.parametrize(
    ("name", "provider", "regional"),
    [
        ("claude-sonnet-4-0", "anthropic", 0),
        ("claude-opus-4-1", "google", 0),
        ("claude-3-7-sonnet-latest", "anthropic", 0),
        ("claude-v1", "anthropic", 0),
        ("claude-haiku-4-5", "anthropic", 10),
        ("claude-opus-5", "google", 10),
        ("claude-fable-5-2", "anthropic", 10),
        ("claude-opus-4-20250514", "anthropic", 0),
        ("claude-opus-5", "openrouter", 0),
        ("gemini-5-0", "google", 0),
    ],
)
def test_a_claude_from_4_5_on_is_marked_as_dearer_in_regions(name, provider, regional):
    assert made(usd(input_mtok=1), name=name, provider=provider).regional == regional


def test_clauses_become_alternatives():
    clause = ClauseOr(
        [
            ClauseEquals("A"),
            ClauseAnd([ClauseOr([ClauseStartsWith("b"), ClauseEndsWith("c")]), ClauseContains("D")]),
        ]
    )
    assert list(split_alternatives(clause)) == [
        (NameCondition("equals", "a"),),
        (NameCondition("starts_with", "b"), NameCondition("contains", "d")),
        (NameCondition("ends_with", "c"), NameCondition("contains", "d")),
    ]


@pytest.mark.parametrize(
    ("pattern", "beginning"),
    [
        (r"^gpt-6\.1-terra-\d{4}$", "gpt-6.1-terra-"),
        (r"^x-ai/grok", "x-ai/grok"),
        (r"^gpt-5s?$", "gpt-5"),
        (r"^ab*", "a"),
        (r"^a{2}", None),
        (r"^gpt|claude", None),
        (r"gpt-\d", None),
        (r"^\d", None),
        (r"^(gpt)-5", None),
    ],
)
def test_what_an_expression_begins_with_never_excludes_what_it_means(pattern, beginning):
    [clauses] = split_alternatives(ClauseRegex(pattern))
    assert clauses[-1] == NameCondition("regex", pattern)
    assert [one.text for one in clauses[:-1]] == ([beginning] if beginning else [])


@pytest.mark.parametrize("clause", [ClauseRegex("("), Thing(sounds_like="gpt")])
def test_what_is_no_clause_is_refused(clause):
    with pytest.raises(Exception, match=r"unterminated|unknown kind"):
        list(split_alternatives(clause))


TABLE = {
    "gpt-5": {"litellm_provider": "openai", "mode": "chat", "max_input_tokens": 5, "max_output_tokens": 2},
    "tts": {"litellm_provider": "openai", "mode": "audio_speech", "max_input_tokens": 5},
    "gemini/g": {"litellm_provider": "gemini", "mode": "chat", "deprecation_date": "2027-01-01"},
    "g": {"litellm_provider": "vertex_ai-language-models", "mode": "chat", "deprecation_date": "2026-01-01"},
    "h": {"litellm_provider": "vertex_ai-language-models", "mode": "chat", "max_output_tokens": 3},
    "jamba": {
        "litellm_provider": "ai21",
        "mode": "chat",
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 8e-06,
        "max_input_tokens": "many",
    },
    "elsewhere/m": {"litellm_provider": "elsewhere", "mode": "chat", "max_input_tokens": 5},
}
ENDS = {"openai": {"gpt-5": {"on": "2026-12-11", "then": "gpt-6"}, "o1": {"on": "2026-10-23"}}}


def test_facts_are_litellm_s_and_ends_those_that_are_known_better():
    found = facts_of(TABLE, ENDS)
    assert {provider: sorted(names) for provider, names in found.items()} == {
        "google": ["g", "h"],
        "openai": ["gpt-5", "o1"],
    }
    gpt = found["openai"]["gpt-5"]
    assert (gpt.context, gpt.max_output, gpt.retires, gpt.then) == (5, 2, date(2026, 12, 11), "gpt-6")
    assert found["google"]["g"].retires == date(2027, 1, 1)
    assert found["google"]["h"].max_output == 3


def test_ai21_s_prices_are_litellm_s():
    listing = build_ai21_price_list(TABLE, {}, date(2026, 11, 9))
    assert listing.names == {"jamba": 0}
    assert b"2000000" in bytes(listing.models[0])
    assert b"8000000" in bytes(listing.models[0])
