"""litellm's table of models -> facts by provider and name, and the list of AI21, missing in genai-prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Raw
from msgspec.json import encode

from llmfail.core.pricing.catalogue import CatalogueModel, ModelFacts, PriceList
from llmfail.core.pricing.price import PricePeriod, Rate, to_pico
from llmfail.core.vendors import VENDORS

LitellmTable = Mapping[str, Mapping[str, Any]]
_TEXT_MODES = {"chat", "completion", "responses", "embedding"}


def facts_of(
    table: LitellmTable, retirements: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, ModelFacts]]:
    """``retirements`` are the retirements that are known better: by provider and name, ``on`` and
    ``then``.
    """
    found: dict[str, dict[str, ModelFacts]] = {}
    for ours, theirs, prefix in _list_litellm_names():
        for name, model in table.items():
            if model.get("litellm_provider") == theirs and name.startswith(prefix):
                facts = _build_facts(model, has_end_date=theirs != "vertex_ai-language-models")
                if model.get("mode") in _TEXT_MODES and facts != ModelFacts():
                    found.setdefault(ours, {})[name.removeprefix(prefix).lower()] = facts
    for provider, names in retirements.items():
        known = found.setdefault(provider, {})
        for name, end in names.items():
            before = known.get(name, ModelFacts())
            on = date.fromisoformat(end["on"])
            known[name] = ModelFacts(before.context, before.max_output, on, end.get("then", ""))
    return {provider: dict(sorted(names.items())) for provider, names in sorted(found.items())}


def _list_litellm_names() -> Iterator[tuple[str, str, str]]:
    """Our price list, litellm's name of its provider, and what the names of its models begin with there."""
    for vendor in VENDORS:
        for theirs, prefix in vendor.litellm:
            yield vendor.price_list, theirs, prefix


def build_ai21_price_list(table: LitellmTable, facts: Mapping[str, ModelFacts], as_of: date) -> PriceList:
    models = {
        name: model
        for name, model in table.items()
        if model.get("litellm_provider") == "ai21" and "output_cost_per_token" in model
    }
    return PriceList(
        provider="ai21",
        as_of=as_of,
        also=(),
        names={name: place for place, name in enumerate(models)},
        rules=(),
        models=tuple(Raw(encode(_build_entry(name, model))) for name, model in models.items()),
        facts=facts,
    )


def _build_facts(model: Mapping[str, Any], *, has_end_date: bool) -> ModelFacts:
    """Vertex ends models on days of its own."""
    day = model.get("deprecation_date") if has_end_date else None
    return ModelFacts(
        _positive_or_none(model.get("max_input_tokens")),
        _positive_or_none(model.get("max_output_tokens")),
        None if day is None else date.fromisoformat(day),
    )


def _positive_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _build_entry(name: str, model: Mapping[str, Any]) -> CatalogueModel:
    price = PricePeriod(
        input=_build_rate(model["input_cost_per_token"]), output=_build_rate(model["output_cost_per_token"])
    )
    return CatalogueModel(id=name, periods=(price,))


def _build_rate(usd_per_token: float) -> Rate:
    return Rate(to_pico(Decimal(str(usd_per_token)) * 1_000_000))
