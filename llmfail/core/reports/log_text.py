"""A logged request in the words that terminal and dashboard use. It is its receipt as JSON, with the moment
``at``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmfail.core.one_line import one_line
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.reports.figures import duration, exact_usd, milliseconds


def describe_result(entry: Mapping[str, Any]) -> str:
    took, cost = milliseconds(entry["latency_ms"]), exact_usd(parse_pico(entry["cost_usd"]))
    if entry["error"]:
        message = one_line(entry["error"]["message"], max_chars=2000)
        return f"no answer (exit {entry['error']['code']}): {message}"
    usage = entry["usage"]
    tokens = f", {usage['input_tokens']:,} + {usage['output_tokens']:,} tokens" if usage else ""
    ending = f", ended by {entry['finish_reason']}" if entry["finish_reason"] else ""
    return f"{describe_source(entry)}, tier {entry['tier']}, {took}{tokens}, {cost}{ending}"


def describe_source(entry: Mapping[str, Any]) -> str:
    """Who answered, or what did in place of a model."""
    match entry["source"]:
        case "cache" | "stale_cache" as source:
            age = "an older answer " if source == "stale_cache" else ""
            return f"{age}served from the cache (stored by {entry['target']})"
        case "model":
            return f"{entry['target']} answered"
        case source:
            return f"no model answered; the feature's {source} did"


def describe_step(step: Mapping[str, Any]) -> str:
    wait = step["retry_after"]
    hint = f"retry after {duration(wait)}" if wait else ""
    skipped = "not called" if step["action"] == "skipped" else ""
    return "; ".join(part for part in (skipped, hint, step.get("note", "")) if part)


def parse_pico(text: str | None) -> int | None:
    return None if text is None else int(Decimal(text) * PICO_PER_DOLLAR)


def name_outcome(step: Mapping[str, Any]) -> str:
    """The outcome of a step of a trail, which tells a pause from an opening by failures."""
    return "paused" if step.get("open_reason") == "pause" else str(step["outcome"])
