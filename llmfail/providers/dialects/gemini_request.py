"""A request to Gemini's ``generateContent``, as its documentation has it.

Google takes its field names with underscores as well, and its own SDK writes some of them so; inside the
arguments of calls, results of tools and JSON Schemas names are the caller's and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from msgspec.structs import replace

from llmfail.core.conversation import (
    GenerationOptions,
    Message,
    Opaque,
    Part,
    Signature,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    sign_part,
)
from llmfail.core.errors import UsageError
from llmfail.providers.decoding import as_clean_text, as_mapping, iter_mappings, mark_with, rest_of
from llmfail.providers.dialects import gemini_parts
from llmfail.providers.dialects.gemini_schema import rename_fields, to_json_schema

DIALECT: Final = "gemini"
VENDOR: Final = "google"
"""Whose the signatures of such a request are."""
_READ: Final = ("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
_PART_FIELDS: Final = (
    *("text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData"),
)
_SAME_NAMES: Final = {
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_READ_CONFIG: Final = (
    *_SAME_NAMES,
    "maxOutputTokens",
    "temperature",
    "stopSequences",
    "responseJsonSchema",
    "thinkingConfig",
)
_EFFORTS: Final = {"MINIMAL": "none", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "high"}
_MODES: Final[Mapping[str, Literal["auto", "none", "required"]]] = {
    "AUTO": "auto",
    "NONE": "none",
    "ANY": "required",
}
_JSON: Final = "application/json"


def shows_in(document: Mapping[str, Any]) -> bool:
    return "contents" in document


def read_messages(document: Mapping[str, Any]) -> tuple[Message, ...]:
    """The turns. Raises UsageError, which names the content by its place, counted from 1."""
    contents = document.get("contents")
    contents = [{"parts": [{"text": contents}]}] if isinstance(contents, str) else contents
    if not isinstance(contents, list):
        raise UsageError("the contents of a request to Gemini are a list")
    return tuple(_answer_calls(_read_content(*numbered) for numbered in enumerate(contents, 1)))


def read_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Ask, apart from messages."""
    document = as_mapping(rename_fields(document))
    config = as_mapping(document.get("generationConfig"))
    fields: dict[str, Any] = {
        "system": _read_system(as_mapping(document.get("systemInstruction"))),
        "max_tokens": config.get("maxOutputTokens"),
        "temperature": config.get("temperature"),
        "stop": config.get("stopSequences") or None,
        "tools": tuple(_read_tools(iter_mappings(document.get("tools")))) or None,
        **_read_format(config),
    }
    choice, marks = _read_choice(as_mapping(document.get("toolConfig")))
    options, own = _read_options(config)
    marks |= {"generationConfig": own} if own else {}
    marks |= rest_of(document, _READ)
    fields |= {"tool_choice": choice, "options": options, "marks": mark_with("gemini", marks)}
    return {name: value for name, value in fields.items() if value is not None}


def _read_content(number: int, content: object) -> Message:
    content = as_mapping(rename_fields(content))
    parts = content.get("parts")
    if not isinstance(parts, list):
        raise UsageError(f"content {number} is an object with a list called parts")
    read = tuple(
        one
        for index, part in enumerate(iter_mappings(parts))
        for one in _read_part(part, f"contents/{number}/{index}")
    )
    return Message("assistant" if content.get("role") == "model" else "user", tuple(_join_thoughts(read)))


def _join_thoughts(parts: Iterable[Part]) -> Iterator[Part]:
    """A signature that stands alone is that of the thoughts before it, if another vendor has made it."""
    waiting: list[Thought] = []
    for part in parts:
        is_foreign = isinstance(part, Thought) and part.signature and part.signature.vendor != VENDOR
        if isinstance(part, Thought) and is_foreign:
            yield replace(part, text="".join(one.text for one in waiting) + part.text)
            waiting = []
        elif isinstance(part, Thought):
            waiting.append(part)
        else:
            yield from waiting
            waiting = []
            yield part
    yield from waiting


def _read_part(part: Mapping[str, Any], seed: str) -> tuple[Part, ...]:
    """Nothing for an empty text. A part with a field that has no name here goes back as it was."""
    if rest_of(part, _PART_FIELDS):
        return (Opaque("gemini", part),)
    return tuple(map(_sign, gemini_parts.read_separate_parts([part], seed)))


def _sign(part: Part) -> Part:
    """Gemini signs calls, and seldom thoughts; both are Gemini's."""
    if isinstance(part, Thought) and part.signature is None:
        return replace(part, signature=Signature(VENDOR, ""))
    return sign_part(part, VENDOR)


def _answer_calls(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages with the ids of the calls in their results: Gemini tells them by the names of functions,
    and several of one name by their order.
    """
    calls: list[ToolCall] = []
    for message in messages:
        calls += [part for part in message.parts if isinstance(part, ToolCall)]
        yield replace(message, content=tuple(_answer(part, calls) for part in message.parts))


def _answer(part: Part, calls: list[ToolCall]) -> Part:
    """The part; of the open calls the one that it answers is taken away."""
    if not isinstance(part, ToolResult):
        return part
    call = next((one for one in calls if part.call_id in {"", one.id} and part.name == one.name), None)
    if call is None:
        return part
    calls.remove(call)
    return replace(part, call_id=call.id)


def _read_system(content: Mapping[str, Any]) -> str | tuple[Text, ...] | None:
    parts = tuple(Text(as_clean_text(part.get("text"))) for part in iter_mappings(content.get("parts")))
    return parts[0].text if len(parts) == 1 else parts or None


def _read_tools(tools: Iterable[Mapping[str, Any]]) -> Iterator[Tool | Opaque]:
    for tool in tools:
        yield from map(_read_function, iter_mappings(tool.get("functionDeclarations")))
        if rest := rest_of(tool, ("functionDeclarations",)):
            yield Opaque("gemini", rest)


def _read_function(function: Mapping[str, Any]) -> Tool:
    """A schema in Google's own words goes along, and is there in those of JSON Schema for all others."""
    own = function.get("parameters")
    schema = function.get("parametersJsonSchema") if own is None else to_json_schema(own)
    return Tool(
        name=as_clean_text(function.get("name")),
        description=as_clean_text(function.get("description")) or None,
        parameters=schema,
        marks=mark_with("gemini", rest_of(function, ("name", "description", "parametersJsonSchema"))),
    )


def _read_format(config: Mapping[str, Any]) -> dict[str, Any]:
    own = config.get("responseSchema")
    schema = config.get("responseJsonSchema") if own is None else to_json_schema(own)
    return {"schema": schema, "json": (schema is None and config.get("responseMimeType") == _JSON) or None}


def _read_choice(config: Mapping[str, Any]) -> tuple[ToolChoice | None, dict[str, Any]]:
    """The choice, and what Gemini has to be told besides."""
    calling = as_mapping(config.get("functionCallingConfig"))
    said = calling.get("allowedFunctionNames")
    names = said if isinstance(said, list) else []
    mode = _MODES.get(str(calling.get("mode")))
    is_named = mode == "required" and len(names) == 1
    named = ToolChoice("named", as_clean_text(names[0])) if is_named else None
    choice = named or (ToolChoice(mode) if mode else None)
    is_whole = gemini_parts.write_tool_choice(choice) == config if choice else not config
    return choice, {} if is_whole else {"toolConfig": config}


def _read_options(config: Mapping[str, Any]) -> tuple[GenerationOptions, dict[str, Any]]:
    """The options, and the fields of the configuration that only Gemini has."""
    thinking = as_mapping(config.get("thinkingConfig"))
    effort = _EFFORTS.get(str(thinking.get("thinkingLevel")))
    own = rest_of(config, _READ_CONFIG)
    if own.get("responseMimeType") == _JSON:
        del own["responseMimeType"]
    is_known = effort and thinking.get("thinkingLevel") != "XHIGH"
    rest = rest_of(thinking, ("thinkingLevel",)) if is_known else thinking
    own |= {"thinkingConfig": rest} if rest else {}
    logprobs = own.get("logprobs") if own.get("responseLogprobs") else None
    if logprobs is not None:
        del own["logprobs"], own["responseLogprobs"]
    named = {ours: config.get(theirs) for theirs, ours in _SAME_NAMES.items()}
    top_k = named["top_k"]
    named["top_k"] = int(top_k) if isinstance(top_k, float) and top_k.is_integer() else top_k
    return GenerationOptions(effort=effort, logprobs=logprobs, **named), own  # type: ignore[arg-type]
