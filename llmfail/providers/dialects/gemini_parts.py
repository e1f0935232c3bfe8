"""Gemini: contents, their parts, and functions.

Calls have an id only where Gemini gave one; results go by the name of the function. Since Gemini 3 the first
call of a turn must carry the signature of the thought behind it, or the value that says there is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
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
)
from llmfail.core.errors import UnsupportedRequest
from llmfail.core.request.message_text import render_text_files
from llmfail.providers.decoding import (
    as_clean_text,
    as_mapping,
    dump_arguments,
    iter_mappings,
    mark_with,
    read_base64,
    rest_of,
)
from llmfail.providers.dialects.carried_signature import from_base64, is_carried, read_carried
from llmfail.providers.encoding import encode_base64, join_result_text, load_arguments, marks_for

NO_SIGNATURE = "skip_thought_signature_validator"
"""What stands for the signature of a call that Gemini did not make."""
_OLD_MODEL = re.compile(r"gemini-(?:1|2)(?:\.|-|$)")


def write_contents(messages: Iterable[Message], model: str) -> list[dict[str, Any]]:
    messages = tuple(messages)
    known = {
        part.id for message in messages for part in message.parts if isinstance(part, ToolCall) and part.marks
    }
    signs = needs_signature(model)
    return [_write_message(message, known, needs_signature=signs) for message in messages]


def needs_signature(model: str) -> bool:
    """Whether the first call of a turn must carry one."""
    return not _OLD_MODEL.search(model)


def write_system(parts: tuple[Text, ...]) -> dict[str, Any]:
    return {"parts": [{"text": part.text} for part in parts]}


def write_tools(tools: Iterable[Tool | Opaque]) -> list[dict[str, Any]]:
    functions = [_write_tool(tool) for tool in tools if isinstance(tool, Tool)]
    others = [dict(tool.json) for tool in tools if isinstance(tool, Opaque)]
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


def write_tool_choice(choice: ToolChoice) -> dict[str, Any]:
    modes = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
    config: dict[str, Any] = {"mode": modes[choice.mode]}
    if choice.mode == "named":
        config["allowedFunctionNames"] = [choice.name]
    return {"functionCallingConfig": config}


def read_parts(parts: Iterable[Mapping[str, Any]], seed: str) -> tuple[Part, ...]:
    """The parts of an answer. ``seed`` tells the turn from others: calls without an id get one made of it."""
    return read_separate_parts(join_texts(parts), seed)


def read_separate_parts(parts: Iterable[Mapping[str, Any]], seed: str) -> tuple[Part, ...]:
    """The same with as many texts as there are."""
    read = (_read_part(part, f"{seed}/{index}") for index, part in enumerate(parts))
    return tuple(part for part in read if part is not None)


def join_texts(parts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts with one for all of a text, or of a thought, that comes in several. A signature ends it."""
    joined: list[Mapping[str, Any]] = []
    for part in parts:
        last = joined[-1] if joined else {}
        is_same = bool(last.get("thought")) is bool(part.get("thought")) and "thoughtSignature" not in last
        if is_same and isinstance(last.get("text"), str) and isinstance(part.get("text"), str):
            joined[-1] = {**part, "text": last["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


def _write_message(message: Message, known: Collection[str], *, needs_signature: bool) -> dict[str, Any]:
    parts = [_write_part(part, known) for part in render_text_files(message.parts)]
    if message.role == "assistant" and needs_signature:
        call = next((part for part in parts if "functionCall" in part), None)
        if call is not None and "thoughtSignature" not in call:
            call["thoughtSignature"] = NO_SIGNATURE
    role = "model" if message.role == "assistant" else "user"
    return {"role": role, "parts": parts or [{"text": ""}]}


def _write_part(part: Part, known: Collection[str]) -> dict[str, Any]:
    match part:
        case Text():
            written: dict[str, Any] = {"text": part.text}
        case Attachment():
            return _write_file(part)
        case ToolCall():
            function = {"name": part.name, "args": load_arguments(part.arguments)}
            written = {"functionCall": {**function, **marks_for("gemini", part)}}
        case ToolResult():
            return {"functionResponse": _write_result(part, known)}
        case Thought():
            written = {"text": part.text, "thought": True}
        case Opaque():
            return dict(part.json)
    signature = part.signature
    return {**written, "thoughtSignature": signature.text} if signature and signature.text else written


def _write_file(file: Attachment) -> dict[str, Any]:
    if file.url is not None:
        raise UnsupportedRequest(f"Gemini takes no file by its URL, such as {file.url}")
    inline = {"mimeType": file.media_type, "data": encode_base64(file), **marks_for("gemini", file)}
    return {"inlineData": inline}


def _write_result(result: ToolResult, known: Collection[str]) -> dict[str, Any]:
    marks = marks_for("gemini", result)
    said = {"error" if result.is_error else "result": join_result_text(result)}
    written: dict[str, Any] = {"name": result.name, "response": said, **marks}
    if result.call_id in known:
        written["id"] = result.call_id
    files = [_write_file(part) for part in result.parts if isinstance(part, Attachment)]
    return {**written, "parts": files} if files else written


def _write_tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    own = marks_for("gemini", tool)
    if tool.parameters is not None and "parameters" not in own:
        written["parametersJsonSchema"] = tool.parameters
    return {**written, **own}


def _read_part(part: Mapping[str, Any], seed: str) -> Part | None:
    signature = _read_signature(as_clean_text(part.get("thoughtSignature")))
    if "functionCall" in part:
        return _read_call(as_mapping(part["functionCall"]), signature, seed)
    if "functionResponse" in part:
        return _read_result(as_mapping(part["functionResponse"]))
    if isinstance(part.get("text"), str):
        text = as_clean_text(part["text"])
        if part.get("thought") is True:
            return Thought(text, signature)
        return Text(text, signature=signature) if text or signature else None
    if (file := _read_file(part)) is not None:
        return file
    return Opaque("gemini", part) if part else None


def _read_signature(text: str) -> Signature | None:
    """Of Gemini, or of another vendor that stands in its place."""
    said = from_base64(text)
    if is_carried(said):
        carried = read_carried(said)
        return None if carried is None else carried.signature
    return Signature("", said) if said and said != NO_SIGNATURE else None


def _read_call(call: Mapping[str, Any], signature: Signature | None, seed: str) -> ToolCall:
    own = as_clean_text(call.get("id"))
    name = as_clean_text(call.get("name"))
    made = "call_" + sha256(f"{seed}/{name}".encode()).hexdigest()[:24]
    marks = mark_with("gemini", {"id": own} if own else {})
    return ToolCall(own or made, name, dump_arguments(call.get("args")), signature, marks)


def _read_result(result: Mapping[str, Any]) -> ToolResult:
    response = as_mapping(result.get("response"))
    rest = rest_of(result, ("id", "name", "response", "parts"))
    files = tuple(filter(None, map(_read_file, iter_mappings(result.get("parts")))))
    key = next(iter(response), "") if len(response) == 1 else ""
    plain = key in {"result", "error"} and isinstance(response[key], str)
    text = as_clean_text(response[key]) if plain else dump_arguments(response)
    return ToolResult(
        call_id=as_clean_text(result.get("id")),
        content=(Text(text), *files) if files else text,
        name=as_clean_text(result.get("name")),
        is_error="error" in response,
        marks=mark_with("gemini", ({} if plain else {"response": response}) | rest),
    )


def _read_file(part: Mapping[str, Any]) -> Attachment | None:
    inline = as_mapping(part.get("inlineData") or part.get("inline_data"))
    data = read_base64(inline.get("data"))
    if data is None:
        return None
    media_type = as_clean_text(inline.get("mimeType") or inline.get("mime_type"))
    marks = mark_with("gemini", rest_of(inline, ("mimeType", "mime_type", "data")))
    return Attachment(as_clean_text(inline.get("displayName")) or "file", media_type, data, marks=marks)
