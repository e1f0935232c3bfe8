"""What the attributes of a span are called: those of the GenAI conventions in both generations, and our own.

The conventions were last published with all others as 1.41, and go on in a repository of their own. Back ends
know the old names; ``OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental`` chooses the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from llmfail.core.model import Usage
from llmfail.core.receipt import DEGRADED_TIER, Receipt
from llmfail.core.reports.watch_event import AttemptEnded
from llmfail.core.vendors import vendor_of
from llmfail.settings.schema.provider_types import Provider

OPT_IN_VARIABLE: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST: Final = "gen_ai_latest_experimental"


class _Names(NamedTuple):
    """One attribute: as 1.41 has it, and as the latest conventions have it."""

    old: str
    latest: str


def _keep_name(name: str) -> _Names:
    return _Names(name, name)


ATTRIBUTES: Final[Mapping[str, _Names]] = {
    "operation": _keep_name("gen_ai.operation.name"),
    "provider": _keep_name("gen_ai.provider.name"),
    "model": _keep_name("gen_ai.request.model"),
    "max_tokens": _keep_name("gen_ai.request.max_tokens"),
    "stream": _keep_name("gen_ai.request.stream"),
    "conversation": _keep_name("gen_ai.conversation.id"),
    "response_model": _keep_name("gen_ai.response.model"),
    "finish_reasons": _keep_name("gen_ai.response.finish_reasons"),
    "input_tokens": _keep_name("gen_ai.usage.input_tokens"),
    "output_tokens": _keep_name("gen_ai.usage.output_tokens"),
    "cache_read": _keep_name("gen_ai.usage.cache_read.input_tokens"),
    "cache_write": _Names(
        "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"
    ),
    "reasoning": _keep_name("gen_ai.usage.reasoning.output_tokens"),
    "error": _keep_name("error.type"),
    "status": _keep_name("http.response.status_code"),
    "host": _keep_name("server.address"),
    "port": _keep_name("server.port"),
    "ask": _keep_name("llmfail.ask.id"),
    "feature": _keep_name("llmfail.feature"),
    "target": _keep_name("llmfail.target"),
    "tier": _keep_name("llmfail.tier"),
    "source": _keep_name("llmfail.source"),
    "cost": _keep_name("llmfail.cost_usd"),
    "request_id": _keep_name("llmfail.request_id"),
    "reason": _keep_name("llmfail.reason"),
    "note": _keep_name("llmfail.note"),
}
PROVIDER_NAMES: Final = {
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "azure": "azure.ai.openai",
}
"""What the conventions call a vendor, where that is not its name here."""

Attributes = dict[str, Any]


def name_attributes(values: Mapping[str, object], *, latest: bool) -> Attributes:
    """By the keys of the table; what is not known is left out."""
    return {
        names.latest if latest else names.old: value
        for key, value in values.items()
        if (names := ATTRIBUTES[key]) and value is not None
    }


def describe_provider(provider: Provider) -> Mapping[str, object]:
    """Who is called, and where."""
    host, port = provider.address
    vendor = vendor_of(provider.name, host)
    name = "vertex" if provider.api == "vertex" else vendor.name if vendor else provider.name
    return {"provider": PROVIDER_NAMES.get(name, name), "host": host, "port": int(port)}


def describe_end(event: AttemptEnded) -> Mapping[str, object]:
    return {
        "status": event.status,
        "request_id": event.request_id,
        "cost": None if event.cost_usd is None else float(event.cost_usd),
        "error": None if event.outcome == "ok" else event.outcome,
        "note": event.note or None,
    }


def describe_answer(receipt: Receipt) -> Mapping[str, object]:
    """Of the call that has answered."""
    reasons = None if receipt.finish_reason is None else (receipt.finish_reason,)
    return {
        "response_model": receipt.response_model,
        "finish_reasons": reasons,
        **_describe_usage(receipt.usage),
    }


def _describe_usage(usage: Usage | None) -> Mapping[str, object]:
    if usage is None:
        return {}
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read": usage.cached_input_tokens or None,
        "cache_write": usage.cache_write_tokens or None,
        "reasoning": usage.reasoning_tokens or None,
    }


def describe_ask(receipt: Receipt) -> Mapping[str, object]:
    """What became of the whole ask."""
    return {
        "tier": receipt.tier if receipt.tier <= DEGRADED_TIER else None,
        "source": receipt.source,
        "target": None if receipt.target is None else str(receipt.target),
        "cost": None if receipt.cost_usd is None else float(receipt.cost_usd),
        "error": None if receipt.error is None else receipt.error.kind,
    }
