"""OpenAI Responses: the items of a conversation, its tools, and the items of an answer.

Calls, results and thoughts are items beside the messages. A thought is an item whose encrypted content only
its vendor can read, so it goes back whole, as its signature.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from msgspec.structs import replace

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
    type_of,
)
from llmfail.providers.dialects.carried_signature import is_carried, read_carried, take_from_id
from llmfail.providers.dialects.chat_parts import write_tool
from llmfail.providers.encoding import load_object, marks_for, to_data_url

_TEXT_TYPES = frozenset({"input_text", "output_text", "text"})
_ITEM = "item"
"""The mark of a text that holds what is said of its message, such as its id."""


def write_items(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [item for message in messages for item in _write_message(message)]


def write_system(parts: Iterable[Text]) -> tuple[str, list[dict[str, Any]]]:
    """The instructions, and those items of the system that a request had among its input."""
    items = [
        {"role": "system", "content": part.text, **marks_for("responses", part)}
        for part in parts
        if marks_for("responses", part)
    ]
    return "".join(part.text for part in parts if not marks_for("responses", part)), items


def write_tools(tools: Iterable[Tool | Opaque]) -> list[dict[str, Any]]:
    """Those of one namespace stand in it."""
    written: list[dict[str, Any]] = []
    for namespace, group in groupby(tools, key=_namespace_of):
        inner = [_write_tool(tool) for tool in group]
        written += inner if namespace is None else [{"type": "namespace", **namespace, "tools": inner}]
    return written


def flatten_name(namespace: object, name: str) -> str:
    """The one name of a function that stands in a namespace."""
    return f"{namespace}__{name}" if isinstance(namespace, str) and namespace else name


def write_tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


def read_input_item(item: Mapping[str, Any]) -> tuple[Part, ...]:
    """The parts of an item of the assistant in a request. What is said of a message besides its content goes
    along with each of its texts.
    """
    kind = item.get("type", "message")
    if kind == "function_call":
        marks = rest_of(item, ("type", "call_id", "name", "arguments"))
        return tuple(replace(part, marks=mark_with("responses", marks)) for part in read_output([item]))
    if kind != "message":
        return read_output([item])
    rest = {name: value for name, value in item.items() if name not in {"role", "content"}}
    content = item["content"]
    parts = [{"type": "output_text", "text": content}] if isinstance(content, str) else content
    return tuple(_mark_item(read_input_part(part), rest) for part in iter_mappings(parts))


def read_output(items: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """The parts of an answer, or of the assistant's turn in a request."""
    return tuple(part for item in items for part in _read_output_item(item))


def read_input_part(part: Mapping[str, Any]) -> Part:
    """A part of what the user, the system or a tool says."""
    kind = type_of(part)
    if kind in _TEXT_TYPES:
        return Text(as_clean_text(part.get("text")), mark_with("responses", rest_of(part, ("type", "text"))))
    if kind == "input_image" and isinstance(url := part.get("image_url"), str):
        return _read_file(
            "image", "image/*", url, mark_with("responses", rest_of(part, ("type", "image_url")))
        )
    if kind == "input_file":
        url = part.get("file_data") or part.get("file_url")
        name = as_clean_text(part.get("filename")) or "file.pdf"
        rest = rest_of(part, ("type", "file_data", "file_url", "filename"))
        if isinstance(url, str):
            return _read_file(name, "application/pdf", url, mark_with("responses", rest))
    return Opaque("responses", part)


def read_result(item: Mapping[str, Any]) -> ToolResult:
    output = item.get("output")
    parts = tuple(map(read_input_part, iter_mappings(output)))
    return ToolResult(
        call_id=take_from_id(as_clean_text(item.get("call_id")))[0],
        content=tuple(part for part in parts if isinstance(part, Text | Attachment))
        if parts
        else as_clean_text(output),
        marks=mark_with("responses", rest_of(item, ("type", "call_id", "output"))),
    )


def _namespace_of(tool: Tool | Opaque) -> Mapping[str, Any] | None:
    found = (tool.json if isinstance(tool, Opaque) else marks_for("responses", tool)).get("namespace")
    return found if isinstance(found, Mapping) else None


def _write_tool(tool: Tool | Opaque) -> dict[str, Any]:
    """Strict is what a function is there unless it is told otherwise."""
    if isinstance(tool, Opaque):
        written = dict(tool.json)
    else:
        written = {
            "type": "function",
            "parameters": {"type": "object", "properties": {}},
            **write_tool(tool),
            "strict": tool.strict or False,
            **marks_for("responses", tool),
        }
    namespace = written.get("namespace")
    if isinstance(namespace, Mapping):
        del written["namespace"]
        written["name"] = _in_namespace(namespace.get("name"), str(written.get("name")))
    return written


def _in_namespace(namespace: object, name: str) -> str:
    """The name that a function has there."""
    return name.removeprefix(flatten_name(namespace, ""))


def _mark_item(part: Part, rest: Mapping[str, Any]) -> Part:
    if not rest or not isinstance(part, Text):
        return part
    return replace(part, marks={"responses": {**marks_for("responses", part), _ITEM: rest}})


def _item_of(part: Part) -> Mapping[str, Any]:
    """What is said of the message that a text stood in."""
    found: Mapping[str, Any] = marks_for("responses", part).get(_ITEM, {}) if isinstance(part, Text) else {}
    return found


def _write_message(message: Message) -> Iterator[dict[str, Any]]:
    """What is said between two items is a message of its own."""
    said: list[Part] = []
    own = marks_for("responses", message)
    for part in render_text_files(message.parts):
        item = _write_item(part)
        if said and (item is not None or _item_of(said[0]) != _item_of(part)):
            yield {**_write_said(message, said), **own}
            said = []
        if item is None:
            said.append(part)
        elif item:
            yield item
    if said or not message.parts:
        yield {**_write_said(message, said), **own}


def _write_item(part: Part) -> dict[str, Any] | None:
    """None for what is a part of a message; nothing in it where the vendor has signed on another wire."""
    match part:
        case ToolCall():
            own = marks_for("responses", part)
            name = _in_namespace(own.get("namespace"), part.name)
            call = {"type": "function_call", "call_id": part.id, "name": name}
            return {**call, "arguments": part.arguments or "{}", **own}
        case ToolResult():
            return {
                "type": "function_call_output",
                "call_id": part.call_id,
                "output": _write_content(render_text_files(part.parts), "input_text"),
                **marks_for("responses", part),
            }
        case Thought():
            assert part.signature is not None, "a thought without its signature is no item"
            return load_object(part.signature.text)
        case Opaque() if type_of(part.json) not in {"input_image", "input_file", "refusal"}:
            return dict(part.json)
        case _:
            return None


def _write_said(message: Message, parts: list[Part]) -> dict[str, Any]:
    kind = "output_text" if message.role == "assistant" else "input_text"
    of_item = _item_of(parts[0]) if parts else {}
    return {"role": message.role, "content": _write_content(parts, kind), **of_item}


def _write_content(parts: list[Part], kind: str) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].marks:
        return parts[0].text
    return [_write_part(part, kind) for part in parts]


def _write_part(part: Part, kind: str) -> dict[str, Any]:
    match part:
        case Text():
            own = {name: one for name, one in marks_for("responses", part).items() if name != _ITEM}
            return {"type": kind, "text": part.text, **own}
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
                if type_of(part) in _TEXT_TYPES:
                    yield Text(as_clean_text(part.get("text")))
        case "function_call":
            yield _read_call(item)
        case "reasoning":
            yield _read_thought(item)
        case _:
            yield Opaque("responses", item)


def _read_call(item: Mapping[str, Any]) -> ToolCall:
    """A call carries in its id what its own model has signed."""
    name = as_clean_text(item.get("name"))
    own_id, signature = take_from_id(as_clean_text(item.get("call_id")) or as_clean_text(item.get("id")))
    in_namespace = {"namespace": item["namespace"]} if item.get("namespace") else {}
    return ToolCall(
        id=own_id,
        name=flatten_name(item.get("namespace"), name),
        arguments=dump_arguments(item.get("arguments")),
        signature=signature,
        marks=mark_with("responses", in_namespace),
    )


def _read_thought(item: Mapping[str, Any]) -> Thought:
    """With the whole item as its signature, or with that of another vendor, which stands in its place."""
    shown = [*iter_mappings(item.get("summary")), *iter_mappings(item.get("content"))]
    text = "\n".join(as_clean_text(part.get("text")) for part in shown)
    encrypted = item.get("encrypted_content")
    if is_carried(encrypted):
        carried = read_carried(encrypted)
        return Thought(text, None if carried is None else carried.signature)
    kept = {name: value for name, value in item.items() if name != "status" and value is not None}
    signature = Signature("", json.dumps(kept, separators=(",", ":"))) if encrypted else None
    return Thought(text, signature)


def _read_file(name: str, media_type: str, url: str, marks: Any) -> Attachment:  # noqa: ANN401 - Marks
    found = read_data_url(url)
    if found is None:
        return Attachment(name, media_type, url=url, marks=marks)
    return Attachment(name, found[0] or media_type, found[1], marks=marks)
