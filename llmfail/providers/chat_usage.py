"""What a reply in OpenAI's format says was used, by the habits of each vendor.

Input includes what was cached and written; output includes reasoning, but for xAI. A cost is told by
OpenRouter (``cost``), Perplexity (``cost.total_cost``, with the fee for its searches) and xAI
(``cost_in_usd_ticks``, with its discounts and tools).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any

from llmfail.core.model import Usage
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.providers.decoding import (
    UnusableCount,
    as_clean_text,
    as_mapping,
    as_token_count,
    read_counts,
    read_partial_count,
)

_COUNT_KEYS = ("prompt_tokens", "completion_tokens")
PRICE_VARIANTS = {"flex": "flex", "priority": "priority", "fast": "priority", "batch": "batch"}
"""By ``service_tier``; every other is the usual price."""
_CACHED_KEYS = ("prompt_cache_hit_tokens", "cached_tokens")
"""Where DeepSeek and Together tell what was cached."""
_COST_KEYS = frozenset({"cost", "cost_in_usd_ticks"})
_PICO_DOLLARS_PER_TICK = 100
"""xAI's ticks: ten thousand million to the dollar."""
_MAX_COST_DOLLARS = 1000
"""In dollars. Below it a double holds every pico-dollar of the JSON text."""
_MAX_TICKS = _MAX_COST_DOLLARS * PICO_PER_DOLLAR // _PICO_DOLLARS_PER_TICK


def decode_chat_usage(reply: Mapping[str, Any]) -> Usage | None:
    """An embedding has no completion; half the usage of an answer is none, but for the cost that it tells."""
    said, needed = as_mapping(reply.get("usage")), len(_COUNT_KEYS)
    if "choices" not in reply:
        needed = 1
        if said and said.get("prompt_tokens") is None:
            said = {**said, "prompt_tokens": said.get("total_tokens")}  # Voyage tells the total alone.
    try:
        return _decode_usage(said, reply.get("service_tier"), _COUNT_KEYS[:needed])
    except UnusableCount:
        cost = _decode_reported_cost(said)
        return None if cost is None else Usage(estimated=True, reported_cost=cost)


def is_free_when_empty(reply: Mapping[str, Any], usage: Usage | None) -> bool:
    """OpenRouter, which alone tells a cost as a number, charges nothing for an answer without output and
    end.
    """
    cost = as_mapping(reply.get("usage")).get("cost")
    return usage is not None and usage.output_tokens == 0 and isinstance(cost, int | float)


def _decode_usage(usage: Mapping[str, Any], tier: object, needed: Sequence[str]) -> Usage:
    prompt, output = read_counts(usage, _COUNT_KEYS, needed)
    details = as_mapping(usage.get("prompt_tokens_details"))
    reasoning = _read_reasoning(as_mapping(usage.get("completion_tokens_details")))
    if reasoning and as_token_count(usage.get("total_tokens")) == prompt + output + reasoning:
        output += reasoning  # xAI counts reasoning beside the completion; its own total gives it away.
    cached = read_partial_count(details, "cached_tokens", prompt)
    for name in _CACHED_KEYS:
        if name in usage:
            cached = max(cached, read_partial_count(usage, name, prompt))
    return Usage(
        input_tokens=prompt,
        cached_input_tokens=cached,
        cache_write_tokens=read_partial_count(details, "cache_write_tokens", prompt - cached),
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        variant=PRICE_VARIANTS.get(as_clean_text(tier) or as_clean_text(usage.get("service_tier"))),
        reported_cost=_decode_reported_cost(usage),
    )


def _read_reasoning(details: Mapping[str, Any]) -> int:
    said = details.get("reasoning_tokens")
    return 0 if said is None else as_token_count(said) or 0


def _decode_reported_cost(usage: Mapping[str, Any]) -> int | None:
    """OpenRouter's own bill; behind a key of the user's own, the vendor's comes on top of it."""
    if _COST_KEYS.isdisjoint(usage):
        return None
    ticks = usage.get("cost_in_usd_ticks")
    if isinstance(ticks, int) and not isinstance(ticks, bool) and 0 <= ticks <= _MAX_TICKS:
        return ticks * _PICO_DOLLARS_PER_TICK
    said = usage.get("cost")
    if isinstance(said, dict):
        is_usd = said.get("currency", "USD") == "USD"
        said = said.get("total_cost") if is_usd else None
    cost = _to_pico_dollars(said)
    if cost is None or usage.get("is_byok") is not True:
        return cost
    vendors = _to_pico_dollars(as_mapping(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if vendors is None else cost + vendors


def _to_pico_dollars(dollars: object) -> int | None:
    """US dollars as a JSON number, in pico-dollars."""
    if isinstance(dollars, bool) or not isinstance(dollars, int | float):
        return None
    if not isfinite(dollars) or not 0 <= dollars <= _MAX_COST_DOLLARS:
        return None
    return int((Decimal(repr(dollars)) * PICO_PER_DOLLAR).to_integral_value())
