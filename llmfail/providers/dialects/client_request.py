"""What a program asked over HTTP, of its path and body: the request, and how it wants to be answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.conversation import Dialect, Tool
from llmfail.core.errors import UsageError
from llmfail.core.request.ask import RequestDocument
from llmfail.providers.decoding import as_clean_text, as_mapping
from llmfail.providers.dialects.request_document import read_request
from llmfail.providers.encoding import marks_for


class AskedReply(Struct, frozen=True):
    """On what a reply depends besides the answer. ``dialect`` is that of the reply, ``created_at`` in epoch
    seconds. ``as_array``: Gemini's streams that are no server-sent events are an array. ``may_relay``: a
    target of this dialect may be sent the body as it is. ``input_tokens`` is about how many the request has,
    until a provider tells. ``tool_names`` are the namespaces and names of tools by their name here, and
    ``repeated`` what a reply repeats of its request.
    """

    dialect: Dialect
    model: str = ""
    id: str = ""
    created_at: int = 0
    stream: bool = False
    include_usage: bool = False
    as_array: bool = False
    may_relay: bool = True
    input_tokens: int = 0
    tool_names: Mapping[str, tuple[str, str]] = {}
    repeated: Mapping[str, Any] = {}


class ClientRequest(Struct, frozen=True):
    document: RequestDocument
    asked: AskedReply


_REPEATED: Final = (
    *("max_output_tokens", "metadata", "parallel_tool_calls", "prompt_cache_key", "reasoning"),
    *("safety_identifier", "service_tier", "temperature", "text", "tool_choice", "top_logprobs", "top_p"),
    *("truncation", "user"),
)
STREAM_VERB: Final = "streamGenerateContent"


def read_client_request(
    dialect: Dialect, body: bytes, *, model: str = "", verb: str = "", query: Mapping[str, str] | None = None
) -> ClientRequest:
    """``model`` and ``verb`` stand in the path of a request to Gemini. Raises UsageError."""
    document = read_object(body)
    if dialect == "chat" and "messages" not in document and "input" in document:
        return _read_mixed(document)
    read = read_request(document, dialect)
    asked = AskedReply(
        dialect,
        model or _read_model(document),
        stream=document.get("stream") is True,
        include_usage=dialect == "chat" and _wants_usage(document),
    )
    match dialect:
        case "responses":
            return ClientRequest(read, _repeat(asked, document, read))
        case "gemini":
            return ClientRequest(read, _in_gemini(asked, verb, query or {}))
        case _:
            return ClientRequest(read, asked)


def read_count_request(dialect: Dialect, body: bytes, *, model: str = "") -> ClientRequest:
    """A request whose input tokens are counted. Gemini takes a whole one within it. Raises UsageError."""
    document = read_object(body)
    if dialect == "gemini":
        document = as_mapping(document.get("generateContentRequest")) or document
    named = model or _read_model(document)
    return ClientRequest(read_request(document, dialect), AskedReply(dialect, named.removeprefix("models/")))


def read_object(body: bytes) -> Mapping[str, Any]:
    """Raises UsageError."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageError("the body is JSON, but not an object")
    return document


def _read_model(document: Mapping[str, Any]) -> str:
    model = document.get("model")
    if model is not None and not isinstance(model, str):
        raise UsageError("model is a text")
    return as_clean_text(model)


def _read_mixed(document: Mapping[str, Any]) -> ClientRequest:
    """Cursor writes a request to Responses where it wants to be answered as Chat Completions answers."""
    read = read_request(document, "responses")
    asked = AskedReply(
        "chat",
        _read_model(document),
        stream=document.get("stream") is True,
        include_usage=_wants_usage(document),
        may_relay=False,
    )
    return ClientRequest(read, asked)


def _wants_usage(document: Mapping[str, Any]) -> bool:
    """Whether the end of a stream shall tell what was used."""
    options = document.get("stream_options")
    return options is not None and as_mapping(options).get("include_usage") is True


def _repeat(asked: AskedReply, document: Mapping[str, Any], read: RequestDocument) -> AskedReply:
    repeated = {name: document[name] for name in _REPEATED if document.get(name) is not None}
    names = {}
    for tool in read.fields.get("tools") or ():
        namespace = (
            as_mapping(marks_for("responses", tool).get("namespace")) if isinstance(tool, Tool) else {}
        )
        if namespace:
            space = as_clean_text(namespace.get("name"))
            names[tool.name] = (space, tool.name.removeprefix(f"{space}__"))
    return replace(asked, repeated=repeated, tool_names=names)


def _in_gemini(asked: AskedReply, verb: str, query: Mapping[str, str]) -> AskedReply:
    is_stream = verb == STREAM_VERB
    is_events = query.get("alt") == "sse"
    return replace(asked, stream=is_stream and is_events, as_array=is_stream and not is_events)
