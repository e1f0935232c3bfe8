"""A request as a program wrote it for one vendor's API, read into the form that all wires share.

Anthropic Messages and Chat Completions are told apart by what stands in them; bare lists of messages too. A
request to Gemini has ``contents``, one to Responses ``input``.
Nothing is lost on the way back to the same API: what has no name here goes along as marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from llmfail.core.conversation import Dialect, Message, Opaque, Tool
from llmfail.core.errors import UsageError
from llmfail.core.request.ask import RequestDocument
from llmfail.providers.decoding import type_of
from llmfail.providers.dialects import anthropic_request, chat_request, gemini_request, responses_request

_OWN_TYPES: Final = frozenset({"attachment", "tool_call", "thought", "opaque"})
_ANTHROPIC_TYPES: Final = frozenset(
    {"image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use"}
)
_ANTHROPIC_FIELDS: Final = frozenset({"system", "stop_sequences", "thinking", "output_config", "top_k"})
ROLES: Final = ("user", "assistant", "system", "developer", "tool", "function")


def read_request(document: object, dialect: Dialect | None = None) -> RequestDocument:
    """A list of messages, or an object with ``messages``, ``input`` or ``contents``. In which dialect it is
    written shows in it where nobody says. Raises UsageError, which names the message by its place, counted
    from 1.
    """
    if isinstance(document, (dict, Mapping)):
        for reader in (gemini_request, responses_request):
            if dialect == reader.DIALECT or (dialect is None and reader.shows_in(document)):
                return RequestDocument(reader.read_messages(document), reader.read_fields(document))
        messages = document.get("messages")
        if not isinstance(messages, (list, Sequence)) or isinstance(messages, str):
            raise UsageError("a request is a list of messages, or an object with a list called messages")
        return _read_messages(messages, document, dialect)
    if isinstance(document, str | bytes) or not isinstance(document, Iterable):
        kind = type(document).__name__
        raise UsageError(f"a prompt is a text or a list of messages, got {kind}")
    turns = list(document)
    if dialect is None and any(map(responses_request.is_item, turns)):
        return read_request({"input": turns}, "responses")
    return _read_messages(turns, {}, dialect)


def read_tools(tools: object) -> tuple[Tool | Opaque, ...]:
    """Tools as either API has them, or as Tools. Raises UsageError."""
    if isinstance(tools, str | Mapping) or not isinstance(tools, Iterable):
        raise UsageError("tools are a list of functions, as Chat Completions or Anthropic have them")
    return tuple(_read_tool(number, tool) for number, tool in enumerate(tools, 1))


def _read_tool(number: int, tool: object) -> Tool | Opaque:
    if isinstance(tool, Tool | Opaque):
        return tool
    if not isinstance(tool, Mapping):
        raise UsageError(f"tool {number} is an object, got {type(tool).__name__}")
    is_chat = tool.get("type") == "function" or "function" in tool
    found = chat_request.read_tool(tool) if is_chat else anthropic_request.read_tool(tool)
    if isinstance(found, Tool) and not found.name:
        raise UsageError(f"tool {number} has no name")
    return found


def _read_messages(
    messages: Sequence[object], document: Mapping[str, Any], dialect: Dialect | None
) -> RequestDocument:
    for number, message in enumerate(messages, 1):
        if not _is_ordinary(message):
            _require_message(number, message)
    if dialect is None:
        plain = [one for one in messages if isinstance(one, Mapping)]
        is_anthropic = bool(document.keys() & _ANTHROPIC_FIELDS) or any(map(_is_anthropic, plain))
        dialect = "anthropic" if is_anthropic else "chat"
        messages = [_read_own(one) or one for one in messages]
    reader = anthropic_request if dialect == "anthropic" else chat_request
    fields = reader.read_fields(document)
    if document.get("tools"):
        fields["tools"] = read_tools(document["tools"])
    system, turns = reader.split_system(messages)
    if system:
        fields.setdefault("system", system)
    return RequestDocument(tuple(reader.read_turns(turns)), fields)


def _require_message(number: int, message: object) -> None:
    if isinstance(message, Message):
        return
    if not isinstance(message, dict | Mapping):  # of a dict it is quickly told
        kind = type(message).__name__
        raise UsageError(f"message {number} is a Message, or a mapping with role and content, got {kind}")
    if message.get("role") not in ROLES:
        known = ", ".join(ROLES[:5])
        raise UsageError(f"message {number}: its role is one of {known}, got {message.get('role')!r}")
    content = message.get("content")
    if content is None and message["role"] == "assistant":
        return
    parts = [content] if isinstance(content, str) else content
    if not isinstance(parts, list | tuple) or not all(
        isinstance(part, str | dict | Mapping) for part in parts
    ):
        raise UsageError(f"message {number}: its content is a text or a list of parts")


def _is_ordinary(message: object) -> bool:
    """As most are, which is quickly told."""
    return type(message) is dict and message.get("role") in ROLES and type(message.get("content")) is str


def _is_anthropic(message: Mapping[str, Any]) -> bool:
    return any(type_of(part) in _ANTHROPIC_TYPES for part in _iter_content(message))


def _iter_content(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    yield from (part for part in content if isinstance(part, Mapping)) if isinstance(content, list) else ()


def _read_own(message: object) -> Message | None:
    """A message of ours as JSON, as receipts have it; None for any other."""
    if isinstance(message, Message):
        return message
    assert isinstance(message, Mapping), "it was looked at before"
    if not any(type_of(part) in _OWN_TYPES or "call_id" in part for part in _iter_content(message)):
        return None
    try:
        return msgspec.convert(dict(message), Message)
    except msgspec.ValidationError as error:
        raise UsageError(f"a message is none: {error}") from None
