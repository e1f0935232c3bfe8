"""Google Gemini, ``generateContent``.

Output is what the candidates say plus what the model thought; input includes cached tokens, and the results
of tools are counted apart. A blocked prompt has no candidates at all, and a candidate may have no parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmfail.core.classification.body import Payload
from llmfail.core.classification.finish_reason import read_finish_reason
from llmfail.core.conversation import Part, join_text, merge_json
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Call, Completion, Embedding, Endpoint, Request, Usage
from llmfail.providers.decoding import (
    NO_FINISH_REASON,
    as_clean_text,
    as_mapping,
    dump_arguments,
    finish_with,
    iter_mappings,
    keep_beyond_text,
    read_counts,
    read_partial_count,
    read_reason,
    read_token_count,
    read_usage,
    read_vector,
    require_object,
)
from llmfail.providers.dialects import gemini_parts
from llmfail.providers.encoding import EmbeddingInputs, begin_post, build_post, marks_for, require_texts

if TYPE_CHECKING:
    from llmfail.providers.stream import StreamDecoder

DEFAULT_API_VERSION = "v1beta"
_COUNT_KEYS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
_PRICE_VARIANTS = {
    "flex": "flex",
    "priority": "priority",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}
"""By ``serviceTier`` of the Gemini API and ``trafficType`` of Vertex."""
_NUMBERED_REASONS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}
"""Some gateways write the numbers of Google's enumeration; beyond these its two APIs number differently."""
_FIRST_WITH_LEVEL = 3
"""The generation of Gemini from which on it is told a level; before, it was given a number of tokens."""
_THINKING_LEVELS = {"none": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "max": "HIGH"}
_THINKING_BUDGETS = {"none": 0, "low": 1024, "medium": 8192, "high": 24576, "max": 24576}
_GENERATION = re.compile(r"gemini-(\d+)")


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    return build_post(
        _build_url(endpoint, choose_method(stream=stream)),
        _build_headers(endpoint),
        build_body(request, endpoint),
    )


def choose_method(*, stream: bool) -> str:
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def build_body(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if request.system:
        written["systemInstruction"] = gemini_parts.write_system(request.system_parts)
    written["contents"] = gemini_parts.write_contents(request.messages, endpoint.model)
    if request.tools:
        written["tools"] = gemini_parts.write_tools(request.tools)
        if request.tool_choice is not None:
            written["toolConfig"] = gemini_parts.write_tool_choice(request.tool_choice)
    config = _build_config(request, endpoint.dropped_parameters)
    config |= build_options(request, endpoint)
    marks = dict(marks_for("gemini", request))
    config = _add_own_config(config, marks.pop("generationConfig", {}))
    return {**written, **({"generationConfig": config} if config else {}), **marks}


def begin_call(endpoint: Endpoint, *, stream: bool) -> Call:
    return begin_post(_build_url(endpoint, choose_method(stream=stream)), _build_headers(endpoint))


def decode(payload: Payload) -> Completion:
    reply = require_object(_join_chunks(payload))
    candidate = next(iter_mappings(reply.get("candidates")), None)
    blocked = read_block_reason(reply)
    if candidate is None and not blocked:
        raise MalformedReply("the answer has no candidates")
    usage, model = (
        read_usage(reply.get("usageMetadata"), _decode_usage),
        as_clean_text(reply.get("modelVersion")) or None,
    )
    if candidate is None:
        return Completion("", "content_filter", usage, model, detail=f"the prompt was blocked: {blocked}")
    reason = read_finish(candidate)
    parts = _read_answer_parts(reply, candidate)
    finish = finish_with(read_finish_reason(reason), parts)
    detail = "" if finish in {"stop", "length", "tool_calls"} else reason or NO_FINISH_REASON
    return Completion(
        join_text(parts),
        finish,
        usage,
        model,
        detail,
        parts=keep_beyond_text(parts),
        logprobs=candidate.get("logprobsResult"),
    )


def _join_chunks(payload: Payload) -> Payload:
    """Google streams a JSON array where ``alt=sse`` was lost on the way: its elements are the chunks."""
    if not isinstance(payload, list) or not payload:
        return payload
    from llmfail.providers.accumulators.candidate_accumulator import CandidateAccumulator

    chunks = CandidateAccumulator()
    for chunk in iter_mappings(payload):
        chunks.add(dict(chunk))
    return chunks.build_reply()


def encode_embedding(inputs: EmbeddingInputs, endpoint: Endpoint, dimensions: int | None = None) -> Call:
    texts = require_texts(inputs, endpoint)
    model = f"models/{_quote_model(endpoint.model)}"
    size = {} if dimensions is None else {"outputDimensionality": dimensions}
    requests = [{"model": model, "content": {"parts": [{"text": one}]}, **size} for one in texts]
    return build_post(
        _build_url(endpoint, "batchEmbedContents"), _build_headers(endpoint), {"requests": requests}
    )


def max_texts(endpoint: Endpoint) -> int:  # noqa: ARG001 - the port's signature
    return 100


def decode_embedding(payload: Payload) -> Embedding:
    reply = require_object(payload)
    rows = list(iter_mappings(reply.get("embeddings"))) or [as_mapping(reply.get("embedding"))]
    vectors = tuple(read_vector(row.get("values")) for row in rows)
    return Embedding(vectors, read_usage(reply.get("usageMetadata"), _decode_usage))


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    """The whole request, inside another: only so are system instruction and schema counted."""
    inner = {"model": f"models/{_quote_model(endpoint.model)}", **build_body(request, endpoint)}
    return build_post(
        _build_url(endpoint, "countTokens"), _build_headers(endpoint), {"generateContentRequest": inner}
    )


def decode_count(payload: Payload) -> int:
    return read_token_count(payload, "totalTokens")


def make_stream_decoder() -> StreamDecoder:
    from llmfail.providers.accumulators.candidate_accumulator import CandidateAccumulator
    from llmfail.providers.stream import StreamDecoder

    return StreamDecoder(CandidateAccumulator(), decode)


def _build_url(endpoint: Endpoint, verb: str) -> str:
    base, version = endpoint.base_url.rstrip("/"), endpoint.api_version or DEFAULT_API_VERSION
    return f"{base}/{version}/models/{_quote_model(endpoint.model)}:{verb}"


def _quote_model(model: str) -> str:
    return quote(model.removeprefix("models/"), safe="@:/")


def _build_headers(endpoint: Endpoint) -> dict[str, str]:
    return {"x-goog-api-key": endpoint.key.reveal()} if endpoint.key else {}


def _build_config(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if "max_tokens" not in quirks:
        config["maxOutputTokens"] = request.max_tokens
    if request.temperature is not None and "temperature" not in quirks:
        config["temperature"] = request.temperature
    if request.stop and "stop" not in quirks:
        config["stopSequences"] = list(request.stop)
    if request.schema is not None and "schema" not in quirks:
        config["responseMimeType"] = "application/json"
        config["responseJsonSchema"] = request.schema
    elif request.json:
        config["responseMimeType"] = "application/json"
    return config


def _add_own_config(config: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in Google's own words stands in the place of the same as JSON Schema."""
    merged = merge_json(config, own)
    if "responseSchema" in own:
        left_out = "responseJsonSchema" if "responseJsonSchema" in config else "responseSchema"
        merged.pop(left_out)
    return merged


def build_options(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    options = request.options
    named = {
        "topP": options.top_p,
        "topK": options.top_k,
        "seed": options.seed,
        "presencePenalty": options.presence_penalty,
        "frequencyPenalty": options.frequency_penalty,
    }
    written: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if options.logprobs is not None:
        written |= {"responseLogprobs": True, "logprobs": options.logprobs}
    if options.effort is not None:
        found = _GENERATION.search(endpoint.model)
        is_old = found is not None and int(found[1]) < _FIRST_WITH_LEVEL
        level = {"thinkingLevel": _THINKING_LEVELS[options.effort]}
        written["thinkingConfig"] = {"thinkingBudget": _THINKING_BUDGETS[options.effort]} if is_old else level
    return written


def _read_answer_parts(reply: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[Part, ...]:
    """Their ids are made of the reply, where it gives none."""
    seed = as_clean_text(reply.get("responseId")) or dump_arguments(candidate.get("content"))
    return gemini_parts.read_parts(iter_parts(candidate), seed)


def read_block_reason(reply: Mapping[str, Any]) -> str:
    """Why the prompt was blocked, empty when it was not."""
    return as_clean_text(as_mapping(reply.get("promptFeedback")).get("blockReason"))


def read_finish(candidate: Mapping[str, Any]) -> str:
    said = candidate.get("finishReason")
    if isinstance(said, int) and said:
        return _NUMBERED_REASONS.get(said, f"reason {said}")
    return read_reason(said)


def iter_parts(candidate: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return iter_mappings(as_mapping(candidate.get("content")).get("parts"))


def _decode_usage(usage: Mapping[str, Any]) -> Usage:
    prompt, tools, said, thoughts = read_counts(usage, _COUNT_KEYS, ("promptTokenCount",))
    return Usage(
        input_tokens=prompt + tools,
        cached_input_tokens=read_partial_count(usage, "cachedContentTokenCount", prompt + tools),
        output_tokens=said + thoughts,
        reasoning_tokens=thoughts,
        variant=_find_variant(usage),
    )


def _find_variant(usage: Mapping[str, Any]) -> str | None:
    return _PRICE_VARIANTS.get(as_clean_text(usage.get("serviceTier") or usage.get("trafficType")).lower())
