"""OpenAI Chat Completions: messages and tools, as all compatible endpoints take them.

The result of a tool is a message of its own, and text; images in it follow in a message of the user. Thoughts
are fields of the assistant's message with a name for each vendor, and go back under that name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llmfail.core.conversation import (
    Attachment,
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
    join_text,
)
from llmfail.core.errors import UnsupportedRequest
from llmfail.core.request.message_text import render_text_files
from llmfail.providers.decoding import as_clean_text, as_mapping, dump_arguments, iter_mappings, rest_of
from llmfail.providers.dialects.carried_signature import is_carried, read_carried, take_from_id
from llmfail.providers.encoding import encode_base64, join_result_text, load_object, marks_for, to_data_url

_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
THOUGHT_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")


def write_message(message: Message) -> Iterator[dict[str, Any]]:
    """The messages that one turn is there."""
    own = marks_for("chat", message)
    if message.role == "assistant":
        yield {**_write_assistant(message.parts), **own}
        return
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        text = join_result_text(result)
        yield {"role": "tool", "tool_call_id": result.call_id, "content": text, **marks_for("chat", result)}
    others: list[Part] = [one for result in results for one in result.parts if isinstance(one, Attachment)]
    others += [part for part in message.parts if not isinstance(part, ToolResult)]
    rendered = render_text_files(others)
    if rendered or not results:
        yield {"role": message.role, "content": _write_content(rendered), **own}


def write_system(parts: tuple[Text, ...]) -> Iterator[dict[str, Any]]:
    for part in parts:
        yield {"role": "system", "content": part.text, **marks_for("chat", part)}


def write_tools(tools: Iterable[Tool | Opaque]) -> list[dict[str, Any]]:
    return [
        dict(tool.json) if isinstance(tool, Opaque) else {"type": "function", "function": _write_tool(tool)}
        for tool in tools
    ]


def write_tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def read_answer_parts(message: Mapping[str, Any], text: str) -> tuple[Part, ...]:
    """Thoughts, text and calls of an assistant's message, whose text is known."""
    thoughts = _read_thoughts(message)
    calls = tuple(map(_read_call, iter_mappings(message.get("tool_calls"))))
    legacy = as_mapping(message.get("function_call"))
    if legacy and not calls:
        calls = (_read_call({"function": legacy}),)
    return (*thoughts, *((Text(text),) if text else ()), *calls)


def write_tool(tool: Tool) -> dict[str, Any]:
    """A function without what stands around it."""
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.parameters is not None:
        written["parameters"] = tool.parameters
    return written


def _write_tool(tool: Tool) -> dict[str, Any]:
    strict = {} if tool.strict is None else {"strict": tool.strict}
    return {**write_tool(tool), **strict, **marks_for("chat", tool)}


def _write_assistant(parts: tuple[Part, ...]) -> dict[str, Any]:
    written: dict[str, Any] = {"role": "assistant"}
    calls = [_write_call(part) for part in parts if isinstance(part, ToolCall)]
    text = join_text(parts)
    written["content"] = text if text or not calls else None
    for part in parts:
        if isinstance(part, Thought) and part.signature is not None:
            written |= load_object(part.signature.text)
        elif isinstance(part, Opaque):
            written |= part.json
    return {**written, "tool_calls": calls} if calls else written


def _write_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function, **marks_for("chat", call)}


def _write_content(parts: list[Part]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].marks:
        return parts[0].text
    return [_write_part(part) for part in parts]


def _write_part(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text, **marks_for("chat", part)}
        case Attachment():
            return _write_file(part)
        case Opaque():
            return dict(part.json)
        case _:
            raise UnsupportedRequest(f"a message of the user cannot have a {type(part).__name__}")


def _write_file(file: Attachment) -> dict[str, Any]:
    marks = marks_for("chat", file)
    match file.kind:
        case "image":
            return {"type": "image_url", "image_url": {"url": to_data_url(file), **marks}}
        case "document" if file.url is None:
            return {"type": "file", "file": {"filename": file.name, "file_data": to_data_url(file), **marks}}
        case "audio" if file.url is None and file.media_type in _AUDIO_FORMATS:
            sound = {"data": encode_base64(file), "format": _AUDIO_FORMATS[file.media_type]}
            return {"type": "input_audio", "input_audio": sound}
        case _:
            raise UnsupportedRequest(f"Chat Completions takes no {file.kind} such as {file.name}")


def read_call_signature(call: Mapping[str, Any]) -> Signature | None:
    """Google's, where its models speak this dialect."""
    google = as_mapping(as_mapping(call.get("extra_content")).get("google"))
    signature = as_clean_text(google.get("thought_signature"))
    return Signature("", signature) if signature else None


def sign_thoughts(fields: Mapping[str, Any]) -> Signature:
    """Thoughts go back under the names under which they came, so those are their signature."""
    return Signature("", json.dumps(fields, separators=(",", ":")))


def _read_call(call: Mapping[str, Any]) -> ToolCall:
    function = as_mapping(call.get("function"))
    own_id, carried = take_from_id(as_clean_text(call.get("id")))
    rest = rest_of(call, ("id", "type", "function", "index"))
    return ToolCall(
        id=own_id,
        name=as_clean_text(function.get("name")),
        arguments=dump_arguments(function.get("arguments")),
        signature=read_call_signature(call) or carried,
        marks={"chat": rest} if rest else None,
    )


def _read_thoughts(message: Mapping[str, Any]) -> tuple[Thought, ...]:
    """Under whatever name they are; Mistral has them among the content."""
    if (ours := _read_carried_thoughts(message)) is not None:
        return ours
    found = {name: message[name] for name in THOUGHT_FIELDS if message.get(name)}
    if found:
        text = next((as_clean_text(found[name]) for name in THOUGHT_FIELDS[:2] if name in found), "")
        return (Thought(text, sign_thoughts(found)),)
    chunks = (part for part in iter_mappings(message.get("content")) if part.get("type") == "thinking")
    texts = [
        as_clean_text(piece.get("text")) for chunk in chunks for piece in iter_mappings(chunk.get("thinking"))
    ]
    return (Thought("".join(texts)),) if texts else ()


def _read_carried_thoughts(message: Mapping[str, Any]) -> tuple[Thought, ...] | None:
    """Those that went along in details of ours; None where there are no such details."""
    details = [one.get("data") for one in iter_mappings(message.get("reasoning_details"))]
    if not any(map(is_carried, details)):
        return None
    return tuple(Thought(one.of, one.signature) for one in filter(None, map(read_carried, details)))
