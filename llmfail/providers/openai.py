"""OpenAI Chat Completions, and every endpoint that speaks it.

Where those differ, the host decides (``core.vendors``), then what the target refused before. A schema is sent
without ``strict``: strict mode takes only some schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmfail.core.classification.body import Payload
from llmfail.core.classification.finish_reason import explain_end, read_finish_reason
from llmfail.core.errors import MalformedReply, UnsupportedRequest
from llmfail.core.model import Call, Completion, Embedding, Endpoint, FinishReason, Request
from llmfail.core.vendors import Quirk, quirks_at
from llmfail.providers.chat_usage import decode_chat_usage, is_free_when_empty
from llmfail.providers.decoding import (
    as_clean_text,
    as_mapping,
    as_token_count,
    find_mapping,
    finish_with,
    iter_mappings,
    keep_beyond_text,
    read_content,
    read_reason,
    read_token_count,
    read_vector,
    require_object,
)
from llmfail.providers.dialects import chat_parts
from llmfail.providers.encoding import EmbeddingInputs, begin_post, build_post, host_of_url, marks_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmfail.providers.stream import StreamDecoder

_SAME_NAMES = (
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "verbosity",
    "service_tier",
)
_HIDDEN_KEYS = (*chat_parts.THOUGHT_FIELDS, "tool_calls", "function_call")
"""Where an answer says something besides its text."""
_OUTPUT_LIMIT_KEYS = ("max_tokens", "max_completion_tokens")


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    quirks, dropped = quirks_at(host_of(endpoint)), endpoint.dropped_parameters
    messages = [one for message in request.messages for one in chat_parts.write_message(message)]
    system = chat_parts.write_system(request.system_parts)
    body: dict[str, Any] = {"model": endpoint.model, "messages": [*system, *messages]}
    takes_new_key = (Quirk.NEW_LIMIT_KEY in quirks) != ("max_tokens" in dropped)
    body[_OUTPUT_LIMIT_KEYS[takes_new_key]] = request.max_tokens
    if request.temperature is not None and "temperature" not in dropped:
        body["temperature"] = request.temperature
    if request.stop and "stop" not in dropped:
        body["stop"] = list(request.stop)
    body |= _build_tools(request) | build_options(request, endpoint)
    if (format_ := _build_format(request, endpoint)) is not None:
        body["response_format"] = format_
    body |= marks_for("chat", request)
    body["stream"] = stream
    if stream and Quirk.NO_STREAM_OPTIONS not in quirks and "stream_options" not in dropped:
        body["stream_options"] = {"include_usage": True}
    return build_post(f"{endpoint.base_url.rstrip('/')}/chat/completions", build_headers(endpoint), body)


def begin_call(endpoint: Endpoint, *, stream: bool) -> Call:  # noqa: ARG001 - the port's signature
    return begin_post(f"{endpoint.base_url.rstrip('/')}/chat/completions", build_headers(endpoint))


def decode(payload: Payload) -> Completion:
    reply = require_object(payload)
    choice = find_mapping(reply.get("choices"))
    if choice is None:
        raise MalformedReply("the answer has no choices")
    message = choice.get("message") or choice.get("delta")
    if not isinstance(message, dict):
        raise MalformedReply("the answer has no message")
    refusal = as_clean_text(message.get("refusal"))
    said = read_reason(choice.get("finish_reason"))
    usage = decode_chat_usage(reply)
    text = as_clean_text(read_content(message.get("content")))
    parts = () if _says_text_alone(message) else chat_parts.read_answer_parts(message, text)
    finish: FinishReason = "refusal" if refusal else finish_with(read_finish_reason(said), parts)
    return Completion(
        text=text,
        finish_reason=finish,
        usage=usage,
        model=as_clean_text(reply.get("model")) or None,
        detail=refusal or explain_end(said),
        billed=bool(said) or not is_free_when_empty(reply, usage),
        parts=keep_beyond_text(parts),
        logprobs=as_mapping(choice.get("logprobs")).get("content") or None,
    )


def _says_text_alone(message: Mapping[str, Any]) -> bool:
    """As most answers do, which is quickly told."""
    return isinstance(message.get("content"), str) and not any(map(message.get, _HIDDEN_KEYS))


def encode_embedding(inputs: EmbeddingInputs, endpoint: Endpoint, dimensions: int | None = None) -> Call:
    body: dict[str, Any] = {"model": endpoint.model, "input": list(inputs), "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return build_post(f"{endpoint.base_url.rstrip('/')}/embeddings", build_headers(endpoint), body)


def max_texts(endpoint: Endpoint) -> int:  # noqa: ARG001 - the port's signature
    """OpenAI's limit; the reference of its API has it."""
    return 2048


def decode_embedding(payload: Payload) -> Embedding:
    reply = require_object(payload)
    rows = sorted(iter_mappings(reply.get("data")), key=lambda row: as_token_count(row.get("index")) or 0)
    if not rows:
        raise MalformedReply("the answer has no embedding")
    vectors = tuple(read_vector(row.get("embedding")) for row in rows)
    return Embedding(vectors, decode_chat_usage(reply), as_clean_text(reply.get("model")) or None)


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    """Asked of the Responses API, which counts as Chat Completions does. Of those who speak OpenAI's format
    only OpenAI has it; this machine is asked too, for the simulator.
    """
    host = host_of(endpoint)
    if host != "127.0.0.1" and Quirk.COUNTS_TOKENS not in quirks_at(host):
        raise UnsupportedRequest(f"{endpoint.model}: this provider does not count tokens; estimate them")
    from llmfail.providers.responses import build_input

    body = {"model": endpoint.model, **build_input(request, endpoint)}
    return build_post(
        f"{endpoint.base_url.rstrip('/')}/responses/input_tokens", build_headers(endpoint), body
    )


def decode_count(payload: Payload) -> int:
    return read_token_count(payload, "input_tokens")


def make_stream_decoder() -> StreamDecoder:
    from llmfail.providers.accumulators.chunk_accumulator import ChunkAccumulator
    from llmfail.providers.stream import StreamDecoder

    return StreamDecoder(ChunkAccumulator(), decode)


def host_of(endpoint: Endpoint) -> str:
    return host_of_url(endpoint.base_url)


def build_headers(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.key.reveal()}"} if endpoint.key else {}


def _build_tools(request: Request) -> dict[str, Any]:
    """There is no choice without tools."""
    if not request.tools:
        return {}
    body: dict[str, Any] = {"tools": chat_parts.write_tools(request.tools)}
    if request.tool_choice is not None:
        body["tool_choice"] = chat_parts.write_tool_choice(request.tool_choice)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools
    return body


def build_options(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """Who speaks OpenAI's format has its names too; only OpenAI knows more than a high effort."""
    options, effort = request.options, request.options.effort
    if effort == "max" and Quirk.TAKES_MAX_EFFORT not in quirks_at(host_of(endpoint)):
        effort = "high"
    written: dict[str, Any] = {
        "reasoning_effort": effort,
        **{name: getattr(options, name) for name in _SAME_NAMES},
    }
    if options.logprobs is not None:
        written |= {"logprobs": True, "top_logprobs": options.logprobs or None}
    return {name: value for name, value in written.items() if value is not None}


def _build_format(request: Request, endpoint: Endpoint) -> dict[str, Any] | None:
    if request.schema is None or "schema" in endpoint.dropped_parameters:
        return {"type": "json_object"} if request.json else None
    strict = {} if request.schema_strict is None else {"strict": request.schema_strict}
    named = {"name": request.schema_name, "schema": request.schema, **strict}
    return {"type": "json_schema", "json_schema": named}
