"""OpenAI Chat Completions, and every endpoint that speaks it.

Where those differ, the host decides (``core.vendors``), then what the target refused before. A schema is sent
without ``strict``: strict mode takes only some schemas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmfail.core.classification.body import Payload
from llmfail.core.classification.finish_reason import read_finish_reason
from llmfail.core.errors import MalformedReply, UnsupportedRequest
from llmfail.core.model import Call, Completion, Embedding, Endpoint, FinishReason, Message, Request
from llmfail.core.request.message_text import render_message
from llmfail.core.vendors import Quirk, quirks_at
from llmfail.providers.chat_usage import decode_chat_usage, is_free_when_empty
from llmfail.providers.decoding import (
    SurrogateJoiner,
    as_clean_text,
    as_mapping,
    as_string,
    as_token_count,
    iter_mappings,
    read_content,
    read_reason,
    read_token_count,
    read_vector,
    require_object,
)
from llmfail.providers.encoding import build_post, encode_base64, images_of

if TYPE_CHECKING:
    from llmfail.providers.stream import StreamDecoder

_OUTPUT_LIMIT_KEYS = ("max_tokens", "max_completion_tokens")


def encode(request: Request, endpoint: Endpoint, *, stream: bool = False) -> Call:
    quirks, dropped = quirks_at(_host_of(endpoint)), endpoint.dropped_parameters
    body: dict[str, Any] = {"model": endpoint.model, "messages": _encode_messages(request)}
    takes_new_key = (Quirk.NEW_LIMIT_KEY in quirks) != ("max_tokens" in dropped)
    body[_OUTPUT_LIMIT_KEYS[takes_new_key]] = request.max_tokens
    if request.temperature is not None and "temperature" not in dropped:
        body["temperature"] = request.temperature
    if request.stop and "stop" not in dropped:
        body["stop"] = list(request.stop)
    if request.schema is not None and "schema" not in dropped:
        format_ = {"name": "answer", "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": format_}
    body["stream"] = stream
    if stream and Quirk.NO_STREAM_OPTIONS not in quirks and "stream_options" not in dropped:
        body["stream_options"] = {"include_usage": True}
    return build_post(f"{endpoint.base_url.rstrip('/')}/chat/completions", _build_headers(endpoint), body)


def decode(payload: Payload) -> Completion:
    reply = require_object(payload)
    choice = next(iter_mappings(reply.get("choices")), None)
    if choice is None:
        raise MalformedReply("the answer has no choices")
    message = choice.get("message") or choice.get("delta")
    if not isinstance(message, dict):
        raise MalformedReply("the answer has no message")
    refusal = as_clean_text(message.get("refusal"))
    said = read_reason(choice.get("finish_reason"))
    usage = decode_chat_usage(reply)
    finish: FinishReason = "refusal" if refusal else read_finish_reason(said)
    return Completion(
        text=as_clean_text(read_content(message.get("content"))),
        finish_reason=finish,
        usage=usage,
        model=as_clean_text(reply.get("model")) or None,
        detail=refusal or (said if finish == "other" else ""),
        billed=bool(said) or not is_free_when_empty(reply, usage),
    )


def encode_embedding(texts: Sequence[str], endpoint: Endpoint) -> Call:
    body = {"model": endpoint.model, "input": list(texts), "encoding_format": "float"}
    return build_post(f"{endpoint.base_url.rstrip('/')}/embeddings", _build_headers(endpoint), body)


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
    host = _host_of(endpoint)
    if host != "127.0.0.1" and Quirk.COUNTS_TOKENS not in quirks_at(host):
        raise UnsupportedRequest(f"{endpoint.model}: this provider does not count tokens; leave out --exact")
    body: dict[str, Any] = {
        "model": endpoint.model,
        "input": [_encode_item(message) for message in request.messages],
    }
    if request.system:
        body["instructions"] = request.system
    if request.schema is not None and "schema" not in endpoint.dropped_parameters:
        body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": request.schema}}
    return build_post(
        f"{endpoint.base_url.rstrip('/')}/responses/input_tokens", _build_headers(endpoint), body
    )


def decode_count(payload: Payload) -> int:
    return read_token_count(payload, "input_tokens")


def make_stream_decoder() -> StreamDecoder:
    from llmfail.providers.stream import StreamDecoder

    return StreamDecoder(ChunkAccumulator(), decode)


_OUTPUT_KEYS = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")
"""Where a model says something; all but the text of the first is not for the reader."""


class ChunkAccumulator:
    """The chunks of one answer. The usage may come with the last text, after it, or never; the last wins."""

    def __init__(self) -> None:
        self.is_complete = self.has_end_mark = False
        self.may_end_unnamed = True
        self._text = SurrogateJoiner()
        self._refusal: list[str] = []
        self._finish = ""
        self._model = self._tier = ""
        self._index: int | None = None
        self._usage: Mapping[str, Any] = {}

    def add(self, event: dict[str, Any]) -> str | None:
        self._model = as_clean_text(event.get("model")) or self._model
        self._tier = as_clean_text(event.get("service_tier")) or self._tier
        self._usage = (
            as_mapping(event.get("usage"))
            or as_mapping(as_mapping(event.get("x_groq")).get("usage"))
            or self._usage
        )
        choice: Mapping[str, Any] = next(filter(self._is_our_choice, iter_mappings(event.get("choices"))), {})
        delta = as_mapping(choice.get("delta")) or as_mapping(choice.get("message"))
        self._finish = read_reason(choice.get("finish_reason")) or self._finish
        self.is_complete = bool(self._finish)
        if refusal := as_clean_text(delta.get("refusal")):
            self._refusal.append(refusal)
        said = self._text.add(read_content(delta.get("content")))
        return said if said or any(delta.get(name) for name in _OUTPUT_KEYS) else None

    def is_foreign(self, event: dict[str, Any]) -> bool:
        """Chunks have choices or a usage; the first may have neither, but it is named a chunk."""
        is_chunk = "choices" in event or "usage" in event or "x_groq" in event
        return not is_chunk and not as_string(event.get("object")).startswith("chat.completion")

    def _is_our_choice(self, choice: Mapping[str, Any]) -> bool:
        """One answer is asked for; of several, which a server numbers, the one that began first is read."""
        index = number if isinstance(number := choice.get("index"), int) else None
        self._index = index if self._index is None else self._index
        return index in {None, self._index}

    def build_reply(self) -> dict[str, Any]:
        message = {"content": str(self._text), "refusal": "".join(self._refusal)}
        choice = {"message": message, "finish_reason": self._finish}
        return {
            "choices": [choice],
            "model": self._model,
            "service_tier": self._tier,
            "usage": self._usage,
        }


def _host_of(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.base_url).hostname or ""


def _build_headers(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.key.reveal()}"} if endpoint.key else {}


def _encode_messages(request: Request) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, *map(_encode_message, request.messages)]


def _encode_message(message: Message) -> dict[str, Any]:
    said = render_message(message)
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{encode_base64(image)}"}}
        for image in images_of(message)
    ]
    if not parts:
        return {"role": message.role, "content": said}
    return {"role": message.role, "content": [*parts, *([{"type": "text", "text": said}] if said else [])]}


def _encode_item(message: Message) -> dict[str, Any]:
    """A message as the Responses API has it."""
    said = render_message(message)
    parts = [
        {"type": "input_image", "image_url": f"data:{image.media_type};base64,{encode_base64(image)}"}
        for image in images_of(message)
    ]
    if not parts:
        return {"role": message.role, "content": said}
    return {
        "role": message.role,
        "content": [*parts, *([{"type": "input_text", "text": said}] if said else [])],
    }
