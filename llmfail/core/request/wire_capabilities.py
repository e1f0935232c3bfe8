"""What a wire can carry of a request: one table, and what it says of one request.

A feature is carried, or *dropped*, which is told and changes nothing that was asked for, or the target is
*unsuited*: without the feature it would be asked something else, so it is not asked at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from llmfail.core.claude_version import version_of
from llmfail.core.conversation import (
    OPTION_NAMES,
    Attachment,
    Dialect,
    Message,
    Opaque,
    Part,
    Signature,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from llmfail.core.model import Endpoint, Request
from llmfail.core.vendors import VENDORS_BY_NAME, Quirk

Loss = Literal["dropped", "unsuited"]

LOSSES: Final[Mapping[str, Mapping[Dialect, Loss]]] = {
    "image by URL": {"gemini": "unsuited"},
    "PDF by URL": {"chat": "unsuited", "gemini": "unsuited"},
    "audio": {"anthropic": "unsuited", "responses": "unsuited"},
    "audio by URL": dict.fromkeys(("anthropic", "chat", "responses", "gemini"), "unsuited"),
    "text by URL": dict.fromkeys(("anthropic", "chat", "responses", "gemini"), "unsuited"),
    "stop": {"responses": "unsuited"},
    "json": {"anthropic": "dropped"},
    "parallel_tools": {"gemini": "dropped"},
    "top_k": {"responses": "dropped"},
    "seed": {"anthropic": "dropped", "responses": "dropped"},
    "presence_penalty": {"anthropic": "dropped", "responses": "dropped"},
    "frequency_penalty": {"anthropic": "dropped", "responses": "dropped"},
    "logprobs": {"anthropic": "dropped"},
    "verbosity": {"anthropic": "dropped", "gemini": "dropped"},
    "service_tier": {"gemini": "dropped"},
}
"""Where a feature of a request is lost. What is not named is carried; vendors that speak a dialect only in
part have a quirk (``core.vendors``).
"""
MEANINGFUL_FIELDS: Final = frozenset({
    *("previous_response_id", "conversation", "background", "prompt", "prediction"),
    *("n", "candidateCount", "modalities", "audio", "container", "mcp_servers", "cachedContent"),
    *("web_search_options", "tool_choice", "stored response"),
})  # fmt: skip
"""Fields of one dialect's requests without which something else would be asked."""
FORM_FIELDS: Final = frozenset({
    *("id", "type", "role", "status", "response", "namespace", "detail", "annotations", "displayName"),
    *("parameters", "responseSchema", "strict", "content", "item"),
})  # fmt: skip
"""Fields that say how one dialect writes a thing, and nothing of the thing: no loss."""
_ANTHROPIC_TIERS = frozenset({"auto", "standard_only"})
_FIRST_THINKING_CLAUDE = (3, 7)


class CarryReport(Struct, frozen=True):
    """``dropped`` are the names of what is left out; ``unsuited`` says what cannot be left out, empty when
    there is nothing.
    """

    dropped: tuple[str, ...] = ()
    unsuited: str = ""


def dialect_of(endpoint: Endpoint) -> Dialect:
    match endpoint.api:
        case "anthropic":
            return "anthropic"
        case "openai":
            return endpoint.door
        case "gemini":
            return "gemini"
        case "vertex":
            return "anthropic" if endpoint.model.startswith("claude") else "gemini"


def lacks(endpoint: Endpoint, quirk: Quirk) -> bool:
    """Whether it is a known vendor that is not known to do so; a server of nobody's may do anything."""
    vendor = VENDORS_BY_NAME.get(endpoint.vendor)
    return endpoint.api == "openai" and vendor is not None and quirk not in vendor.quirks


def can_read(signature: Signature | None, endpoint: Endpoint) -> bool:
    """Whether this endpoint may see a signature: it has made it."""
    return signature is not None and bool(signature.vendor) and signature.vendor == endpoint.vendor


def can_return(thought: Thought, endpoint: Endpoint) -> bool:
    """Whether a thought goes back to this endpoint: it made it, and its wire has a place for it."""
    has_place = dialect_of(endpoint) != "chat" or not lacks(endpoint, Quirk.TAKES_THOUGHTS)
    return can_read(thought.signature, endpoint) and has_place


def judge_request(request: Request, endpoint: Endpoint) -> CarryReport:
    """What this endpoint cannot carry of a request whose options are those that hold for it."""
    dialect = dialect_of(endpoint)
    losses = dict(_find_losses(request, endpoint, dialect))
    dropped = tuple(name for name, loss in losses.items() if loss == "dropped")
    unsuited = [name for name, loss in losses.items() if loss == "unsuited"]
    return CarryReport(dropped, f"it cannot take: {', '.join(unsuited)}" if unsuited else "")


def _find_losses(request: Request, endpoint: Endpoint, dialect: Dialect) -> Iterator[tuple[str, Loss]]:
    for name in _features_of(request):
        loss = LOSSES.get(name, {}).get(dialect) or _find_vendor_loss(name, request, endpoint, dialect)
        if loss is not None:
            yield name, loss
    for name, mark in _foreign_marks(request, dialect):
        yield name, "unsuited" if _is_meant(name, mark) else "dropped"
    for tool in request.tools:
        if isinstance(tool, Opaque) and tool.dialect != dialect:
            yield f"the tool {_name_of(tool.json)}", "unsuited"
    for part in _iter_parts(request.messages):
        if isinstance(part, Opaque) and part.dialect != dialect:
            yield f"a part of the type {_name_of(part.json)}", "unsuited"
        elif isinstance(part, Thought) and not can_return(part, endpoint):
            yield "thoughts", "dropped"
        elif isinstance(part, ToolCall | Text) and part.signature and not can_read(part.signature, endpoint):
            yield "signatures", "dropped"


def _find_vendor_loss(name: str, request: Request, endpoint: Endpoint, dialect: Dialect) -> Loss | None:
    """What hangs on more than the dialect."""
    options = request.options
    if name == "PDF" and dialect == "chat" and lacks(endpoint, Quirk.TAKES_FILES):
        return "unsuited"
    if name == "audio" and dialect == "chat" and lacks(endpoint, Quirk.TAKES_AUDIO):
        return "unsuited"
    if name == "top_k" and dialect == "chat" and lacks(endpoint, Quirk.TAKES_TOP_K):
        return "dropped"
    if name == "service_tier" and dialect == "anthropic" and options.service_tier not in _ANTHROPIC_TIERS:
        return "dropped"
    version = version_of(endpoint.model) if name == "effort" and dialect == "anthropic" else None
    return "dropped" if version is not None and version < _FIRST_THINKING_CLAUDE else None


def _features_of(request: Request) -> Iterator[str]:
    """The names of ``LOSSES`` that a request makes use of."""
    for part in _iter_parts(request.messages):
        if isinstance(part, Attachment):
            kind = {"document": "PDF"}.get(part.kind, part.kind)
            yield kind if part.url is None else f"{kind} by URL"
    present = {
        "stop": bool(request.stop),
        "json": request.json and request.schema is None,
        "parallel_tools": request.parallel_tools is False and bool(request.tools),
    }
    yield from (name for name, there in present.items() if there)
    yield from (name for name in OPTION_NAMES if getattr(request.options, name) is not None)


def _foreign_marks(request: Request, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    """The fields that only other dialects have."""
    marked = [request, *request.system_parts, *request.tools, *request.messages]
    for value in (*marked, *_iter_parts(request.messages)):
        if isinstance(value, Opaque) or value.marks is None:
            continue
        for owner, fields in value.marks.items():
            if owner != dialect:
                config = fields.get("generationConfig")
                named = {**fields, **(config if isinstance(config, Mapping) else {})}
                named.pop("generationConfig", None)
                if owner == "responses" and "store" in named:
                    named["stored response"] = named.pop("store")
                yield from ((name, mark) for name, mark in named.items() if name not in FORM_FIELDS)


def _is_meant(name: str, mark: object) -> bool:
    """Whether something else would be asked without this field. One answer is what is asked for anyway."""
    return name in MEANINGFUL_FIELDS and bool(mark) and not (name in {"n", "candidateCount"} and mark == 1)


def _iter_parts(messages: tuple[Message, ...]) -> Iterator[Part]:
    """Those within the results of tools as well."""
    for message in messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def _name_of(json: Mapping[str, Any]) -> str:
    named = json.get("type") or json.get("name") or next(iter(json), "")
    return str(named)[:60]
