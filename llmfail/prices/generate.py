"""Providers as genai-prices has them -> listings. Reads its objects by their names, so it imports none of it.

What counts with us are tokens of text. Searches and tokens of sound, images and films that a text model lists
besides are left out, since no call of ours has them. A model that is paid for otherwise, or whose text costs
more than tokens tell, is listed without a price: its name must not be taken for another's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.json import Encoder
from msgspec.structs import replace

from llmfail.core.pricing.catalogue import (
    CatalogueModel,
    MatchRule,
    ModelFacts,
    NameCondition,
    PriceList,
)
from llmfail.core.pricing.price import PricePeriod, Rate, to_pico
from llmfail.core.vendors import PRICE_LISTS

if TYPE_CHECKING:
    from datetime import time

    from genai_prices.types import (
        ConditionalPrice,
        MatchLogic,
        ModelInfo,
        ModelPrice,
        Provider,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

    Constraint = StartDateConstraint | TimeOfDateConstraint | None

PICO_PER_REQUEST = 1_000_000_000
"""Pico-dollars per request for one dollar per thousand requests."""
CLAUDE_REGIONAL_PERCENT = 10
"""Per cent that Claude costs more on Vertex outside its global endpoint, from version 4.5 on."""
_RATE_NAMES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
}
_IGNORED_PRICE_KEY = re.compile(
    r"(input|cache)_(audio|image|video)_(read_|write_)?mtok|(web|storage)_searches_kcount"
)
"""What a text model may be paid for that no call of ours has."""
_VARIANT_CONTEXTS = {"service_tier", "processing", "speed"}
"""What a variant may depend on."""
_CLAUDE_PROVIDERS = {"anthropic", "google"}
_CLAUDE_NAME = re.compile(r"claude-(?:[a-z]+-)?v?(\d+)(?:-(\d{1,2})(?!\d))?")
_LITERAL_PREFIX = re.compile(r"\^((?:[a-z0-9@/: -]|\\[.\-/])*)(?![*?+{])")

_encoder = Encoder()


def build_price_lists(
    providers: Iterable[Provider], facts: Mapping[str, Mapping[str, ModelFacts]], as_of: date
) -> Iterator[PriceList]:
    """Those of the providers that are kept. ``facts`` are by provider and name."""
    for provider in providers:
        if provider.id in PRICE_LISTS:
            yield _build_price_list(provider, facts.get(provider.id, {}), as_of)


def find_newest_start_date(providers: Iterable[Provider], today: date) -> date:
    """The newest day, up to today, from which a price holds: the list is as new as that at least."""
    days = (
        _start_date_of(one)
        for provider in providers
        for model in provider.models
        for one in _list_price_periods(model)
    )
    return max(day for day in days if day is not None and day <= today)


def _start_date_of(conditional: ConditionalPrice | _UnconditionalPrice) -> date | None:
    return getattr(conditional.constraint, "start_date", None)


def _build_price_list(provider: Provider, facts: Mapping[str, ModelFacts], as_of: date) -> PriceList:
    names: dict[str, int] = {}
    rules = []
    for place, model in enumerate(provider.models):
        for clauses in split_alternatives(model.match):
            if len(clauses) == 1 and clauses[0].kind == "equals":
                names.setdefault(clauses[0].text, place)
            else:
                rules.append(MatchRule(place, clauses))
    listing = PriceList(
        provider=provider.id,
        as_of=as_of,
        also=tuple(one for one in provider.fallback_model_providers or () if one in PRICE_LISTS),
        names=names,
        rules=tuple(rules),
        models=tuple(Raw(_encoder.encode(build_entry(model, provider.id))) for model in provider.models),
        facts={},
    )
    return replace(
        listing, facts={name: one for name, one in facts.items() if _is_relevant(listing, name, one)}
    )


def _is_relevant(price_list: PriceList, name: str, facts: ModelFacts) -> bool:
    """Of what is not listed, only its end."""
    return facts.retires is not None or price_list.find_index(name) is not None


def split_alternatives(clause: MatchLogic) -> Iterator[tuple[NameCondition, ...]]:
    """What is matched as alternatives, each of which holds when all of its clauses do."""
    ((kind, content),) = vars(clause).items()
    match kind:
        case "or_":
            for one in content:
                yield from split_alternatives(one)
        case "and_":
            for parts in product(*(tuple(split_alternatives(one)) for one in content)):
                yield tuple(one for part in parts for one in part)
        case "regex":
            yield _build_regex_conditions(content)
        case "equals" | "starts_with" | "ends_with" | "contains":
            yield (NameCondition(kind, content.lower()),)
        case _:
            raise ValueError(f"a clause of an unknown kind: {kind}")


def _build_regex_conditions(pattern: str) -> tuple[NameCondition, ...]:
    """What it begins with is looked at first: few expressions are ever compiled."""
    re.compile(pattern)
    literal = _LITERAL_PREFIX.match(pattern)
    beginning = literal[1].replace("\\", "") if literal and "|" not in pattern else ""
    expression = NameCondition("regex", pattern)
    return (NameCondition("starts_with", beginning), expression) if beginning else (expression,)


def build_entry(model: ModelInfo, provider: str) -> CatalogueModel:
    if not _is_priced_by_text_tokens(model):
        return CatalogueModel(id=model.id, context=model.context_window)
    return CatalogueModel(
        id=model.id,
        periods=tuple(
            _build_price_period(one.prices, one.constraint, free=True) for one in _list_price_periods(model)
        ),
        variants=tuple(_build_variants(model)),
        regional=CLAUDE_REGIONAL_PERCENT
        if provider in _CLAUDE_PROVIDERS and _parse_claude_version(model.id) >= (4, 5)
        else 0,
        context=model.context_window,
    )


def _list_price_periods(model: ModelInfo) -> Sequence[ConditionalPrice | _UnconditionalPrice]:
    """The periods of a model; one that is always the same has one."""
    if isinstance(model.prices, list):
        return model.prices
    return [_UnconditionalPrice(model.prices)]


class _UnconditionalPrice:
    """As a ConditionalPrice without a condition."""

    constraint = None

    def __init__(self, prices: ModelPrice) -> None:
        self.prices = prices


def _is_priced_by_text_tokens(model: ModelInfo) -> bool:
    periods = [_keep_given_prices(one.prices) for one in _list_price_periods(model)]
    known = {*_RATE_NAMES, "requests_kcount"}
    return bool(periods) and all(
        "input_mtok" in keys and all(key in known or _IGNORED_PRICE_KEY.fullmatch(key) for key in keys)
        for keys in periods
    )


def _build_variants(model: ModelInfo) -> Iterator[PricePeriod]:
    """Those by one of the contexts that a provider reports; a variant without prices is no other."""
    for variant in model.price_variants or ():
        ((context, value), *others) = variant.when.items()
        listed = _build_price_period(variant.prices, variant.constraint, value)
        if context in _VARIANT_CONTEXTS and not others and listed.rates:
            yield listed


def _build_price_period(
    prices: ModelPrice, constraint: Constraint, variant: str | None = None, *, free: bool = False
) -> PricePeriod:
    """``free``: output without a price costs nothing, as that of an embedding."""
    written = _keep_given_prices(prices)
    rates = {name: _build_rate(written[key]) for key, name in _RATE_NAMES.items() if key in written}
    if free:
        rates.setdefault("output", Rate(0))
    fee = written.get("requests_kcount")
    return PricePeriod(
        since=getattr(constraint, "start_date", None),
        hours=_hours_of_day(constraint),
        variant=variant,
        request=None if fee is None else int(Decimal(fee) * PICO_PER_REQUEST),
        **rates,
    )


def _keep_given_prices(prices: ModelPrice) -> dict[str, Any]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _build_rate(value: Decimal | TieredPrices) -> Rate:
    if isinstance(value, Decimal):
        return Rate(to_pico(value))
    return Rate(to_pico(value.base), tuple((tier.start, to_pico(tier.price)) for tier in value.tiers))


def _hours_of_day(constraint: Constraint) -> tuple[int, int] | None:
    start, end = getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)
    return None if start is None or end is None else (_second_of_day(start), _second_of_day(end))


def _second_of_day(moment: time) -> int:
    """Of the day in UTC."""
    offset = moment.utcoffset()
    ahead = 0 if offset is None else round(offset.total_seconds())
    return int(moment.hour * 3600 + moment.minute * 60 + moment.second - ahead) % 86400


def _parse_claude_version(model: str) -> tuple[int, int]:
    """Of a Claude; (0, 0) for anything else."""
    found = _CLAUDE_NAME.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
