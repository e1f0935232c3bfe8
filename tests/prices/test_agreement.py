"""To the last digit: what we make of a usage and what genai-prices makes of it, over the whole catalogue."""

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import TieredPrices

from llmfail.core.model import Usage
from llmfail.core.pricing.price import Price, compute_cost
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.vendors import PRICE_LISTS
from llmfail.prices import Catalogue
from llmfail.prices.catalogue_file import PACKAGED_DIRECTORY, read_price_list
from llmfail.prices.generate import build_price_lists, find_newest_start_date

CATALOGUE = Catalogue()
LISTED = {provider.id: provider for provider in providers if provider.id in PRICE_LISTS}
MODELS = [(provider.id, model) for provider in LISTED.values() for model in provider.models]
TIMES = ((0, 0), (0, 30), (1, 0), (3, 59), (4, 0), (6, 0), (9, 59), (10, 0), (16, 29), (16, 30), (23, 59))
DAYS = (date(2025, 1, 1), date(2026, 10, 13), date(2026, 10, 14), date(2026, 11, 20), date(2027, 1, 1))
VARIANTS = {
    None: {},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "batch": {"processing": "batch"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "standard": {"service_tier": "standard"},
}


def price_of(provider, model):
    found = CATALOGUE.find(provider, model)
    return found and found.entry.periods and Price(found.entry.periods, found.entry.variants)


def periods_of(model):
    return [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]


def every_price(model):
    for prices in (*periods_of(model), *(variant.prices for variant in model.price_variants or ())):
        for value in vars(prices).values():
            if isinstance(value, TieredPrices):
                yield from (value.base, *(tier.price for tier in value.tiers))
            elif value is not None:
                yield value


def is_exact(model):
    """No price is finer than what we count by."""
    return all(price == round(price, 6) for price in every_price(model))


def days_of(model):
    starts = [
        getattr(one.constraint, "start_date", None)
        for one in (*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ()))
    ]
    return sorted({*DAYS, *(start for start in starts if start)})


def cliffs_of(model):
    found = {
        tier.start
        for prices in periods_of(model)
        for value in vars(prices).values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    }
    return sorted(start + more for start in found for more in (-1, 0, 1))


def usage_of(chance, whole):
    cached = chance.randint(0, whole)
    written = chance.randint(0, whole - cached)
    hour = chance.randint(0, written)
    return Usage(whole, cached, written, hour, chance.randint(0, 20_000))


def theirs(provider, model, usage, moment, variant):
    asked = TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
    )
    found = calc_price(
        asked,
        model,
        provider_id=provider,
        genai_request_timestamp=datetime.fromtimestamp(moment, UTC),
        price_context=VARIANTS[variant],
    )
    return found.total_price


def ours(price, usage, moment, variant):
    return Decimal(compute_cost(usage, price.at(moment, variant))) / PICO_PER_DOLLAR


PRICED = [(provider, model) for provider, model in MODELS if price_of(provider, model.id) and is_exact(model)]
RICH = [
    (provider, model)
    for provider, model in PRICED
    if cliffs_of(model) or model.price_variants or len(periods_of(model)) > 1
]


def test_the_whole_catalogue_agrees():
    chance = random.Random(20261109)
    for provider, model in PRICED:
        usage = usage_of(chance, chance.randint(0, 50_000))
        moment = datetime(2026, 11, 20, chance.randint(0, 23), tzinfo=UTC).timestamp()
        price = price_of(provider, model.id)
        assert ours(price, usage, moment, None) == theirs(provider, model.id, usage, moment, None), model.id
    assert len(PRICED) > 1000


@pytest.mark.parametrize("provider", [name for name in LISTED if any(name == one for one, _ in RICH)])
def test_steps_days_hours_and_variants_agree(provider):
    chance = random.Random(provider)
    models = [model for name, model in RICH if name == provider]
    for model in chance.sample(models, min(len(models), 25)):
        price = price_of(provider, model.id)
        for whole in (*cliffs_of(model), chance.randint(1, 500_000)):
            for day in chance.sample(days_of(model), min(3, len(days_of(model)))):
                hour, minute = chance.choice(TIMES)
                moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC).timestamp()
                usage = usage_of(chance, whole)
                for variant in VARIANTS:
                    expected = theirs(provider, model.id, usage, moment, variant)
                    assert ours(price, usage, moment, variant) == expected, (model.id, usage, moment, variant)


def test_there_is_enough_to_agree_on():
    assert len(RICH) >= 40
    assert any(cliffs_of(model) for _, model in RICH)
    assert any(len(list(every_price(model))) > 20 for _, model in RICH)


def test_the_packaged_lists_are_what_the_script_makes_of_that_version():
    index = Catalogue().index
    if index.sources["genai-prices"] != version("genai-prices"):
        pytest.skip("another version is installed than the one the lists were made from")
    packaged = {name: read_price_list(PACKAGED_DIRECTORY, name) for name in LISTED}
    assert find_newest_start_date(providers, date(2026, 11, 21)) == index.as_of
    made = build_price_lists(providers, {name: one.facts for name, one in packaged.items()}, index.as_of)
    assert {one.provider: one for one in made} == packaged
