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
_READ: Final = (
    "model",
    "messages",
    "system",
    "max_tokens",
    "temperature",
    "stop_sequences",
    "stream",
    "tools",
    "tool_choice",
    "top_p",
    "top_k",
    "service_tier",
    "output_config",
)


def read_tool(tool: Mapping[str, Any]) -> Tool | Opaque:
    return anthropic_parts.read_tool(tool)


def read_fields(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of an Ask, apart from messages and tools."""
    yield from _read_plain(document)
    if (system := document.get("system")) is not None:
        parts = tuple(part for part in anthropic_parts.read_parts(system) if isinstance(part, Text))
        yield "system", system if isinstance(system, str) else parts
    config = as_mapping(document.get("output_config"))
    format_ = as_mapping(config.get("format"))
    if isinstance(schema := format_.get("schema"), Mapping):
        yield "schema", schema
    effort = config.get("effort")
    yield (
        "options",
        GenerationOptions(
            effort=find_effort(effort),
            top_p=document.get("top_p"),
            top_k=document.get("top_k"),
            service_tier=document.get("service_tier"),
        ),
    )
    choice, parallel = anthropic_parts.read_tool_choice(as_mapping(document.get("tool_choice")))
    yield "tool_choice", choice
    yield "parallel_tools", parallel
    rest = dict(rest_of(document, *_READ))
    if effort is not None and effort != find_effort(effort):
        rest["output_config"] = {"effort": effort}
    yield "marks", mark_with("anthropic", rest)


def split_system(messages: Sequence[Any]) -> tuple[tuple[Text, ...], Sequence[Any]]:
    """There are no system messages before the others: the system prompt is a field."""
    return (), messages


def read_turns(messages: Sequence[Any]) -> Iterator[Message]:
    for message in messages:
        if isinstance(message, Message):
            yield message
            continue
        content = message.get("content")
        marks = mark_with("anthropic", rest_of(message, "role", "content"))
        if not isinstance(content, str):
            content = tuple(sign_part(part, VENDOR) for part in anthropic_parts.read_parts(content))
        yield Message(message["role"], content, marks)


def _read_plain(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if document.get("max_tokens") is not None:
        yield "max_tokens", document["max_tokens"]
    if document.get("temperature") is not None:
        yield "temperature", document["temperature"]
    if document.get("stop_sequences"):
        yield "stop", document["stop_sequences"]
