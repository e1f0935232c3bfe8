"""A request to Anthropic Messages, as its documentation has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmfail.core.conversation import (
    GenerationOptions,
    Message,
    Opaque,
    Text,
    Tool,
    sign_part,
)
from llmfail.providers.decoding import as_mapping, find_effort, mark_with, rest_of
from llmfail.providers.dialects import anthropic_parts

VENDOR: Final = "anthropic"
"""Whose the signatures of such a request are."""
_OPTION_FIELDS: Final = frozenset({"top_p", "top_k", "service_tier", "output_config"})
_READ: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "temperature",
        "stop_sequences",
        "stream",
        "tools",
        "tool_choice",
        *_OPTION_FIELDS,
    }
)


def read_tool(tool: Mapping[str, Any]) -> Tool | Opaque:
    return anthropic_parts.read_tool(tool)


def read_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Ask that it sets, apart from messages and tools."""
    fields: dict[str, Any] = {}
    if (limit := document.get("max_tokens")) is not None:
        fields["max_tokens"] = limit
    if (temperature := document.get("temperature")) is not None:
        fields["temperature"] = temperature
    if stop := document.get("stop_sequences"):
        fields["stop"] = stop
    if (system := document.get("system")) is not None:
        parts = tuple(part for part in anthropic_parts.read_parts(system) if isinstance(part, Text))
        fields["system"] = system if isinstance(system, str) else parts
    rest = rest_of(document, _READ)
    if not _OPTION_FIELDS.isdisjoint(document):
        fields |= _read_options(document, rest)
    if (choice := document.get("tool_choice")) is not None:
        named, parallel = anthropic_parts.read_tool_choice(as_mapping(choice))
        fields |= {"tool_choice": named, "parallel_tools": parallel}
    if rest:
        fields["marks"] = mark_with("anthropic", rest)
    return fields


def _read_options(document: Mapping[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """The options and the schema. An effort in a word of its own goes along."""
    config = as_mapping(document.get("output_config"))
    word = config.get("effort")
    effort = find_effort(word)
    if word is not None and word != effort:
        rest["output_config"] = {"effort": word}
    options = GenerationOptions(
        effort=effort,
        top_p=document.get("top_p"),
        top_k=document.get("top_k"),
        service_tier=document.get("service_tier"),
    )
    schema = as_mapping(config.get("format")).get("schema")
    return {"schema": schema, "options": options} if isinstance(schema, Mapping) else {"options": options}


def split_system(messages: Sequence[Any]) -> tuple[tuple[Text, ...], Sequence[Any]]:
    """There are no system messages before the others: the system prompt is a field."""
    return (), messages


def read_turns(messages: Sequence[Any]) -> Iterator[Message]:
    for message in messages:
        if isinstance(message, Message):
            yield message
            continue
        content = message.get("content")
        if isinstance(content, str) and len(message) == 2:
            yield Message(message["role"], content)
            continue
        marks = mark_with("anthropic", rest_of(message, ("role", "content")))
        if not isinstance(content, str):
            content = tuple(sign_part(part, VENDOR) for part in anthropic_parts.read_parts(content))
        yield Message(message["role"], content, marks)
