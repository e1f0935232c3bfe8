"""Anthropic Messages: turns, content blocks and tools.

Results of tools stand in a turn of the user. A thought is shown with its signature, or as nothing but a
signature (``redacted_thinking``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    as_mapping,
    dump_arguments,
    iter_mappings,
    mark_with,
    read_base64,
    rest_of,
    type_of,
)
from llmfail.providers.dialects.carried_signature import is_carried, read_carried
from llmfail.providers.encoding import encode_base64, load_arguments, marks_for

_REDACTED = "redacted_thinking"
_HIDDEN = f"{_REDACTED}:"
"""How the signature of a thought begins that is shown as nothing else."""


def write_message(message: Message) -> dict[str, Any]:
    parts = render_text_files(message.parts)
    return {"role": message.role, "content": _write_content(parts)}


def write_system(parts: tuple[Text, ...]) -> str | list[dict[str, Any]]:
    return parts[0].text if len(parts) == 1 and not parts[0].marks else [_write_block(one) for one in parts]


def write_tools(tools: Iterable[Tool | Opaque]) -> list[dict[str, Any]]:
    return [dict(tool.json) if isinstance(tool, Opaque) else _write_tool(tool) for tool in tools]


def write_tool_choice(choice: ToolChoice | None, *, parallel: bool | None) -> dict[str, Any] | None:
    """Whether several tools may be called at once is a part of the choice there."""
    if choice is None and parallel is None:
        return None
    mode = "auto" if choice is None else choice.mode
    written: dict[str, Any] = {"type": {"required": "any", "named": "tool"}.get(mode, mode)}
    if choice is not None and choice.mode == "named":
        written["name"] = choice.name
    if parallel is not None and mode != "none":
        written["disable_parallel_tool_use"] = not parallel
    return written


def is_hidden(signature: Signature | None) -> bool:
    """Whether it is a thought that Anthropic hides."""
    return signature is not None and signature.text.startswith(_HIDDEN)


def hide_thought(data: str) -> dict[str, Any]:
    return {"type": _REDACTED, "data": data.removeprefix(_HIDDEN)}


def read_parts(content: object) -> tuple[Part, ...]:
    """The blocks of one turn. A hidden thought of ours carries the signature of a call."""
    if isinstance(content, str):
        return (Text(as_clean_text(content)),)
    blocks = list(iter_mappings(content))
    carried = {
        found.of: found.signature
        for block in blocks
        if block.get("type") == _REDACTED and (found := read_carried(block.get("data"))) is not None
    }
    if not carried:
        return tuple(map(_read_block, blocks))
    kept = [block for block in blocks if block.get("type") != _REDACTED or not is_carried(block.get("data"))]
    read = map(_read_block, kept)
    return tuple(
        replace(part, signature=carried[part.id])
        if isinstance(part, ToolCall) and part.id in carried
        else part
        for part in read
    )


def read_tool(tool: Mapping[str, Any]) -> Tool | Opaque:
    if tool.get("type", "custom") != "custom" or "input_schema" not in tool:
        return Opaque("anthropic", tool)
    return Tool(
        name=as_clean_text(tool.get("name")),
        description=as_clean_text(tool.get("description")) or None,
        parameters=as_mapping(tool.get("input_schema")),
        strict=tool.get("strict"),
        marks=mark_with("anthropic", rest_of(tool, ("name", "description", "input_schema", "strict"))),
    )


def read_tool_choice(choice: Mapping[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether several tools may be called at once."""
    kind = type_of(choice)
    modes = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}
    disabled = choice.get("disable_parallel_tool_use")
    parallel = None if disabled is None else not disabled
    if kind not in modes:
        return None, parallel
    return ToolChoice(modes[kind], as_clean_text(choice.get("name"))), parallel  # type: ignore[arg-type]


def _write_tool(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    written["input_schema"] = tool.parameters or {"type": "object"}
    if tool.strict is not None:
        written["strict"] = tool.strict
    return {**written, **marks_for("anthropic", tool)}


def _write_content(parts: list[Part]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].marks:
        return parts[0].text
    return [_write_block(part) for part in parts]


def _write_block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            written: dict[str, Any] = {"type": "text", "text": part.text}
        case Attachment():
            written = _write_file(part)
        case ToolCall():
            written = {"type": "tool_use", "id": part.id, "name": part.name}
            written["input"] = load_arguments(part.arguments)
        case ToolResult():
            written = {"type": "tool_result", "tool_use_id": part.call_id}
            written["content"] = _write_content(render_text_files(part.parts))
            if part.is_error:
                written["is_error"] = True
        case Thought():
            return _write_thought(part)
        case Opaque():
            return dict(part.json)
    return {**written, **marks_for("anthropic", part)}


_MAX_IMAGE_CHARS = 5 << 20
"""A larger one is refused with 400, ``image exceeds 5 MB maximum``; the limit is that of its base64."""


def _write_file(file: Attachment) -> dict[str, Any]:
    kinds = {"image": "image", "document": "document"}
    if file.kind not in kinds:
        raise UnsupportedRequest(f"Anthropic takes no {file.kind} such as {file.name}")
    if file.url is not None:
        return {"type": kinds[file.kind], "source": {"type": "url", "url": file.url}}
    data = encode_base64(file)
    if file.kind == "image" and len(data) > _MAX_IMAGE_CHARS:
        size, most = len(data) / (1 << 20), _MAX_IMAGE_CHARS >> 20
        raise UnsupportedRequest(
            f"Anthropic takes images of up to {most} MiB in base64, and {file.name} has {size:.1f}"
        )
    source = {"type": "base64", "media_type": file.media_type, "data": data}
    return {"type": kinds[file.kind], "source": source}


def _write_thought(thought: Thought) -> dict[str, Any]:
    signature = "" if thought.signature is None else thought.signature.text
    if is_hidden(thought.signature):
        return hide_thought(signature)
    return {"type": "thinking", "thinking": thought.text, "signature": signature}


def _read_block(block: Mapping[str, Any]) -> Part:
    match block.get("type"):
        case "text":
            marks = mark_with("anthropic", rest_of(block, ("type", "text")))
            return Text(as_clean_text(block.get("text")), marks)
        case "image" | "document":
            return _read_file(block)
        case "tool_use":
            return ToolCall(
                id=as_clean_text(block.get("id")),
                name=as_clean_text(block.get("name")),
                arguments=dump_arguments(block.get("input")),
                marks=mark_with("anthropic", rest_of(block, ("type", "id", "name", "input"))),
            )
        case "tool_result":
            return _read_result(block)
        case "thinking" | "redacted_thinking":
            return _read_thought(block)
        case _:
            return Opaque("anthropic", block)


def _read_thought(block: Mapping[str, Any]) -> Thought:
    if block["type"] == _REDACTED:
        return Thought("", Signature("", _HIDDEN + as_clean_text(block.get("data"))))
    text, said = as_clean_text(block.get("thinking")), as_clean_text(block.get("signature"))
    if is_carried(said):
        carried = read_carried(said)
        return Thought(text, None if carried is None else carried.signature)
    return Thought(text, Signature("", said) if said else None)


def _read_file(block: Mapping[str, Any]) -> Attachment | Opaque:
    source = as_mapping(block.get("source"))
    media_type = "image/*" if block["type"] == "image" else "application/pdf"
    marks = mark_with("anthropic", rest_of(block, ("type", "source")))
    name = as_clean_text(block.get("title")) or block["type"]
    if source.get("type") == "url" and isinstance(source.get("url"), str):
        return Attachment(name, media_type, url=source["url"], marks=marks)
    data = read_base64(source.get("data")) if source.get("type") == "base64" else None
    if data is None:
        return Opaque("anthropic", block)
    return Attachment(name, as_clean_text(source.get("media_type")) or media_type, data, marks=marks)


def _read_result(block: Mapping[str, Any]) -> ToolResult | Opaque:
    content = block.get("content")
    parts = read_parts(content)
    plain = tuple(part for part in parts if isinstance(part, Text | Attachment))
    if len(plain) != len(parts):
        return Opaque("anthropic", block)
    return ToolResult(
        call_id=as_clean_text(block.get("tool_use_id")),
        content=as_clean_text(content) if isinstance(content, str) else plain,
        is_error=block.get("is_error") is True,
        marks=mark_with("anthropic", rest_of(block, ("type", "tool_use_id", "content", "is_error"))),
    )
