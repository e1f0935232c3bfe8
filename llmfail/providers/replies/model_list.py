"""The models that a program may name, and how many tokens a request has.

One list serves the readers of OpenAI and of Anthropic; Gemini has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llmfail.core.conversation import Dialect
from llmfail.core.receipt import format_time
from llmfail.providers.encoding import encode_json

_METHODS: Final = ("generateContent", "streamGenerateContent", "countTokens", "embedContent")


def write_model_list(dialect: Dialect, names: Sequence[str], created_at: int) -> bytes:
    """``created_at`` is in epoch seconds."""
    models = [_describe(dialect, name, created_at) for name in names]
    if dialect == "gemini":
        return encode_json({"models": models})
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    return encode_json({"object": "list", "data": models, "has_more": False, **ends})


def write_model(dialect: Dialect, name: str, created_at: int) -> bytes:
    return encode_json(_describe(dialect, name, created_at))


def write_token_count(dialect: Dialect, tokens: int) -> bytes:
    match dialect:
        case "gemini":
            return encode_json({"totalTokens": tokens})
        case "anthropic":
            return encode_json({"input_tokens": tokens})
        case _:
            return encode_json({"object": "response.input_tokens", "input_tokens": tokens})


def _describe(dialect: Dialect, name: str, created_at: int) -> dict[str, Any]:
    if dialect == "gemini":
        named = {"name": f"models/{name}", "version": "1", "displayName": name}
        return {**named, "supportedGenerationMethods": _METHODS}
    own = {"id": name, "object": "model", "created": created_at, "owned_by": "llmfail"}
    return {**own, "type": "model", "display_name": name, "created_at": format_time(created_at)}
