"""A request to OpenAI Responses, as its documentation has it.

What one side says is several items there; here it is one turn. Tools within a namespace have one name
that begins with it, and stand in it again on the way back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, Literal

from llmfail.core.conversation import (
    GenerationOptions,
    Message,
    Opaque,
    Part,
    Role,
    Text,
    Tool,
    ToolChoice,
    sign_part,
)
from llmfail.core.errors import UsageError
from llmfail.providers.decoding import (
    as_clean_text,
    as_mapping,
    find_effort,
    iter_mappings,
    mark_with,
    rest_of,
    type_of,
)
from llmfail.providers.dialects import responses_parts

DIALECT: Final = "responses"
VENDOR: Final = "openai"
"""Whose the signatures of such a request are."""
_READ: Final = (
    *("model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "top_logprobs"),
    *("tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "service_tier", "stream"),
    *("store", "include"),
)
_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_ITEM_TYPES: Final = ("message", "reasoning", "function_call", "function_call_output")
_PART_TYPES: Final = ("input_text", "output_text", "input_image", "input_file")
_LOGPROBS: Final = "message.output_text.logprobs"
_KNOWN_INCLUDES: Final = ("reasoning.encrypted_content", _LOGPROBS)
"""What is asked for by itself, or with an option."""


def shows_in(document: Mapping[str, Any]) -> bool:
    return "input" in document


def is_item(turn: object) -> bool:
    """Whether a turn is written as only Responses has it."""
    if not isinstance(turn, Mapping):
        return False
    parts = turn.get("content")
    kinds = map(type_of, iter_mappings(parts))
    return type_of(turn) in _ITEM_TYPES or any(kind in _PART_TYPES for kind in kinds)


def read_messages(document: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns. Raises UsageError, which names the item by its place, counted from 1."""
    _, items = _split_system(_read_items(document))
    return tuple(_iter_turns(items))


def _iter_turns(items: Iterable[Mapping[str, Any]]) -> Iterator[Message]:
    """What a model says in items that follow each other is one turn, and so are results."""
    for side, group in groupby(items, key=_side_of):
        if side == "said":
            yield from map(_read_said, group)
        elif side == "results":
            yield Message("user", tuple(map(_read_result, group)))
        else:
            yield Message("assistant", _read_answer(group))


def read_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Ask, apart from messages."""
    first, _ = _split_system(_read_items(document))
    rest = rest_of(document, _READ)
    text = as_mapping(document.get("text"))
    fields = {
        "system": _read_system(document.get("instructions"), first),
        "max_tokens": document.get("max_output_tokens"),
        "temperature": document.get("temperature"),
        "tools": tuple(read_tools(iter_mappings(document.get("tools")))) or None,
        "tool_choice": _read_choice(document.get("tool_choice"), rest),
        "parallel_tools": document.get("parallel_tool_calls"),
        "options": _read_options(document, rest),
        **_read_format(as_mapping(text.get("format"))),
    }
    if other := rest_of(text, ("format", "verbosity")):
        rest["text"] = other
    if document.get("store") is True:
        rest["store"] = True
    include = document.get("include")
    if isinstance(include, list) and any(one not in _KNOWN_INCLUDES for one in include):
        rest["include"] = include
    fields["marks"] = mark_with("responses", rest)
    return {name: value for name, value in fields.items() if value is not None}


def read_tools(tools: Iterable[Mapping[str, Any]]) -> Iterator[Tool | Opaque]:
    """Functions, those of namespaces, and whatever else only OpenAI can say."""
    for tool in tools:
        inner = tool.get("tools")
        if tool.get("type") == "namespace" and isinstance(inner, list):
            own = rest_of(tool, ("type", "tools"))
            yield from (read_tool(one, namespace=own) for one in iter_mappings(inner))
        else:
            yield read_tool(tool)


def read_tool(tool: Mapping[str, Any], *, namespace: Mapping[str, Any] | None = None) -> Tool | Opaque:
    """A function; in ``namespace`` are the fields of the one that it stands in."""
    parameters = tool.get("parameters")
    if tool.get("type", "function") != "function" or not (parameters is None or isinstance(parameters, dict)):
        return Opaque("responses", tool if namespace is None else {"namespace": namespace, **tool})
    marks = rest_of(tool, ("type", "name", "description", "parameters", "strict"))
    name = as_clean_text(tool.get("name"))
    if namespace is not None:
        marks["namespace"] = namespace
    if tool.get("strict") is None:
        marks["strict"] = None
    return Tool(
        name=responses_parts.flatten_name(as_mapping(namespace).get("name"), name),
        description=as_clean_text(tool.get("description")) or None,
        parameters=parameters,
        strict=tool.get("strict"),
        marks=mark_with("responses", marks),
    )


def _read_items(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = document.get("input")
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    if not isinstance(items, list):
        raise UsageError("the input of a request to Responses is a text or a list of items")
    for number, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            raise UsageError(f"item {number} of the input is an object, got {type(item).__name__}")
        _require_readable(number, item)
    return items


def _require_readable(number: int, item: Mapping[str, Any]) -> None:
    kind = item.get("type", "message")
    if not isinstance(kind, str):
        raise UsageError(f"item {number} of the input: its type is a text")
    if kind != "message":
        return
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", *_SYSTEM_ROLES):
        raise UsageError(
            f"item {number} of the input: its role is one of user, assistant, system, developer, got {role!r}"
        )
    if not isinstance(content, str | list):
        raise UsageError(f"item {number} of the input: its content is a text or a list of parts")


def _split_system(
    items: list[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """What the system says before all others, as far as it is text, and the rest."""
    first = next((index for index, one in enumerate(items) if not _is_system_text(one)), len(items))
    return items[:first], items[first:]


def _is_system_text(item: Mapping[str, Any]) -> bool:
    if item.get("type", "message") != "message" or item["role"] not in _SYSTEM_ROLES:
        return False
    content = item.get("content")
    return isinstance(content, str) or all(
        isinstance(responses_parts.read_input_part(part), Text) for part in iter_mappings(content)
    )


def _read_system(instructions: object, items: list[Mapping[str, Any]]) -> str | tuple[Text, ...] | None:
    if isinstance(instructions, str) and not items:
        return instructions
    own = (Text(as_clean_text(instructions)),) if isinstance(instructions, str) and instructions else ()
    return (*own, *map(_read_system_item, items)) or None


def _read_system_item(item: Mapping[str, Any]) -> Text:
    content = item["content"]
    marks = {name: value for name, value in item.items() if name != "content" or not isinstance(value, str)}
    if isinstance(content, str):
        return Text(as_clean_text(content), mark_with("responses", marks))
    joined = "\n".join(as_clean_text(part.get("text")) for part in iter_mappings(content))
    return Text(joined, mark_with("responses", marks))


def _side_of(item: Mapping[str, Any]) -> Literal["said", "assistant", "results"]:
    kind = str(item.get("type", "message"))
    if kind == "message" and item["role"] != "assistant":
        return "said"
    return "results" if kind.endswith("_output") else "assistant"


def _read_said(item: Mapping[str, Any]) -> Message:
    role: Role = "system" if item["role"] in _SYSTEM_ROLES else "user"
    marks = rest_of(item, ("role", "content"))
    if item["role"] == "developer":
        marks["role"] = "developer"
    content = item["content"]
    parts = tuple(map(responses_parts.read_input_part, iter_mappings(content)))
    said = as_clean_text(content) if isinstance(content, str) else parts
    return Message(role, said, mark_with("responses", marks))


def _read_result(item: Mapping[str, Any]) -> Part:
    if item.get("type") != "function_call_output":
        return Opaque("responses", item)
    return responses_parts.read_result(item)


def _read_answer(items: Iterable[Mapping[str, Any]]) -> str | tuple[Part, ...]:
    parts = tuple(sign_part(part, VENDOR) for item in items for part in responses_parts.read_input_item(item))
    is_plain = len(parts) == 1 and isinstance(parts[0], Text) and parts[0].marks is None
    return parts[0].text if is_plain else parts  # type: ignore[union-attr]


def _read_choice(choice: object, rest: dict[str, Any]) -> ToolChoice | None:
    """The choice; what is more than one of ours goes to ``rest``."""
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if not isinstance(choice, Mapping):
        return None
    is_function = choice.get("type") == "function" and choice.get("name")
    if not is_function or rest_of(choice, ("type", "name")):
        rest["tool_choice"] = choice
    if not is_function:
        return None
    name = as_clean_text(choice["name"])
    return ToolChoice("named", responses_parts.flatten_name(choice.get("namespace"), name))


def _read_options(document: Mapping[str, Any], rest: dict[str, Any]) -> GenerationOptions:
    """The options; the fields of them that only OpenAI has go to ``rest``."""
    reasoning = as_mapping(document.get("reasoning"))
    said = reasoning.get("effort")
    effort = find_effort(said)
    if own := rest_of(reasoning, ("effort",) if effort == said else ()):
        rest["reasoning"] = own
    include = document.get("include")
    shows_logprobs = isinstance(include, list) and _LOGPROBS in include
    return GenerationOptions(
        effort=effort,
        top_p=document.get("top_p"),
        logprobs=document.get("top_logprobs") or (0 if shows_logprobs else None),
        verbosity=as_mapping(document.get("text")).get("verbosity"),
        service_tier=document.get("service_tier"),
    )


def _read_format(format_: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(format_.get("schema"), Mapping):
        name = as_clean_text(format_.get("name")) or "answer"
        return {"schema": format_["schema"], "schema_name": name, "schema_strict": format_.get("strict")}
    return {"json": True} if format_.get("type") == "json_object" else {}
