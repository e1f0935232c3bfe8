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
    PROVIDERS,
    Clause,
    Entry,
    Facts,
    Listing,
    Rule,
)
from llmfail.core.pricing.price import Listed, Rate, pico

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
REGIONAL = 10
"""Per cent that Claude costs more on Vertex outside its global endpoint, from version 4.5 on."""
_KEYS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
}
_BESIDES = re.compile(r"(input|cache)_(audio|image|video)_(read_|write_)?mtok|(web|storage)_searches_kcount")
"""What a text model may be paid for that no call of ours has."""
_CONTEXTS = {"service_tier", "processing", "speed"}
"""What a variant may depend on."""
_CLAUDES = {"anthropic", "google"}
_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?v?(\d+)(?:-(\d{1,2})(?!\d))?")
_LITERAL = re.compile(r"\^((?:[a-z0-9@/: -]|\\[.\-/])*)(?![*?+{])")

_encoder = Encoder()


def listings(
    providers: Iterable[Provider], facts: Mapping[str, Mapping[str, Facts]], as_of: date
) -> Iterator[Listing]:
    """Those of the providers that are kept. ``facts`` are by provider and name."""
    for provider in providers:
        if provider.id in PROVIDERS:
            yield _listing(provider, facts.get(provider.id, {}), as_of)


def newest(providers: Iterable[Provider], today: date) -> date:
    """The newest day, up to today, from which a price holds: the list is as new as that at least."""
    days = (_since(one) for provider in providers for model in provider.models for one in _conditional(model))
    return max(day for day in days if day is not None and day <= today)


def _since(conditional: ConditionalPrice | _Always) -> date | None:
    return getattr(conditional.constraint, "start_date", None)


def _listing(provider: Provider, facts: Mapping[str, Facts], as_of: date) -> Listing:
    names: dict[str, int] = {}
    rules = []
    for place, model in enumerate(provider.models):
        for clauses in alternatives(model.match):
            if len(clauses) == 1 and clauses[0].kind == "equals":
                names.setdefault(clauses[0].text, place)
            else:
                rules.append(Rule(place, clauses))
    listing = Listing(
        provider=provider.id,
        as_of=as_of,
        also=tuple(one for one in provider.fallback_model_providers or () if one in PROVIDERS),
        names=names,
        rules=tuple(rules),
        models=tuple(Raw(_encoder.encode(entry(model, provider.id))) for model in provider.models),
        facts={},
    )
    return replace(listing, facts={name: one for name, one in facts.items() if _matters(listing, name, one)})


def _matters(listing: Listing, name: str, facts: Facts) -> bool:
    """Of what is not listed, only its end."""
    return facts.retires is not None or listing.place(name) is not None


def alternatives(clause: MatchLogic) -> Iterator[tuple[Clause, ...]]:
    """What is matched as alternatives, each of which holds when all of its clauses do."""
    ((kind, content),) = vars(clause).items()
    match kind:
        case "or_":
            for one in content:
                yield from alternatives(one)
        case "and_":
            for parts in product(*(tuple(alternatives(one)) for one in content)):
                yield tuple(one for part in parts for one in part)
        case "regex":
            yield _expression(content)
        case "equals" | "starts_with" | "ends_with" | "contains":
            yield (Clause(kind, content.lower()),)
        case _:
            raise ValueError(f"a clause of an unknown kind: {kind}")


def _expression(pattern: str) -> tuple[Clause, ...]:
    """What it begins with is looked at first: few expressions are ever compiled."""
    re.compile(pattern)
    literal = _LITERAL.match(pattern)
    beginning = literal[1].replace("\\", "") if literal and "|" not in pattern else ""
    expression = Clause("regex", pattern)
    return (Clause("starts_with", beginning), expression) if beginning else (expression,)


def entry(model: ModelInfo, provider: str) -> Entry:
    if not _is_text(model):
        return Entry(id=model.id, context=model.context_window)
    return Entry(
        id=model.id,
        periods=tuple(_listed(one.prices, one.constraint, free=True) for one in _conditional(model)),
        variants=tuple(_variants(model)),
        regional=REGIONAL if provider in _CLAUDES and _version(model.id) >= (4, 5) else 0,
        context=model.context_window,
    )


def _conditional(model: ModelInfo) -> Sequence[ConditionalPrice | _Always]:
    """The periods of a model; one that is always the same has one."""
    if isinstance(model.prices, list):
        return model.prices
    return [_Always(model.prices)]


class _Always:
    """As a ConditionalPrice without a condition."""

    constraint = None

    def __init__(self, prices: ModelPrice) -> None:
        self.prices = prices


def _is_text(model: ModelInfo) -> bool:
    periods = [_written(one.prices) for one in _conditional(model)]
    known = {*_KEYS, "requests_kcount"}
    return bool(periods) and all(
        "input_mtok" in keys and all(key in known or _BESIDES.fullmatch(key) for key in keys)
        for keys in periods
    )


def _variants(model: ModelInfo) -> Iterator[Listed]:
    """Those by one of the contexts that a provider reports; a variant without prices is no other."""
    for variant in model.price_variants or ():
        ((context, value), *others) = variant.when.items()
        listed = _listed(variant.prices, variant.constraint, value)
        if context in _CONTEXTS and not others and listed.rates:
            yield listed


def _listed(
    prices: ModelPrice, constraint: Constraint, variant: str | None = None, *, free: bool = False
) -> Listed:
    """``free``: output without a price costs nothing, as that of an embedding."""
    written = _written(prices)
    rates = {name: _rate(written[key]) for key, name in _KEYS.items() if key in written}
    if free:
        rates.setdefault("output", Rate(0))
    fee = written.get("requests_kcount")
    return Listed(
        since=getattr(constraint, "start_date", None),
        hours=_hours(constraint),
        variant=variant,
        request=None if fee is None else int(Decimal(fee) * PICO_PER_REQUEST),
        **rates,
    )


def _written(prices: ModelPrice) -> dict[str, Any]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _rate(value: Decimal | TieredPrices) -> Rate:
    if isinstance(value, Decimal):
        return Rate(pico(value))
    return Rate(pico(value.base), tuple((tier.start, pico(tier.price)) for tier in value.tiers))


def _hours(constraint: Constraint) -> tuple[int, int] | None:
    start, end = getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)
    return None if start is None or end is None else (_second(start), _second(end))


def _second(at: time) -> int:
    """Of the day in UTC."""
    offset = at.utcoffset()
    ahead = 0 if offset is None else round(offset.total_seconds())
    return int(at.hour * 3600 + at.minute * 60 + at.second - ahead) % 86400


def _version(model: str) -> tuple[int, int]:
    """Of a Claude; (0, 0) for anything else."""
    found = _CLAUDE.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
