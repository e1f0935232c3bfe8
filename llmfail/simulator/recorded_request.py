"""A request as the simulator saw it: who was asked, for what, in which wire format.

The provider is the first segment of the path; the rest of the path tells the format, so one server plays
every provider. What a client sends may be anything: what is not understood counts as empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from llmfail.core.model import Api

Operation = Literal["generate", "embed", "count", "unknown"]
Format = Literal["anthropic", "openai", "responses", "gemini"]

_GOOGLE_OPERATIONS: Mapping[str, Operation] = {
    "generateContent": "generate",
    "streamGenerateContent": "generate",
    "rawPredict": "generate",
    "streamRawPredict": "generate",
    "embedContent": "embed",
    "batchEmbedContents": "embed",
    "predict": "embed",
    "countTokens": "count",
}
_LIMIT_KEYS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_INPUT_KEYS = ("system", "systemInstruction", "instructions", "messages", "contents", "input")
_ROUTES: tuple[tuple[re.Pattern[str], Api, Format, Operation | None], ...] = (
    (re.compile(r"/v1/messages"), "anthropic", "anthropic", "generate"),
    (re.compile(r"/v1/messages/count_tokens"), "anthropic", "anthropic", "count"),
    (re.compile(r"(?:/v1)?/chat/completions"), "openai", "openai", "generate"),
    (re.compile(r"(?:/v1)?/embeddings"), "openai", "openai", "embed"),
    (re.compile(r"(?:/v1)?/responses"), "openai", "responses", "generate"),
    (re.compile(r"(?:/v1)?/responses/input_tokens"), "openai", "openai", "count"),
    (re.compile(r"/v1(?:beta)?/models/(?P<model>[^:]+):(?P<verb>\w+)"), "gemini", "gemini", None),
    (
        re.compile(
            r"/v1(?:beta1)?(?:/projects/[^/]+/locations/[^/]+)?/publishers/google/models/(?P<model>[^:]+):(?P<verb>\w+)"
        ),
        "vertex",
        "gemini",
        None,
    ),
    (
        re.compile(
            r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<model>[^:]+):(?P<verb>\w+)"
        ),
        "vertex",
        "anthropic",
        None,
    ),
)


@dataclass(frozen=True, slots=True)
class RequestRoute:
    """``api`` is the vendor whose errors these are, ``format`` the shape of request and answer: Claude on
    Vertex is asked and answers in Anthropic's format. ``sse`` is False where Google streams one JSON array.
    """

    api: Api
    format: Format
    operation: Operation
    model: str = ""
    stream: bool = False
    sse: bool = True
    batch: bool = False


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request, numbered from 1 by arrival. Header names are lower case. It carries whatever key the
    client sent, so headers and body stay out of the repr.
    """

    number: int
    provider: str
    model: str
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    document: Mapping[str, Any] = field(repr=False)
    """The body as JSON; empty when it is not a JSON object."""
    route: RequestRoute = field(repr=False)

    @property
    def target(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        turns = self.document.get("messages") or self.document.get("contents") or self.document.get("input")
        return text_of(turns[-1]) if isinstance(turns, list) and turns else text_of(turns)

    @property
    def input_text(self) -> str:
        """Everything that is read: the system text, all messages, and the tools as they are written."""
        inner = self.document.get("generateContentRequest")
        document = inner if isinstance(inner, Mapping) else self.document
        tools = [json.dumps(document["tools"])] if document.get("tools") else []
        return text_of([*(document.get(key) for key in _INPUT_KEYS), *tools])

    @property
    def max_tokens(self) -> int | None:
        config = self.document.get("generationConfig")
        google = config.get("maxOutputTokens") if isinstance(config, Mapping) else None
        found = next((self.document[name] for name in _LIMIT_KEYS if self.document.get(name)), google)
        return found if isinstance(found, int) else None

    @property
    def texts_to_embed(self) -> list[str]:
        document = self.document
        items = (
            document.get("input")
            or document.get("instances")
            or document.get("requests")
            or document.get("content")
        )
        return [text_of(item) for item in items] if isinstance(items, list) else [text_of(items)]


def read_document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def match_route(path: str, document: Mapping[str, Any], api: Api) -> RequestRoute:
    """The route of a path without its provider; ``api`` is what the provider speaks, should it be none."""
    bare, _, query = path.partition("?")
    for pattern, its_api, its_format, operation in _ROUTES:
        if match := pattern.fullmatch(bare):
            if operation is None:
                return _build_google_route(match, its_api, its_format, query, _read_model(document))
            return RequestRoute(
                its_api,
                its_format,
                operation,
                model=_read_model(document),
                stream=document.get("stream") is True,
            )
    return RequestRoute(api, "gemini" if api == "vertex" else api, "unknown")


def text_of(value: object) -> str:
    """All the text in a message, a list of parts, or whatever else was sent in their place."""
    match value:
        case str():
            return value
        case list():
            return "\n".join(filter(None, map(text_of, value)))
        case {"text": str(text)}:
            return text
        case {"content": inner} | {"parts": inner}:
            return text_of(inner)
        case {"functionResponse": {"response": {"result": str(text)}}} | {"output": str(text)}:
            return text
        case _:
            return ""


def _read_model(document: Mapping[str, Any]) -> str:
    model = document.get("model")
    return model if isinstance(model, str) else ""


def _build_google_route(
    match: re.Match[str], api: Api, its_format: Format, query: str, body_model: str
) -> RequestRoute:
    """``body_model`` is the model in the body: where Vertex counts for Claude, the path has another word."""
    verb = match["verb"]
    if its_format == "anthropic" and match["model"] == "count-tokens":
        return RequestRoute(api, its_format, "count", model=body_model)
    return RequestRoute(
        api,
        its_format,
        _GOOGLE_OPERATIONS.get(verb, "unknown"),
        model=unquote(match["model"]),
        stream=verb.startswith("stream"),
        sse=its_format == "anthropic" or "alt=sse" in query,
        batch=verb == "batchEmbedContents",
    )
