"""Google Gemini, ``generateContent``.

Output is what the candidates say plus what the model thought; input includes cached tokens, and the results
of tools are counted apart. A blocked prompt has no candidates at all, and a candidate may have no parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llmfail.core.classification.body import Payload
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Call, Completion, Embedding, Endpoint, FinishReason, Message, Request, Usage
from llmfail.core.request.message_text import prose
from llmfail.providers.decoding import (
    Words,
    counted,
    counts,
    document,
    mapping,
    mappings,
    part,
    string,
    text,
    usage_of,
    vector,
)
from llmfail.providers.encoding import base64, images, post

if TYPE_CHECKING:
    from llmfail.providers.stream import Stream

VERSION = "v1beta"
_COUNTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
_VARIANTS = {
    "flex": "flex",
    "priority": "priority",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}
"""By ``serviceTier`` of the Gemini API and ``trafficType`` of Vertex."""
_FINISHES: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
_KEPT = ("usageMetadata", "modelVersion", "promptFeedback")
_BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "ESCALATION",
    }
)


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    return post(_url(endpoint, method(stream=stream)), _headers(endpoint), body(request, endpoint))


def method(*, stream: bool) -> str:
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def body(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if request.system:
        written["systemInstruction"] = {"parts": [{"text": request.system}]}
    written["contents"] = [_content(message) for message in request.messages]
    config = _config(request, endpoint.quirks)
    return {**written, "generationConfig": config} if config else written


def decode(payload: Payload) -> Completion:
    reply = document(payload)
    candidate = next(mappings(reply.get("candidates")), None)
    blocked = _blocked(reply)
    if candidate is None and not blocked:
        raise MalformedReply("the answer has no candidates")
    usage, model = usage_of(reply.get("usageMetadata"), _usage), text(reply.get("modelVersion")) or None
    if candidate is None:
        return Completion("", "content_filter", usage, model, detail=f"the prompt was blocked: {blocked}")
    reason = text(candidate.get("finishReason"))
    finish = _finish(reason)
    detail = "" if finish in {"stop", "length"} else reason
    return Completion(text(_said(candidate)), finish, usage, model, detail)


def encode_embedding(texts: Sequence[str], endpoint: Endpoint) -> Call:
    model = f"models/{_name(endpoint.model)}"
    requests = [{"model": model, "content": {"parts": [{"text": one}]}} for one in texts]
    return post(_url(endpoint, "batchEmbedContents"), _headers(endpoint), {"requests": requests})


def decode_embedding(payload: Payload) -> Embedding:
    reply = document(payload)
    rows = list(mappings(reply.get("embeddings"))) or [mapping(reply.get("embedding"))]
    vectors = tuple(vector(row.get("values")) for row in rows)
    return Embedding(vectors, usage_of(reply.get("usageMetadata"), _usage))


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    """The whole request, inside another: only so are system instruction and schema counted."""
    inner = {"model": f"models/{_name(endpoint.model)}", **body(request, endpoint)}
    return post(_url(endpoint, "countTokens"), _headers(endpoint), {"generateContentRequest": inner})


def decode_count(payload: Payload) -> int:
    return counted(payload, "totalTokens")


def events() -> Stream:
    from llmfail.providers.stream import Stream

    return Stream(CandidateFold(), decode)


class CandidateFold:
    """The chunks of one answer. Each may carry the usage, the last one wins; the one with a finish reason, or
    the news that the prompt is blocked, is the end mark.
    """

    def __init__(self) -> None:
        self.ended = self.marked = False
        self._text = Words()
        self._finish = ""
        self._rest: dict[str, Any] = {}
        self._blocked = False

    def add(self, event: dict[str, Any]) -> str | None:
        self._rest |= {name: event[name] for name in _KEPT if event.get(name)}
        candidate = next(mappings(event.get("candidates")), None)
        if candidate is None:
            self._blocked = not str(self._text) and bool(_blocked(event))
            self.ended = self.ended or self._blocked
            return None
        self._finish = text(candidate.get("finishReason")) or self._finish
        self.ended = bool(self._finish)
        said = self._text.add(_said(candidate))
        return said if said or _thinks(candidate) else None

    def message(self) -> dict[str, Any]:
        if self._blocked:
            return self._rest
        parts = [{"text": str(self._text)}]
        return {"candidates": [{"content": {"parts": parts}, "finishReason": self._finish}], **self._rest}


def _url(endpoint: Endpoint, verb: str) -> str:
    base, version = endpoint.base_url.rstrip("/"), endpoint.api_version or VERSION
    return f"{base}/{version}/models/{_name(endpoint.model)}:{verb}"


def _name(model: str) -> str:
    return quote(model.removeprefix("models/"), safe="@:/")


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"x-goog-api-key": endpoint.key.reveal()} if endpoint.key else {}


def _content(message: Message) -> dict[str, Any]:
    said = prose(message)
    parts: list[dict[str, Any]] = [
        {"inlineData": {"mimeType": image.media_type, "data": base64(image)}} for image in images(message)
    ]
    if said or not parts:
        parts.append({"text": said})
    return {"role": "model" if message.role == "assistant" else "user", "parts": parts}


def _config(request: Request, quirks: frozenset[str]) -> dict[str, Any]:
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
    return config


def _blocked(reply: Mapping[str, Any]) -> str:
    """Why the prompt was blocked, empty when it was not."""
    return text(mapping(reply.get("promptFeedback")).get("blockReason"))


def _finish(reason: str) -> FinishReason:
    if reason in _BLOCKED or reason.startswith("IMAGE_"):
        return "content_filter"
    return _FINISHES.get(reason, "other")


def _said(candidate: Mapping[str, Any]) -> str:
    return "".join(string(part.get("text")) for part in _parts(candidate) if part.get("thought") is not True)


def _thinks(candidate: Mapping[str, Any]) -> bool:
    return any(part.get("text") or "functionCall" in part for part in _parts(candidate))


def _parts(candidate: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return mappings(mapping(candidate.get("content")).get("parts"))


def _usage(usage: Mapping[str, Any]) -> Usage:
    prompt, tools, said, thoughts = counts(usage, _COUNTS, ("promptTokenCount",))
    return Usage(
        input_tokens=prompt + tools,
        cached_input_tokens=part(usage, "cachedContentTokenCount", prompt + tools),
        output_tokens=said + thoughts,
        reasoning_tokens=thoughts,
        variant=_variant(usage),
    )


def _variant(usage: Mapping[str, Any]) -> str | None:
    return _VARIANTS.get(text(usage.get("serviceTier") or usage.get("trafficType")).lower())
