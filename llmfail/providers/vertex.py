"""Vertex AI: Gemini, and Claude by the name of the model.

The key of an endpoint is an OAuth2 token here (``llmfail.google_auth``). An answer tells by its shape which
of the two wrote it: what Claude sends has a ``type``, what Gemini sends never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.structs import replace

from llmfail.core.classification.body import Payload
from llmfail.core.errors import MalformedReply, UnsupportedRequest
from llmfail.core.model import Call, Completion, Embedding, Endpoint, Request, Usage
from llmfail.core.vendors import vertex_host
from llmfail.providers import anthropic, gemini
from llmfail.providers.decoding import (
    as_mapping,
    iter_mappings,
    read_count,
    read_token_count,
    read_usage,
    read_vector,
    require_object,
)
from llmfail.providers.encoding import EmbeddingInputs, begin_post, build_post, require_texts

if TYPE_CHECKING:
    from llmfail.providers.stream import StreamDecoder

DEFAULT_API_VERSION = "v1"
CLAUDE_VERSION = "vertex-2023-10-16"


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    if not _is_claude(endpoint):
        url = _build_url(endpoint, "google", gemini.choose_method(stream=stream))
        return build_post(url, _build_headers(endpoint), gemini.build_body(request, endpoint))
    url = _build_url(endpoint, "anthropic", "streamRawPredict" if stream else "rawPredict")
    body = {"anthropic_version": CLAUDE_VERSION, **anthropic.build_body(request, endpoint, stream=stream)}
    return build_post(url, _build_headers(endpoint), body)


def begin_call(endpoint: Endpoint, *, stream: bool) -> Call:
    if _is_claude(endpoint):
        verb = "streamRawPredict" if stream else "rawPredict"
        return begin_post(_build_url(endpoint, "anthropic", verb), _build_headers(endpoint))
    url = _build_url(endpoint, "google", gemini.choose_method(stream=stream))
    return begin_post(url, _build_headers(endpoint))


def build_options(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    build = anthropic.build_options if _is_claude(endpoint) else gemini.build_options
    return build(request, endpoint)


def decode(payload: Payload) -> Completion:
    is_claude = isinstance(payload, dict) and is_claude_document(payload)
    return anthropic.decode(payload) if is_claude else gemini.decode(payload)


def encode_embedding(inputs: EmbeddingInputs, endpoint: Endpoint, dimensions: int | None = None) -> Call:
    if _is_claude(endpoint):
        raise UnsupportedRequest(
            f"{endpoint.model}: Claude has no embeddings; use another model for this feature"
        )
    texts = require_texts(inputs, endpoint)
    if _embeds_content(endpoint):
        if len(texts) > 1:
            raise UnsupportedRequest(f"{endpoint.model}: Vertex embeds one text of this model in a call")
        size = {} if dimensions is None else {"outputDimensionality": dimensions}
        body = {"content": {"parts": [{"text": texts[0]}]}, **size}
        return build_post(_build_url(endpoint, "google", "embedContent"), _build_headers(endpoint), body)
    sizes = {} if dimensions is None else {"parameters": {"outputDimensionality": dimensions}}
    body = {"instances": [{"content": one} for one in texts], **sizes}
    return build_post(_build_url(endpoint, "google", "predict"), _build_headers(endpoint), body)


def max_texts(endpoint: Endpoint) -> int:
    """As Google's page on text embeddings has it: 250, and one for models with gemini in their names."""
    return 1 if "gemini" in endpoint.model or _embeds_content(endpoint) else 250


def decode_embedding(payload: Payload) -> Embedding:
    if "embedding" in require_object(payload):
        return gemini.decode_embedding(payload)
    rows = [
        as_mapping(row.get("embeddings")) for row in iter_mappings(require_object(payload).get("predictions"))
    ]
    if not rows:
        raise MalformedReply("the answer has no embedding")
    statistics = {"rows": [as_mapping(row.get("statistics")) for row in rows]}
    return Embedding(
        tuple(read_vector(row.get("values")) for row in rows), read_usage(statistics, _decode_usage)
    )


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    """Claude is counted at a model of its own name; of Gemini, Vertex takes the body of the call as it is."""
    if _is_claude(endpoint):
        url = _build_url(replace(endpoint, model="count-tokens"), "anthropic", "rawPredict")
        body = {"anthropic_version": CLAUDE_VERSION, **anthropic.build_count_body(request, endpoint)}
        return build_post(url, _build_headers(endpoint), body)
    return build_post(
        _build_url(endpoint, "google", "countTokens"),
        _build_headers(endpoint),
        gemini.build_body(request, endpoint),
    )


def decode_count(payload: Payload) -> int:
    return read_token_count(
        payload, "input_tokens" if "input_tokens" in require_object(payload) else "totalTokens"
    )


def make_stream_decoder() -> StreamDecoder:
    from llmfail.providers.accumulators.vertex_accumulator import VertexAccumulator
    from llmfail.providers.stream import StreamDecoder

    return StreamDecoder(VertexAccumulator(), decode)


def _decode_usage(statistics: Mapping[str, Any]) -> Usage | None:
    tokens = sum(read_count(row, "token_count") for row in statistics["rows"])
    return Usage(input_tokens=tokens) if tokens else None


def _embeds_content(endpoint: Endpoint) -> bool:
    """Which models have ``embedContent`` and not ``predict``: as Google's own SDK tells them apart."""
    model = endpoint.model
    return ("gemini" in model and model != "gemini-embedding-001") or "maas" in model


def _is_claude(endpoint: Endpoint) -> bool:
    return endpoint.model.startswith("claude")


def is_claude_document(document: dict[str, Any]) -> bool:
    return "type" in document


def _build_url(endpoint: Endpoint, publisher: str, verb: str) -> str:
    if not endpoint.project:
        raise UnsupportedRequest("vertex: no project; set `project` of the provider, or GOOGLE_CLOUD_PROJECT")
    location = endpoint.location or "global"
    base = (endpoint.base_url or f"https://{vertex_host(location)}").rstrip("/")
    place = f"projects/{quote(endpoint.project)}/locations/{quote(location)}"
    model = quote(endpoint.model, safe="@:")
    version = endpoint.api_version or DEFAULT_API_VERSION
    return f"{base}/{version}/{place}/publishers/{publisher}/models/{model}:{verb}"


def _build_headers(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.key.reveal()}"} if endpoint.key else {}
