"""The conversation of a body that is passed on as a program wrote it, without what only we can read in it.

Where an answer of another vendor stands in the conversation, its signatures are taken out, or put back if it
is the vendor that is asked. All else stays as it is, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from llmfail.core.conversation import Dialect
from llmfail.core.model import Endpoint
from llmfail.providers.decoding import as_mapping, iter_mappings
from llmfail.providers.dialects import gemini_parts
from llmfail.providers.dialects.carried_signature import (
    PREFIX,
    PREFIX_IN_BASE64,
    CarriedSignature,
    from_base64,
    is_carried,
    read_carried,
    take_from_id,
)
from llmfail.providers.encoding import encode_json

_TURNS: Final[Mapping[Dialect, str]] = {
    "chat": "messages",
    "responses": "input",
    "anthropic": "messages",
    "gemini": "contents",
}
_MARK, _MARK_IN_BASE64 = PREFIX.encode("ascii"), PREFIX_IN_BASE64.encode("ascii")
decode_fields: Final[Callable[[bytes], dict[str, Raw]]] = msgspec.json.Decoder(dict[str, Raw]).decode
"""An object whose values stay the bytes that they are."""


def clear_carried(dialect: Dialect, fields: Mapping[str, Raw], endpoint: Endpoint) -> Mapping[str, Raw]:
    """The fields of a body for an endpoint of this dialect; the same where there is nothing of ours."""
    name = _TURNS[dialect]
    written = bytes(fields.get(name, b""))
    mark = _MARK_IN_BASE64 if dialect == "gemini" else _MARK
    turns = msgspec.json.decode(written) if mark in written else None
    if not isinstance(turns, list):
        return fields
    clear = _CLEARERS[dialect]
    kept = [one for turn in turns for one in clear(turn, endpoint)]
    return {**fields, name: Raw(encode_json(kept))}


def _clear_chat(message: object, endpoint: Endpoint) -> Iterator[object]:
    if not isinstance(message, dict):
        yield message
        return
    details = [one.get("data") for one in iter_mappings(message.get("reasoning_details"))]
    if any(map(is_carried, details)):
        thoughts = ("reasoning_details", "reasoning_content")
        message = {key: value for key, value in message.items() if key not in thoughts}
        for carried in filter(None, map(read_carried, details)):
            message |= _restore(carried, endpoint)
    if isinstance(message.get("tool_call_id"), str):
        message = {**message, "tool_call_id": take_from_id(message["tool_call_id"])[0]}
    if isinstance(message.get("tool_calls"), list):
        message = {**message, "tool_calls": [_clear_call(call, endpoint) for call in message["tool_calls"]]}
    yield message


def _clear_call(call: object, endpoint: Endpoint) -> object:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str):
        return call
    own_id, signature = take_from_id(call["id"])
    if signature is None or signature.vendor != endpoint.vendor:
        return {**call, "id": own_id}
    return {**call, "id": own_id, "extra_content": {"google": {"thought_signature": signature.text}}}


def _clear_responses(item: object, endpoint: Endpoint) -> Iterator[object]:
    if not isinstance(item, dict):
        yield item
    elif is_carried(encrypted := item.get("encrypted_content")):
        carried = read_carried(encrypted)
        if carried is not None and (own := _restore(carried, endpoint)):
            yield own
    elif isinstance(item.get("call_id"), str):
        yield {**item, "call_id": take_from_id(item["call_id"])[0]}
    else:
        yield item


def _clear_anthropic(message: object, endpoint: Endpoint) -> Iterator[object]:
    """A turn in which nothing is left is none."""
    content = as_mapping(message).get("content")
    if not isinstance(content, list):
        yield message
        return
    kept = [one for block in content for one in _clear_block(block, endpoint)]
    if kept or not content:
        yield {**as_mapping(message), "content": kept}


def _clear_block(block: object, endpoint: Endpoint) -> Iterator[object]:
    said = as_mapping(block)
    signature = said.get("data") if said.get("type") == "redacted_thinking" else said.get("signature")
    if not is_carried(signature):
        yield block
        return
    carried = read_carried(signature)
    if said.get("type") == "thinking" and carried is not None and carried.vendor == endpoint.vendor:
        yield {**said, "signature": carried.text}


def _clear_gemini(content: object, endpoint: Endpoint) -> Iterator[object]:
    said = as_mapping(content)
    parts = said.get("parts")
    if not isinstance(parts, list):
        yield content
        return
    first = next((index for index, part in enumerate(parts) if "functionCall" in as_mapping(part)), None)
    signed = first if gemini_parts.needs_signature(endpoint.model) else None
    kept = [
        one
        for index, part in enumerate(parts)
        for one in _clear_part(part, endpoint, needs_signature=index == signed)
    ]
    if kept or not parts:
        yield {**said, "parts": kept}


def _clear_part(part: object, endpoint: Endpoint, *, needs_signature: bool) -> Iterator[object]:
    said = as_mapping(part)
    signature = said.get("thoughtSignature")
    if not isinstance(signature, str) or not is_carried(text := from_base64(signature)):
        yield part
        return
    carried = read_carried(text)
    if carried is not None and carried.vendor == endpoint.vendor:
        yield {**said, "thoughtSignature": carried.text}
        return
    if said.get("thought") is True:
        return
    left = {key: value for key, value in said.items() if key != "thoughtSignature"}
    yield {**left, "thoughtSignature": gemini_parts.NO_SIGNATURE} if needs_signature else left


def _restore(carried: CarriedSignature, endpoint: Endpoint) -> dict[str, Any]:
    """What the vendor itself wrote, where the signature is all of it; nothing for any other vendor."""
    if carried.vendor != endpoint.vendor:
        return {}
    try:
        return dict(as_mapping(msgspec.json.decode(carried.text)))
    except (ValueError, RecursionError):
        return {}


_CLEARERS: Final[Mapping[Dialect, Callable[[object, Endpoint], Iterator[object]]]] = {
    "chat": _clear_chat,
    "responses": _clear_responses,
    "anthropic": _clear_anthropic,
    "gemini": _clear_gemini,
}
