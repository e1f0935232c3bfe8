"""A request to OpenAI Chat Completions, as its documentation has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from llmfail.core.conversation import (
    Attachment,
    GenerationOptions,
    Message,
    Opaque,
    Part,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    sign_part,
)
from llmfail.providers.decoding import (
    as_clean_text,
    as_mapping,
    find_effort,
    iter_mappings,
    mark_with,
    read_base64,
    read_content,
    read_data_url,
    rest_of,
)
from llmfail.providers.dialects import chat_parts
from llmfail.providers.dialects.carried_signature import take_from_id

_OPTION_FIELDS: Final = (
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "verbosity",
    "service_tier",
)
_MORE_OPTION_FIELDS: Final = frozenset({*_OPTION_FIELDS, "reasoning_effort", "logprobs", "top_logprobs"})
_READ: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "stop",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        *_MORE_OPTION_FIELDS,
    }
)
_SYSTEM_ROLES: Final = frozenset({"system", "developer"})
_PLAIN_ROLES: Final[Mapping[str, Literal["assistant", "system"]]] = {
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_AUDIO_TYPES: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def read_tool(tool: Mapping[str, Any]) -> Tool | Opaque:
    """As Chat Completions has it, with its ``function``, or flat as Responses has it."""
    function = tool.get("function", tool)
    if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
        return Opaque("chat", tool)
    parameters = function.get("parameters")
    rest = rest_of(function, ("type", "name", "description", "parameters", "strict"))
    return Tool(
        name=as_clean_text(function.get("name")),
        description=as_clean_text(function.get("description")) or None,
        parameters=parameters if isinstance(parameters, Mapping) else None,
        strict=function.get("strict"),
        marks=mark_with("chat", rest),
    )


def read_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an Ask that it sets, apart from messages and tools."""
    fields: dict[str, Any] = {}
    limit = document.get("max_completion_tokens") or document.get("max_tokens")
    if limit is not None:
        fields["max_tokens"] = limit
    if (temperature := document.get("temperature")) is not None:
        fields["temperature"] = temperature
    if stop := document.get("stop"):
        fields["stop"] = stop
    if format_ := document.get("response_format"):
        fields |= _read_format(as_mapping(format_))
    rest = rest_of(document, _READ)
    if (choice := document.get("tool_choice")) is not None:
        fields["tool_choice"] = _read_choice(choice, rest)
    if not _MORE_OPTION_FIELDS.isdisjoint(document):
        fields["options"] = _read_options(document, rest)
    if (parallel := document.get("parallel_tool_calls")) is not None:
        fields["parallel_tools"] = parallel
    if rest:
        fields["marks"] = mark_with("chat", rest)
    return fields


def _read_options(document: Mapping[str, Any], rest: dict[str, Any]) -> GenerationOptions:
    """An effort in a word of its own goes along."""
    word = document.get("reasoning_effort")
    effort = find_effort(word)
    if word is not None and word != effort:
        rest["reasoning_effort"] = word
    return GenerationOptions(
        effort=effort,
        logprobs=(document.get("top_logprobs") or 0) if document.get("logprobs") else None,
        **{name: document.get(name) for name in _OPTION_FIELDS},
    )


def split_system(messages: Sequence[Any]) -> tuple[str | tuple[Text, ...], Sequence[Any]]:
    """What the system says before all others, and the rest."""
    first = 0
    while first < len(messages) and _role_of(messages[first]) in _SYSTEM_ROLES:
        first += 1
    if not first:
        return (), messages
    parts = tuple(map(_read_system, messages[:first]))
    is_plain = len(parts) == 1 and parts[0].marks is None
    return parts[0].text if is_plain else parts, messages[first:]


def read_turns(messages: Sequence[Any]) -> Iterator[Message]:
    """Results of tools that follow each other are one turn."""
    results: list[Part] = []
    for message in messages:
        if isinstance(message, Message):
            turn = message
        elif message.get("role") == "tool":
            results.append(_read_result(message))
            continue
        else:
            turn = _read_turn(message)
        if results:
            yield Message("user", tuple(results))
            results = []
        yield turn
    if results:
        yield Message("user", tuple(results))


def _role_of(message: Message | Mapping[str, Any]) -> str:
    return message.role if isinstance(message, Message) else str(message.get("role"))


def _read_system(message: Message | Mapping[str, Any]) -> Text:
    if isinstance(message, Message):
        return Text(message.text)
    marks = rest_of(message, ("content",))
    if message["role"] == "system":
        del marks["role"]
    return Text(as_clean_text(read_content(message.get("content"))), mark_with("chat", marks))


def _read_turn(message: Mapping[str, Any]) -> Message:
    role = message["role"]
    content = message.get("content")
    if len(message) == 2 and isinstance(content, str):
        return Message(_PLAIN_ROLES.get(role, "user"), as_clean_text(content))
    if role == "assistant":
        text = as_clean_text(read_content(content))
        parts = tuple(map(_sign, chat_parts.read_answer_parts(message, text)))
        read = ("role", "content", "tool_calls", "function_call", *chat_parts.THOUGHT_FIELDS)
        is_plain = not parts or (len(parts) == 1 and isinstance(parts[0], Text))
        is_bare = is_plain and not message.get("reasoning_details")
        marks = mark_with("chat", rest_of(message, read))
        return Message("assistant", text if is_bare else parts or (Text(text),), marks)
    marks = mark_with("chat", rest_of(message, ("role", "content")))
    if isinstance(content, str):
        return Message("system" if role in _SYSTEM_ROLES else "user", as_clean_text(content), marks)
    parts = tuple(map(_read_part, iter_mappings(content)))
    return Message("system" if role in _SYSTEM_ROLES else "user", parts, marks)


def _sign(part: Part) -> Part:
    """Who has written a signature shows in its form."""
    if isinstance(part, ToolCall):
        return sign_part(part, "google")
    is_routed = isinstance(part, Thought) and part.signature and "reasoning_details" in part.signature.text
    return sign_part(part, "openrouter" if is_routed else "deepseek")


def _read_result(message: Mapping[str, Any]) -> ToolResult:
    content = message.get("content")
    parts = tuple(
        part for part in map(_read_part, iter_mappings(content)) if isinstance(part, Text | Attachment)
    )
    return ToolResult(
        call_id=take_from_id(as_clean_text(message.get("tool_call_id")))[0],
        content=parts or as_clean_text(content),
        name=as_clean_text(message.get("name")),
        marks=mark_with("chat", rest_of(message, ("role", "tool_call_id", "content"))),
    )


def _read_part(part: Mapping[str, Any]) -> Part:
    match part.get("type"):
        case "text":
            return Text(as_clean_text(part.get("text")), mark_with("chat", rest_of(part, ("type", "text"))))
        case "image_url":
            image = as_mapping(part.get("image_url"))
            url = as_clean_text(image.get("url") or part.get("image_url"))
            return _read_file("image", "image/*", url, rest_of(image, ("url",)))
        case "file" if isinstance(data := as_mapping(part.get("file")).get("file_data"), str):
            file = part["file"]
            name = as_clean_text(file.get("filename")) or "file.pdf"
            return _read_file(name, "application/pdf", data, rest_of(file, ("file_data", "filename")))
        case "input_audio":
            sound = as_mapping(part.get("input_audio"))
            kind = _AUDIO_TYPES.get(str(sound.get("format")))
            bytes_ = read_base64(sound.get("data"))
            if kind is not None and bytes_ is not None:
                return Attachment("sound", kind, bytes_)
    return Opaque("chat", part)


def _read_file(name: str, media_type: str, url: str, rest: Mapping[str, Any]) -> Attachment:
    found = read_data_url(url)
    marks = mark_with("chat", rest)
    if found is None:
        return Attachment(name, media_type, url=url, marks=marks)
    return Attachment(name, found[0] or media_type, found[1], marks=marks)


def _read_format(format_: Mapping[str, Any]) -> dict[str, Any]:
    named = as_mapping(format_.get("json_schema"))
    if isinstance(named.get("schema"), Mapping):
        name = as_clean_text(named.get("name")) or "answer"
        return {"schema": named["schema"], "schema_name": name, "schema_strict": named.get("strict")}
    return {"json": True} if format_.get("type") == "json_object" else {}


def _read_choice(choice: object, rest: dict[str, Any]) -> ToolChoice | None:
    """One that has no name here goes along."""
    if isinstance(choice, Mapping):
        name = as_mapping(choice.get("function")).get("name") or choice.get("name")
        if name:
            return ToolChoice("named", as_clean_text(name))
    elif choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    rest["tool_choice"] = choice
    return None
