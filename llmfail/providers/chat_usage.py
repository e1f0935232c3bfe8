"""What a reply in OpenAI's format says was used, by the habits of each vendor.

Input includes what was cached and written; output includes reasoning, but for xAI. A cost is told by
OpenRouter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from math import isfinite
from typing import Any

from llmfail.core.model import Usage
from llmfail.core.receipt import PICO
from llmfail.providers.decoding import (
    counts,
    mapping,
    part,
    text,
    usage_of,
    whole,
)

_COUNTS = ("prompt_tokens", "completion_tokens")
_VARIANTS = {"flex": "flex", "priority": "priority", "fast": "priority", "batch": "batch"}
"""By ``service_tier``; every other is the usual price."""
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens")
"""Where DeepSeek and Together tell what was cached."""
_HIGHEST_COST = 1000
"""In dollars. Below it a double holds every pico-dollar of the JSON text."""


def chat_usage(reply: Mapping[str, Any]) -> Usage | None:
    """An embedding has no completion; half the usage of an answer is none."""
    needed = _COUNTS if "choices" in reply else _COUNTS[:1]
    return usage_of(reply.get("usage"), partial(_usage, text(reply.get("service_tier")), needed))


def insured(reply: Mapping[str, Any], usage: Usage | None) -> bool:
    """OpenRouter, which alone tells a cost, charges nothing for an answer without output and end."""
    return usage is not None and usage.output_tokens == 0 and "cost" in mapping(reply.get("usage"))


def _usage(tier: str, needed: Sequence[str], usage: Mapping[str, Any]) -> Usage:
    details = mapping(usage.get("prompt_tokens_details"))
    prompt, output = counts(usage, _COUNTS, needed)
    reasoning = whole(mapping(usage.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    if reasoning and whole(usage.get("total_tokens")) == prompt + output + reasoning:
        output += reasoning  # xAI counts reasoning beside the completion; its own total gives it away.
    cached = max(part(details, "cached_tokens", prompt), *(part(usage, name, prompt) for name in _CACHED))
    return Usage(
        input_tokens=prompt,
        cached_input_tokens=cached,
        cache_write_tokens=part(details, "cache_write_tokens", prompt - cached),
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        variant=_VARIANTS.get(tier or text(usage.get("service_tier"))),
        reported_cost=_reported(usage),
    )


def _reported(usage: Mapping[str, Any]) -> int | None:
    """OpenRouter's own bill; behind a key of the user's own, the vendor's comes on top of it."""
    cost = _cost(usage.get("cost"))
    if cost is None or usage.get("is_byok") is not True:
        return cost
    vendors = _cost(mapping(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if vendors is None else cost + vendors


def _cost(dollars: object) -> int | None:
    """US dollars as a JSON number, in pico-dollars."""
    if isinstance(dollars, bool) or not isinstance(dollars, int | float):
        return None
    if not isfinite(dollars) or not 0 <= dollars <= _HIGHEST_COST:
        return None
    return int((Decimal(repr(dollars)) * PICO).to_integral_value())
