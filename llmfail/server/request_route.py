"""What a method and a path ask for, by the path as it was sent. Pure."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from llmfail.core.conversation import Dialect

RouteKind = Literal["ask", "count", "embed", "list_models", "show_model"]


class Route(Struct, frozen=True):
    """``model`` and ``verb`` stand in the paths of Gemini."""

    kind: RouteKind
    dialect: Dialect
    model: str = ""
    verb: str = ""


class NoRoute(Exception):
    """Nothing is served there, or not with this method."""

    def __init__(self, dialect: Dialect, message: str, allow: str = "") -> None:
        super().__init__(message)
        self.dialect = dialect
        self.message = message
        self.allow = allow


_FIXED: dict[str, tuple[str, Route]] = {
    "/v1/chat/completions": ("POST", Route("ask", "chat")),
    "/v1/responses": ("POST", Route("ask", "responses")),
    "/v1/responses/input_tokens": ("POST", Route("count", "responses")),
    "/v1/messages": ("POST", Route("ask", "anthropic")),
    "/v1/messages/count_tokens": ("POST", Route("count", "anthropic")),
    "/v1/embeddings": ("POST", Route("embed", "chat")),
    "/v1/models": ("GET", Route("list_models", "chat")),
    "/v1beta/models": ("GET", Route("list_models", "gemini")),
}
_GEMINI_VERB = re.compile(r"/v1(?:beta)?/models/(?P<model>[^?#]+):(?P<verb>[A-Za-z]+)")
_MODEL = re.compile(r"/(?P<version>v1|v1beta)/models/(?P<model>[^?#]+)")
_GEMINI_KINDS: dict[str, RouteKind] = {
    "generateContent": "ask",
    "streamGenerateContent": "ask",
    "countTokens": "count",
    "embedContent": "embed",
    "batchEmbedContents": "embed",
}
_HINTS = {
    "/v1/completions": "legacy completions are not served; POST /v1/chat/completions instead",
    "/chat/completions": "the base URL of this API ends in /v1",
    "/responses": "the base URL of this API ends in /v1",
    "/embeddings": "the base URL of this API ends in /v1",
    "/v1/v1": "the base URL of this API has one /v1 too many",
    "/v1/images": "images are not served; there are chat completions, responses, messages and embeddings",
    "/v1/audio": "audio is not served; there are chat completions, responses, messages and embeddings",
    "/v1/files": "files are not served",
    "/v1/batches": "batches are not served; `llmfail batch` runs such a file",
    "/v1/messages/batches": "batches are not served; `llmfail batch` runs such a file",
    "/v1/realtime": "realtime is not served; POST /v1/responses with stream instead",
    "/v1/responses/": "stored responses are not served; send the conversation each time",
}


def find_route(method: str, path: str) -> Route:
    """Raises NoRoute."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        _require_method(method, fixed[0], path, fixed[1].dialect)
        return fixed[1]
    if found := _GEMINI_VERB.fullmatch(path):
        kind = _GEMINI_KINDS.get(found["verb"])
        if kind is None:
            raise NoRoute("gemini", f"{found['verb']} is not served; there are: {', '.join(_GEMINI_KINDS)}")
        _require_method(method, "POST", path, "gemini")
        return Route(kind, "gemini", unquote(found["model"]), found["verb"])
    if found := _MODEL.fullmatch(path):
        dialect: Dialect = "gemini" if found["version"] == "v1beta" else "chat"
        _require_method(method, "GET", path, dialect)
        return Route("show_model", dialect, unquote(found["model"]))
    raise NoRoute(dialect_of(path), _explain(path))


def dialect_of(path: str) -> Dialect:
    """In which form whoever asks there expects an error."""
    if path.startswith("/v1/messages"):
        return "anthropic"
    if path.startswith("/v1beta/") or _GEMINI_VERB.fullmatch(path):
        return "gemini"
    return "responses" if path.startswith("/v1/responses") else "chat"


def _require_method(method: str, wanted: str, path: str, dialect: Dialect) -> None:
    if method != wanted:
        raise NoRoute(dialect, f"{path} takes {wanted}, not {method[:20]}", wanted)


def _explain(path: str) -> str:
    near = [prefix for prefix in _HINTS if path.startswith(prefix)]
    return _HINTS[max(near, key=len)] if near else "there is nothing at this path"
