"""OpenAI Responses: the items of a conversation, its tools, and the items of an answer.

Calls, results and thoughts are items beside the messages. A thought is an item whose encrypted content only
its vendor can read, so it goes back whole, as its signature.
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
)
from llmfail.core.errors import UnsupportedRequest
from llmfail.core.request.message_text import render_text_files
from llmfail.providers.decoding import (
    as_clean_text,
    dump_arguments,
    iter_mappings,
    mark_with,
    read_data_url,
    rest_of,
)
from llmfail.providers.dialects.chat_parts import write_tool
from llmfail.providers.encoding import marks_for, to_data_url

_TEXT_TYPES = frozenset({"input_text", "output_text", "text"})


def write_items(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [item for message in messages for item in _write_message(message)]


def write_tools(tools: Iterable[Tool | Opaque]) -> list[dict[str, Any]]:
    """Strict is what a function is there unless it is told otherwise."""
    return [
        dict(tool.json)
        if isinstance(tool, Opaque)
        else {
            "type": "function",
            "parameters": {"type": "object", "properties": {}},
            **write_tool(tool),
            "strict": tool.strict or False,
            **marks_for("responses", tool),
        }
        for tool in tools
    ]


def write_tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


def read_output(items: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts of an answer, or of the assistant's turn in a request."""
    return tuple(part for item in items for part in _read_output_item(item))


def read_input_part(part: Mapping[str, Any]) -> Part:
    """A part of what the user, the system or a tool says."""
    kind = part.get("type")
    if kind in _TEXT_TYPES:
        return Text(as_clean_text(part.get("text")), mark_with("responses", rest_of(part, "type", "text")))
    if kind == "input_image" and isinstance(url := part.get("image_url"), str):
        return _read_file("image", "image/*", url, mark_with("responses", rest_of(part, "type", "image_url")))
    if kind == "input_file":
        url = part.get("file_data") or part.get("file_url")
        name = as_clean_text(part.get("filename")) or "file.pdf"
        rest = rest_of(part, "type", "file_data", "file_url", "filename")
        if isinstance(url, str):
            return _read_file(name, "application/pdf", url, mark_with("responses", rest))
    return Opaque("responses", part)


def read_result(item: Mapping[str, Any]) -> ToolResult:
    output = item.get("output")
    parts = tuple(map(read_input_part, iter_mappings(output)))
    return ToolResult(
        call_id=as_clean_text(item.get("call_id")),
        content=tuple(part for part in parts if isinstance(part, Text | Attachment))
        if parts
        else as_clean_text(output),
        marks=mark_with("responses", rest_of(item, "type", "call_id", "output")),
    )


def _write_message(message: Message) -> Iterator[dict[str, Any]]:
    """What is said between two items is a message of its own."""
    said: list[Part] = []
    own = marks_for("responses", message)
    for part in render_text_files(message.parts):
        item = _write_item(part)
        if item is None:
            said.append(part)
            continue
        if said:
            yield {**_write_said(message, said), **own}
            said = []
        yield item
    if said or not message.parts:
        yield {**_write_said(message, said), **own}


def _write_item(part: Part) -> dict[str, Any] | None:
    """None for what is a part of a message."""
    match part:
        case ToolCall():
            call = {"type": "function_call", "call_id": part.id, "name": part.name}
            return {**call, "arguments": part.arguments or "{}", **marks_for("responses", part)}
        case ToolResult():
            return {
                "type": "function_call_output",
                "call_id": part.call_id,
                "output": _write_content(render_text_files(part.parts), "input_text"),
                **marks_for("responses", part),
            }
        case Thought():
            assert part.signature is not None, "a thought without its signature is no item"
            item: dict[str, Any] = json.loads(part.signature.text)
            return item
        case Opaque() if part.json.get("type") not in {"input_image", "input_file", "refusal"}:
            return dict(part.json)
        case _:
            return None


def _write_said(message: Message, parts: list[Part]) -> dict[str, Any]:
    kind = "output_text" if message.role == "assistant" else "input_text"
    return {"role": message.role, "content": _write_content(parts, kind)}


def _write_content(parts: list[Part], kind: str) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].marks:
        return parts[0].text
    return [_write_part(part, kind) for part in parts]


def _write_part(part: Part, kind: str) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": kind, "text": part.text, **marks_for("responses", part)}
        case Attachment(kind="image"):
            return {"type": "input_image", "image_url": to_data_url(part), **marks_for("responses", part)}
        case Attachment(kind="document"):
            named = {"type": "input_file"}
            if part.url is not None:
                return {**named, "file_url": part.url, **marks_for("responses", part)}
            data = {"filename": part.name, "file_data": to_data_url(part)}
            return {**named, **data, **marks_for("responses", part)}
        case Opaque():
            return dict(part.json)
        case Attachment():
            raise UnsupportedRequest(f"Responses takes no {part.kind} such as {part.name}")
        case _:
            raise UnsupportedRequest(f"a message cannot have a {type(part).__name__}")


def _read_output_item(item: Mapping[str, Any]) -> Iterator[Part]:
    match item.get("type"):
        case "message" | None:
            for part in iter_mappings(item.get("content")):
                if part.get("type") in _TEXT_TYPES:
                    yield Text(as_clean_text(part.get("text")))
        case "function_call":
            yield ToolCall(
                id=as_clean_text(item.get("call_id")) or as_clean_text(item.get("id")),
                name=as_clean_text(item.get("name")),
                arguments=dump_arguments(item.get("arguments")),
                marks=mark_with("responses", {"namespace": item["namespace"]} if "namespace" in item else {}),
            )
        case "reasoning":
            shown = [*iter_mappings(item.get("summary")), *iter_mappings(item.get("content"))]
            text = "\n".join(as_clean_text(part.get("text")) for part in shown)
            readable = bool(item.get("encrypted_content"))
            kept = {name: value for name, value in item.items() if name != "status" and value is not None}
            signature = Signature("", json.dumps(kept, separators=(",", ":"))) if readable else None
            yield Thought(text, signature)
        case _:
            yield Opaque("responses", item)


def _read_file(name: str, media_type: str, url: str, marks: Any) -> Attachment:  # noqa: ANN401 - Marks
    found = read_data_url(url)
    if found is None:
        return Attachment(name, media_type, url=url, marks=marks)
    return Attachment(name, found[0] or media_type, found[1], marks=marks)
