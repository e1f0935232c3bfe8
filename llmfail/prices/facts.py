"""litellm's table of models -> facts by provider and name, and the list of AI21, missing in genai-prices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import Raw
from msgspec.json import encode

from llmfail.core.pricing.catalogue import Entry, Facts, Listing
from llmfail.core.pricing.price import Listed, Rate, pico

Table = Mapping[str, Mapping[str, Any]]
_PROVIDERS = {
    "vertex_ai-language-models": ("google", ""),
    "gemini": ("google", "gemini/"),
    "anthropic": ("anthropic", ""),
    "openai": ("openai", ""),
    "groq": ("groq", "groq/"),
    "deepseek": ("deepseek", "deepseek/"),
    "mistral": ("mistral", "mistral/"),
    "together_ai": ("together", "together_ai/"),
    "xai": ("x-ai", "xai/"),
    "ai21": ("ai21", ""),
    "openrouter": ("openrouter", "openrouter/"),
    "fireworks_ai": ("fireworks", "fireworks_ai/"),
    "cerebras": ("cerebras", "cerebras/"),
    "perplexity": ("perplexity", "perplexity/"),
    "moonshot": ("moonshotai", "moonshot/"),
    "zai": ("zai", "zai/"),
    "minimax": ("minimax", "minimax/"),
    "cohere": ("cohere", "cohere/"),
    "cohere_chat": ("cohere", ""),
    "novita": ("novita", "novita/"),
    "baseten": ("baseten", "baseten/"),
    "meta": ("meta", "meta/"),
}
"""litellm's name of a provider: ours, and what its models' names begin with there. Later ones win."""
_TEXT = {"chat", "completion", "responses", "embedding"}


def facts_of(table: Table, ends: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Facts]]:
    """``ends`` are the retirements that are known better: by provider and name, ``on`` and ``then``."""
    found: dict[str, dict[str, Facts]] = {}
    for theirs, (ours, prefix) in _PROVIDERS.items():
        for name, model in table.items():
            if model.get("litellm_provider") == theirs and name.startswith(prefix):
                facts = _facts(model, dated=theirs != "vertex_ai-language-models")
                if model.get("mode") in _TEXT and facts != Facts():
                    found.setdefault(ours, {})[name.removeprefix(prefix).lower()] = facts
    for provider, names in ends.items():
        known = found.setdefault(provider, {})
        for name, end in names.items():
            before = known.get(name, Facts())
            on = date.fromisoformat(end["on"])
            known[name] = Facts(before.context, before.max_output, on, end.get("then", ""))
    return {provider: dict(sorted(names.items())) for provider, names in sorted(found.items())}


def ai21(table: Table, facts: Mapping[str, Facts], as_of: date) -> Listing:
    models = {
        name: model
        for name, model in table.items()
        if model.get("litellm_provider") == "ai21" and "output_cost_per_token" in model
    }
    return Listing(
        provider="ai21",
        as_of=as_of,
        also=(),
        names={name: place for place, name in enumerate(models)},
        rules=(),
        models=tuple(Raw(encode(_entry(name, model))) for name, model in models.items()),
        facts=facts,
    )


def _facts(model: Mapping[str, Any], *, dated: bool) -> Facts:
    """Vertex ends models on days of its own."""
    day = model.get("deprecation_date") if dated else None
    return Facts(
        _count(model.get("max_input_tokens")),
        _count(model.get("max_output_tokens")),
        None if day is None else date.fromisoformat(day),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _entry(name: str, model: Mapping[str, Any]) -> Entry:
    price = Listed(input=_rate(model["input_cost_per_token"]), output=_rate(model["output_cost_per_token"]))
    return Entry(id=name, periods=(price,))


def _rate(usd_per_token: float) -> Rate:
    return Rate(pico(Decimal(str(usd_per_token)) * 1_000_000))
