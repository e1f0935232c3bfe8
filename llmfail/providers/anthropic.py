"""Anthropic Messages.

``max_tokens`` is required there, so it is never left out. The whole input is what ``usage`` calls input plus
what was read from and written to the cache. A refusal before any output shows up in the usage, but is not
billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from llmfail.core.classification.body import Payload
from llmfail.core.classification.finish_reason import explain_end, read_finish_reason
from llmfail.core.claude_version import version_of
from llmfail.core.conversation import merge_json
from llmfail.core.errors import MalformedReply, UnsupportedRequest
from llmfail.core.model import Call, Completion, Embedding, Endpoint, FinishReason, Request, Usage
from llmfail.providers.decoding import (
    NO_FINISH_REASON,
    as_clean_text,
    as_mapping,
    finish_with,
    keep_beyond_text,
    read_content,
    read_counts,
    read_partial_count,
    read_reason,
    read_token_count,
    read_usage,
    require_object,
)
from llmfail.providers.dialects import anthropic_parts
from llmfail.providers.dialects.anthropic_schema import adapt_schema
from llmfail.providers.encoding import EmbeddingInputs, begin_post, build_post, marks_for

if TYPE_CHECKING:
    from llmfail.providers.stream import StreamDecoder

DEFAULT_API_VERSION = "2023-06-01"
_COUNT_KEYS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_NOT_SENT_TO_COUNT = ("max_tokens", "temperature", "stop_sequences", "top_p", "top_k", "service_tier")
_FIRST_WITH_EFFORT = (4, 6)
"""The version of Claude from which on it is told an effort; before, it was given a number of tokens."""
_THINKING_BUDGETS = {"low": 2048, "medium": 8192, "high": 16384, "max": 32000}
_LEAST_BUDGET = 1024
_PRICE_VARIANTS = frozenset({"batch", "priority", "fast"})
_US_SURCHARGE_PERCENT = 10
"""Per cent on top of the price, for a call that was held to the United States."""


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    document = {"model": endpoint.model, **build_body(request, endpoint, stream=stream)}
    return build_post(_build_url(endpoint), _build_headers(endpoint), document)


def build_body(request: Request, endpoint: Endpoint, *, stream: bool) -> dict[str, Any]:
    """The body without its model, which Vertex has in the URL."""
    quirks = endpoint.dropped_parameters
    written: dict[str, Any] = {"max_tokens": request.max_tokens}
    if request.system:
        written["system"] = anthropic_parts.write_system(request.system_parts)
    written["messages"] = [anthropic_parts.write_message(message) for message in request.messages]
    written |= _build_tools(request)
    if request.temperature is not None and "temperature" not in quirks:
        written["temperature"] = request.temperature
    if request.stop and "stop" not in quirks:
        written["stop_sequences"] = list(request.stop)
    written |= build_options(request, endpoint)
    if request.schema is not None and "schema" not in quirks:
        format_ = {"type": "json_schema", "schema": adapt_schema(request.schema)}
        written["output_config"] = {**written.get("output_config", {}), "format": format_}
    written = merge_json(written, marks_for("anthropic", request))
    if stream:
        written["stream"] = True
    return written


def begin_call(endpoint: Endpoint, *, stream: bool) -> Call:  # noqa: ARG001 - the port's signature
    return begin_post(_build_url(endpoint), _build_headers(endpoint))


def decode(payload: Payload) -> Completion:
    message = require_object(payload)
    content = message.get("content")
    if not isinstance(content, list | str):
        raise MalformedReply("the answer has no content")
    parts = anthropic_parts.read_parts(content)
    finish = finish_with(read_finish_reason(read_reason(message.get("stop_reason"))), parts)
    model = as_clean_text(message.get("model"))
    return Completion(
        text=as_clean_text(read_content(content)),
        finish_reason=finish,
        usage=read_usage(message.get("usage"), partial(_decode_usage, model)),
        model=model or None,
        detail=_explain_finish(message, finish),
        billed=finish != "refusal" or bool(content),
        parts=keep_beyond_text(parts),
    )


def encode_embedding(
    inputs: EmbeddingInputs,  # noqa: ARG001 - the port's signature
    endpoint: Endpoint,
    dimensions: int | None = None,  # noqa: ARG001
) -> Call:
    raise UnsupportedRequest(
        f"{endpoint.model}: Anthropic has no embeddings; use another provider for this feature"
    )


def max_texts(endpoint: Endpoint) -> int:  # noqa: ARG001 - the port's signature
    return 1


def decode_embedding(payload: Payload) -> Embedding:  # noqa: ARG001 - the port's signature
    raise MalformedReply("Anthropic has no embeddings")


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    return build_post(
        f"{_build_url(endpoint)}/count_tokens", _build_headers(endpoint), build_count_body(request, endpoint)
    )


def build_count_body(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """What the count depends on, and no more: the endpoint refuses the rest."""
    whole = build_body(request, endpoint, stream=False)
    kept = {name: value for name, value in whole.items() if name not in _NOT_SENT_TO_COUNT}
    return {"model": endpoint.model, **kept}


def decode_count(payload: Payload) -> int:
    return read_token_count(payload, "input_tokens")


def make_stream_decoder() -> StreamDecoder:
    from llmfail.providers.accumulators.message_accumulator import MessageAccumulator
    from llmfail.providers.stream import StreamDecoder

    return StreamDecoder(MessageAccumulator(), decode)


def _build_url(endpoint: Endpoint) -> str:
    return f"{endpoint.base_url.rstrip('/')}/v1/messages"


def _build_headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"anthropic-version": endpoint.api_version or DEFAULT_API_VERSION}
    return {**headers, "x-api-key": endpoint.key.reveal()} if endpoint.key else headers


def _build_tools(request: Request) -> dict[str, Any]:
    """There is no choice without tools."""
    if not request.tools:
        return {}
    choice = anthropic_parts.write_tool_choice(request.tool_choice, parallel=request.parallel_tools)
    tools = {"tools": anthropic_parts.write_tools(request.tools)}
    return tools if choice is None else {**tools, "tool_choice": choice}


def build_options(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    options = request.options
    named = {"top_p": options.top_p, "top_k": options.top_k, "service_tier": options.service_tier}
    written: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    match options.effort:
        case None:
            return written
        case "none":
            return {**written, "thinking": {"type": "disabled"}}
        case effort if (version_of(endpoint.model) or _FIRST_WITH_EFFORT) >= _FIRST_WITH_EFFORT:
            return {**written, "output_config": {"effort": effort}}
        case effort:
            budget = min(_THINKING_BUDGETS[effort], request.max_tokens - 1)
            thinking = {"type": "enabled", "budget_tokens": budget}
            return {**written, "thinking": thinking} if budget >= _LEAST_BUDGET else written


def _decode_usage(model: str, usage: Mapping[str, Any]) -> Usage:
    plain, read, written, output = read_counts(usage, _COUNT_KEYS, ("input_tokens", "output_tokens"))
    return Usage(
        input_tokens=plain + read + written,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=read_partial_count(
            as_mapping(usage.get("cache_creation")), "ephemeral_1h_input_tokens", written
        ),
        output_tokens=output,
        reasoning_tokens=read_partial_count(
            as_mapping(usage.get("output_tokens_details")), "thinking_tokens", output
        ),
        variant=_find_variant(usage),
        surcharge=_find_surcharge(model, as_clean_text(usage.get("inference_geo"))),
    )


def _find_variant(usage: Mapping[str, Any]) -> str | None:
    said = (as_clean_text(usage.get("speed")), as_clean_text(usage.get("service_tier")))
    return next((variant for variant in said if variant in _PRICE_VARIANTS), None)


def _find_surcharge(model: str, place: str) -> int:
    """Models before 4.6 cost the same everywhere."""
    return _US_SURCHARGE_PERCENT if place == "us" and (version_of(model) or (0, 0)) >= (4, 6) else 0


def _explain_finish(message: Mapping[str, Any], finish: FinishReason) -> str:
    """Why it refused, or its own word for an end that is not one of ours."""
    if finish == "refusal":
        why = as_mapping(message.get("stop_details"))
        return ": ".join(
            filter(None, (as_clean_text(why.get("category")), as_clean_text(why.get("explanation"))))
        )
    word = read_reason(message.get("stop_reason"))
    return explain_end(word) or (NO_FINISH_REASON if finish == "other" else "")
