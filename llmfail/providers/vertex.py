"""Vertex AI: Gemini, and Claude by the name of the model.

The key of an endpoint is an OAuth2 token here (``llmfail.google_auth``). An answer tells by its shape which
of the two wrote it: what Claude sends has a ``type``, what Gemini sends never does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.structs import replace

from llmfail.core.classification.body import Payload
from llmfail.core.errors import MalformedReply, Unsuited
from llmfail.core.model import Call, Completion, Embedding, Endpoint, Request, Usage
from llmfail.providers import anthropic, gemini
from llmfail.providers.decoding import (
    count,
    counted,
    document,
    mapping,
    mappings,
    usage_of,
    vector,
)
from llmfail.providers.encoding import post

if TYPE_CHECKING:
    from llmfail.providers.stream import Fold, Stream

VERSION = "v1"
CLAUDE_VERSION = "vertex-2023-10-16"
_HOSTS = {
    "global": "https://aiplatform.googleapis.com",
    "us": "https://aiplatform.us.rep.googleapis.com",
    "eu": "https://aiplatform.eu.rep.googleapis.com",
}


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    if not _is_claude(endpoint):
        url = _url(endpoint, "google", gemini.method(stream=stream))
        return post(url, _headers(endpoint), gemini.body(request, endpoint))
    url = _url(endpoint, "anthropic", "streamRawPredict" if stream else "rawPredict")
    body = {"anthropic_version": CLAUDE_VERSION, **anthropic.body(request, endpoint, stream=stream)}
    return post(url, _headers(endpoint), body)


def decode(payload: Payload) -> Completion:
    return anthropic.decode(payload) if _of_claude(document(payload)) else gemini.decode(payload)


def encode_embedding(texts: Sequence[str], endpoint: Endpoint) -> Call:
    if _is_claude(endpoint):
        raise Unsuited(f"{endpoint.model}: Claude has no embeddings; use another model for this feature")
    instances = [{"content": one} for one in texts]
    return post(_url(endpoint, "google", "predict"), _headers(endpoint), {"instances": instances})


def decode_embedding(payload: Payload) -> Embedding:
    rows = [mapping(row.get("embeddings")) for row in mappings(document(payload).get("predictions"))]
    if not rows:
        raise MalformedReply("the answer has no embedding")
    statistics = {"rows": [mapping(row.get("statistics")) for row in rows]}
    return Embedding(tuple(vector(row.get("values")) for row in rows), usage_of(statistics, _usage))


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    """Claude is counted at a model of its own name; of Gemini, Vertex takes the body of the call as it is."""
    if _is_claude(endpoint):
        url = _url(replace(endpoint, model="count-tokens"), "anthropic", "rawPredict")
        body = {"anthropic_version": CLAUDE_VERSION, **anthropic.count_body(request, endpoint)}
        return post(url, _headers(endpoint), body)
    return post(_url(endpoint, "google", "countTokens"), _headers(endpoint), gemini.body(request, endpoint))


def decode_count(payload: Payload) -> int:
    return counted(payload, "input_tokens" if "input_tokens" in document(payload) else "totalTokens")


def events() -> Stream:
    from llmfail.providers.stream import Stream

    return Stream(EitherFold(), decode)


class EitherFold:
    """Folds as the first event says."""

    def __init__(self) -> None:
        self._fold: Fold | None = None

    @property
    def ended(self) -> bool:
        return self._fold is not None and self._fold.ended

    @property
    def marked(self) -> bool:
        return self._fold is not None and self._fold.marked

    def add(self, event: dict[str, Any]) -> str | None:
        if self._fold is None:
            self._fold = anthropic.MessageFold() if _of_claude(event) else gemini.CandidateFold()
        return self._fold.add(event)

    def message(self) -> dict[str, Any]:
        return (self._fold or gemini.CandidateFold()).message()


def _usage(statistics: Mapping[str, Any]) -> Usage | None:
    tokens = sum(count(row, "token_count") for row in statistics["rows"])
    return Usage(input_tokens=tokens) if tokens else None


def _is_claude(endpoint: Endpoint) -> bool:
    return endpoint.model.startswith("claude")


def _of_claude(document: dict[str, Any]) -> bool:
    return "type" in document


def _url(endpoint: Endpoint, publisher: str, verb: str) -> str:
    if not endpoint.project:
        raise Unsuited("vertex: no project; set `project` of the provider, or GOOGLE_CLOUD_PROJECT")
    location = endpoint.location or "global"
    host = _HOSTS.get(location, f"https://{location}-aiplatform.googleapis.com")
    base = (endpoint.base_url or host).rstrip("/")
    place = f"projects/{quote(endpoint.project)}/locations/{quote(location)}"
    model = quote(endpoint.model, safe="@:")
    return f"{base}/{endpoint.api_version or VERSION}/{place}/publishers/{publisher}/models/{model}:{verb}"


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.key.reveal()}"} if endpoint.key else {}
