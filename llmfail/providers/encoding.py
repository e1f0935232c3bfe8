"""What the wire formats share when they write a call: the body as JSON, images in base64."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec.structs import replace

from llmfail.core.conversation import Attachment, Dialect, Marks, Text, ToolResult, merge_json
from llmfail.core.errors import UnsupportedRequest
from llmfail.core.model import Api, Call, Endpoint

EmbeddingInputs = Sequence[str | Sequence[int]]
"""Texts, or lists of the ids of tokens, of which vectors are wanted."""


class HasMarks(Protocol):
    @property
    def marks(self) -> Marks | None: ...


def build_post(url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Call:
    return Call("POST", url, {**headers, "content-type": "application/json"}, encode_json(body))


def encode_json(value: object) -> bytes:
    """The keys stand in the order in which they were written. Halves of surrogate pairs, which UTF-8 has no
    form for, become question marks: a prompt with a broken character is still a prompt.
    """
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8", "replace")


def require_texts(inputs: EmbeddingInputs, endpoint: Endpoint) -> Sequence[str]:
    """Raises UnsupportedRequest."""
    texts = [one for one in inputs if isinstance(one, str)]
    if len(texts) < len(inputs):
        raise UnsupportedRequest(
            f"{endpoint.model}: ids of tokens are understood by OpenAI's models alone; send texts "
            "(LangChain: check_embedding_ctx_length=False)"
        )
    return texts


@lru_cache(maxsize=256)
def host_of_url(url: str) -> str:
    """In lower case; empty where there is none."""
    return urlsplit(url).hostname or ""


def begin_post(url: str, headers: Mapping[str, str]) -> Call:
    """The same without its body."""
    return Call("POST", url, {**headers, "content-type": "application/json"})


MAX_REQUEST_BYTES: Mapping[Api, int] = {
    "anthropic": 32 << 20,
    "openai": 50 << 20,
    "gemini": 100 << 20,
    "vertex": 100 << 20,
}
"""Of a body, as the vendors document it."""


def require_size(call: Call, api: Api) -> None:
    """Raises UnsupportedRequest for what the vendor would refuse after all of it was sent."""
    if len(call.body) > MAX_REQUEST_BYTES[api]:
        size, most = len(call.body) >> 20, MAX_REQUEST_BYTES[api] >> 20
        raise UnsupportedRequest(f"the request has {size} MiB, and {most} MiB are taken there")


def load_object(text: str) -> dict[str, Any]:
    """The object that a text is; an empty one for any other, such as what a model has signed on another wire
    of its vendor.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def encode_base64(attachment: Attachment) -> str:
    return b2a_base64(attachment.data, newline=False).decode("ascii")


def to_data_url(attachment: Attachment) -> str:
    return attachment.url or f"data:{attachment.media_type};base64,{encode_base64(attachment)}"


def marks_for(dialect: Dialect, value: HasMarks) -> Mapping[str, Any]:
    """The fields that only this dialect has."""
    return {} if value.marks is None else value.marks.get(dialect, {})


def load_arguments(text: str) -> Mapping[str, Any]:
    """The arguments of a call as an object. What a model broke off, or wrote as something else, goes along
    as text, because a call without arguments would be another call.
    """
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return {"raw_arguments": text}
    return value if isinstance(value, dict) else {"value": value}


def join_result_text(result: ToolResult) -> str:
    return "\n".join(part.text for part in result.parts if isinstance(part, Text))


def finish_call(call: Call, endpoint: Endpoint) -> Call:
    """The call of a request, with all that the configuration adds to it."""
    if endpoint.body:
        body = merge_json(msgspec.json.decode(call.body), endpoint.body)
        call = replace(call, body=msgspec.json.encode(body))
    return add_configured(call, endpoint)


def add_configured(call: Call, endpoint: Endpoint) -> Call:
    """The call with the configured headers, which replace ours, and the configured query."""
    if endpoint.headers:
        own = {name.lower(): value.reveal() for name, value in endpoint.headers.items()}
        call = replace(call, headers={**call.headers, **own})
    if endpoint.query:
        joint = "&" if "?" in call.url else "?"
        call = replace(call, url=f"{call.url}{joint}{urlencode(endpoint.query)}")
    return call
