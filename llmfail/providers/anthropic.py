"""Anthropic Messages.

``max_tokens`` is required there, so it is never left out. The whole input is what ``usage`` calls input plus
what was read from and written to the cache. A refusal before any output shows up in the usage, but is not
billed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from llmfail.core.classification.body import Payload
from llmfail.core.errors import MalformedReply, Unsuited
from llmfail.core.model import Call, Completion, Embedding, Endpoint, FinishReason, Message, Request, Usage
from llmfail.core.request.message_text import prose
from llmfail.core.tokens.claude_version import version_of
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
)
from llmfail.providers.encoding import base64, images, post

if TYPE_CHECKING:
    from llmfail.providers.stream import Stream

VERSION = "2023-06-01"
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_NOT_SENT_TO_COUNT = ("max_tokens", "temperature", "stop_sequences")
_VARIANTS = frozenset({"batch", "priority", "fast"})
_IN_THE_US = 10
"""Per cent on top of the price, for a call that was held to the United States."""
_FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    document = {"model": endpoint.model, **body(request, endpoint, stream=stream)}
    return post(_url(endpoint), _headers(endpoint), document)


def body(request: Request, endpoint: Endpoint, *, stream: bool) -> dict[str, Any]:
    """The body without its model, which Vertex has in the URL."""
    quirks = endpoint.quirks
    written: dict[str, Any] = {"max_tokens": request.max_tokens}
    if request.system:
        written["system"] = request.system
    written["messages"] = [_message(message) for message in request.messages]
    if request.temperature is not None and "temperature" not in quirks:
        written["temperature"] = request.temperature
    if request.stop and "stop" not in quirks:
        written["stop_sequences"] = list(request.stop)
    if request.schema is not None and "schema" not in quirks:
        written["output_config"] = {"format": {"type": "json_schema", "schema": request.schema}}
    if stream:
        written["stream"] = True
    return written


def decode(payload: Payload) -> Completion:
    message = document(payload)
    content = message.get("content")
    if not isinstance(content, list):
        raise MalformedReply("the answer has no content")
    finish = _FINISHES.get(text(message.get("stop_reason")), "other")
    model = text(message.get("model"))
    return Completion(
        text="".join(text(block.get("text")) for block in mappings(content) if block.get("type") == "text"),
        finish_reason=finish,
        usage=usage_of(message.get("usage"), partial(_usage, model)),
        model=model or None,
        detail=_detail(message, finish),
        billed=finish != "refusal" or bool(content),
    )


def encode_embedding(texts: Sequence[str], endpoint: Endpoint) -> Call:  # noqa: ARG001 - the port's signature
    raise Unsuited(f"{endpoint.model}: Anthropic has no embeddings; use another provider for this feature")


def decode_embedding(payload: Payload) -> Embedding:  # noqa: ARG001 - the port's signature
    raise MalformedReply("Anthropic has no embeddings")


def encode_count(request: Request, endpoint: Endpoint) -> Call:
    return post(f"{_url(endpoint)}/count_tokens", _headers(endpoint), count_body(request, endpoint))


def count_body(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """What the count depends on, and no more: the endpoint refuses the rest."""
    whole = body(request, endpoint, stream=False)
    kept = {name: value for name, value in whole.items() if name not in _NOT_SENT_TO_COUNT}
    return {"model": endpoint.model, **kept}


def decode_count(payload: Payload) -> int:
    return counted(payload, "input_tokens")


def events() -> Stream:
    from llmfail.providers.stream import Stream

    return Stream(MessageFold(), decode)


class MessageFold:
    """The named events of one message; in its usage the last number that is not null wins."""

    def __init__(self) -> None:
        self.ended = self.marked = False
        self._text = Words()
        self._output = False
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}

    def add(self, event: dict[str, Any]) -> str | None:
        match event.get("type"):
            case "message_start":
                start = mapping(event.get("message"))
                self._head |= {"model": start.get("model")}
                self._count(start)
            case "content_block_start":
                self._output = True
                return self._say(mapping(event.get("content_block"))) or None
            case "content_block_delta":
                delta = mapping(event.get("delta"))
                return self._say(delta) if _says(delta) else None
            case "message_delta":
                self._head |= {k: v for k, v in mapping(event.get("delta")).items() if v is not None}
                self._count(event)
            case "message_stop":
                self.ended = self.marked = True
        return None

    def message(self) -> dict[str, Any]:
        blocks = [{"type": "text", "text": str(self._text)}] if self._output else []
        return {"type": "message", **self._head, "content": blocks, "usage": self._usage}

    def _say(self, block: Mapping[str, Any]) -> str:
        if block.get("type") not in {"text", "text_delta"}:
            return ""
        self._output = True
        return self._text.add(string(block.get("text")))

    def _count(self, event: Mapping[str, Any]) -> None:
        self._usage |= {k: v for k, v in mapping(event.get("usage")).items() if v is not None}


def _says(delta: Mapping[str, Any]) -> bool:
    """Whether there is anything in it: text, a thought, a part of a tool's call."""
    return any(value for name, value in delta.items() if name != "type")


def _url(endpoint: Endpoint) -> str:
    return f"{endpoint.base_url.rstrip('/')}/v1/messages"


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"anthropic-version": endpoint.api_version or VERSION}
    return {**headers, "x-api-key": endpoint.key.reveal()} if endpoint.key else headers


def _message(message: Message) -> dict[str, Any]:
    said = prose(message)
    blocks: list[dict[str, Any]] = [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": image.media_type, "data": base64(image)},
        }
        for image in images(message)
    ]
    if not blocks:
        return {"role": message.role, "content": said}
    return {"role": message.role, "content": [*blocks, *([{"type": "text", "text": said}] if said else [])]}


def _usage(model: str, usage: Mapping[str, Any]) -> Usage:
    plain, read, written, output = counts(usage, _COUNTS, ("input_tokens", "output_tokens"))
    return Usage(
        input_tokens=plain + read + written,
        cached_input_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=part(
            mapping(usage.get("cache_creation")), "ephemeral_1h_input_tokens", written
        ),
        output_tokens=output,
        reasoning_tokens=part(mapping(usage.get("output_tokens_details")), "thinking_tokens", output),
        variant=_variant(usage),
        surcharge=_surcharge(model, text(usage.get("inference_geo"))),
    )


def _variant(usage: Mapping[str, Any]) -> str | None:
    said = (text(usage.get("speed")), text(usage.get("service_tier")))
    return next((variant for variant in said if variant in _VARIANTS), None)


def _surcharge(model: str, place: str) -> int:
    """Models before 4.6 cost the same everywhere."""
    return _IN_THE_US if place == "us" and (version_of(model) or (0, 0)) >= (4, 6) else 0


def _detail(message: Mapping[str, Any], finish: FinishReason) -> str:
    """Why it refused, or its own word for an end that is not one of ours."""
    if finish == "refusal":
        why = mapping(message.get("stop_details"))
        return ": ".join(filter(None, (text(why.get("category")), text(why.get("explanation")))))
    return text(message.get("stop_reason")) if finish == "other" else ""
