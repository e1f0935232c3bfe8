"""OpenAI Responses, the second endpoint of OpenAI for answers.

Nothing is stored there: the whole conversation goes along each time, and thoughts come encrypted. An answer
that is complete may still have been cut, and one that failed is an error inside a 200.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmfail.core.classification.body import Payload
from llmfail.core.classification.finish_reason import explain_end, read_finish_reason
from llmfail.core.conversation import join_text, merge_json
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Call, Completion, Embedding, Endpoint, FinishReason, Request, Usage
from llmfail.providers import openai
from llmfail.providers.chat_usage import PRICE_VARIANTS
from llmfail.providers.decoding import (
    NO_FINISH_REASON,
    as_clean_text,
    as_mapping,
    finish_with,
    iter_mappings,
    keep_beyond_text,
    read_counts,
    read_partial_count,
    read_usage,
    require_object,
)
from llmfail.providers.dialects import responses_parts
from llmfail.providers.encoding import EmbeddingInputs, begin_post, build_post, marks_for

if TYPE_CHECKING:
    from llmfail.providers.stream import StreamDecoder

_COUNT_KEYS = ("input_tokens", "output_tokens")


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    body = {"model": endpoint.model, **build_input(request, endpoint)}
    if "max_tokens" not in endpoint.dropped_parameters:
        body["max_output_tokens"] = request.max_tokens
    if request.temperature is not None and "temperature" not in endpoint.dropped_parameters:
        body["temperature"] = request.temperature
    body |= {"store": False, "include": ["reasoning.encrypted_content"]}
    body = merge_json(body, build_options(request, endpoint))
    body = merge_json(body, marks_for("responses", request))
    if stream:
        body["stream"] = True
    return build_post(f"{endpoint.base_url.rstrip('/')}/responses", openai.build_headers(endpoint), body)


def build_input(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """What the number of input tokens depends on."""
    body: dict[str, Any] = {}
    instructions, items = responses_parts.write_system(request.system_parts)
    if instructions:
        body["instructions"] = instructions
    body["input"] = [*items, *responses_parts.write_items(request.messages)]
    if request.tools:
        body["tools"] = responses_parts.write_tools(request.tools)
        if request.tool_choice is not None:
            body["tool_choice"] = responses_parts.write_tool_choice(request.tool_choice)
        if request.parallel_tools is not None:
            body["parallel_tool_calls"] = request.parallel_tools
    if (format_ := _build_format(request, endpoint)) is not None:
        body["text"] = {"format": format_}
    return body


def begin_call(endpoint: Endpoint, *, stream: bool) -> Call:  # noqa: ARG001 - the port's signature
    return begin_post(f"{endpoint.base_url.rstrip('/')}/responses", openai.build_headers(endpoint))


def decode(payload: Payload) -> Completion:
    reply = require_object(payload)
    items = list(iter_mappings(reply.get("output")))
    if not items and "output" not in reply:
        raise MalformedReply("the answer has no output")
    parts = responses_parts.read_output(items)
    refusal = _read_refusal(items)
    text = join_text(parts)
    said = _read_end(reply)
    finish: FinishReason = "refusal" if refusal else finish_with(read_finish_reason(said), parts)
    return Completion(
        text=text,
        finish_reason=finish,
        usage=read_usage(reply.get("usage"), lambda usage: _decode_usage(reply, usage)),
        model=as_clean_text(reply.get("model")) or None,
        detail=refusal or explain_end(said),
        parts=keep_beyond_text(parts),
        logprobs=_read_logprobs(items),
    )


def encode_embedding(inputs: EmbeddingInputs, endpoint: Endpoint, dimensions: int | None = None) -> Call:
    return openai.encode_embedding(inputs, endpoint, dimensions)


def max_texts(endpoint: Endpoint) -> int:
    return openai.max_texts(endpoint)


def decode_embedding(payload: Payload) -> Embedding:
    return openai.decode_embedding(payload)


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    return openai.encode_count(request, endpoint)


def decode_count(payload: Payload) -> int:
    return openai.decode_count(payload)


def make_stream_decoder() -> StreamDecoder:
    from llmfail.providers.accumulators.item_accumulator import ItemAccumulator
    from llmfail.providers.stream import StreamDecoder

    return StreamDecoder(ItemAccumulator(), decode)


def build_options(request: Request, endpoint: Endpoint) -> dict[str, Any]:  # noqa: ARG001 - as above
    options = request.options
    written: dict[str, Any] = {}
    if options.effort is not None:
        written["reasoning"] = {"effort": options.effort}
    if options.top_p is not None:
        written["top_p"] = options.top_p
    if options.logprobs is not None:
        written["top_logprobs"] = options.logprobs
        written["include"] = ["reasoning.encrypted_content", "message.output_text.logprobs"]
    if options.verbosity is not None:
        written["text"] = {"verbosity": options.verbosity}
    if options.service_tier is not None:
        written["service_tier"] = options.service_tier
    return written


def _build_format(request: Request, endpoint: Endpoint) -> dict[str, Any] | None:
    if request.schema is None or "schema" in endpoint.dropped_parameters:
        return {"type": "json_object"} if request.json else None
    strict = {} if request.schema_strict is None else {"strict": request.schema_strict}
    return {"type": "json_schema", "name": request.schema_name, "schema": request.schema, **strict}


def _read_end(reply: Mapping[str, Any]) -> str:
    """In the words of the other wires: complete, or why it was cut."""
    status = as_clean_text(reply.get("status"))
    if status == "incomplete":
        return as_clean_text(as_mapping(reply.get("incomplete_details")).get("reason")) or status
    return status or NO_FINISH_REASON


def _read_refusal(items: Sequence[Mapping[str, Any]]) -> str:
    parts = (part for item in items for part in iter_mappings(item.get("content")))
    return "".join(as_clean_text(part.get("refusal")) for part in parts)


def _read_logprobs(items: Sequence[Mapping[str, Any]]) -> Any:  # noqa: ANN401 - JSON
    parts = (part for item in items for part in iter_mappings(item.get("content")))
    return [one for part in parts for one in iter_mappings(part.get("logprobs"))] or None


def _decode_usage(reply: Mapping[str, Any], usage: Mapping[str, Any]) -> Usage:
    read, written = read_counts(usage, _COUNT_KEYS, _COUNT_KEYS)
    details = as_mapping(usage.get("input_tokens_details"))
    cached = read_partial_count(details, "cached_tokens", read)
    return Usage(
        input_tokens=read,
        cached_input_tokens=cached,
        cache_write_tokens=read_partial_count(details, "cache_write_tokens", read - cached),
        output_tokens=written,
        reasoning_tokens=read_partial_count(
            as_mapping(usage.get("output_tokens_details")), "reasoning_tokens", written
        ),
        variant=PRICE_VARIANTS.get(as_clean_text(reply.get("service_tier"))),
    )
