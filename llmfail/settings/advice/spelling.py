"""Keys and URLs that are valid as texts and cannot be meant as they are written, with the right spelling.

A key is not shown; only what is no key, because it is the name of a variable, is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from llmfail.core.model import LazySecret
from llmfail.settings.reading.plain_values import Finding
from llmfail.settings.schema.provider_types import Provider
from llmfail.settings.schema.settings import Settings

_NAME: Final = r"([A-Za-z_][A-Za-z0-9_]*)"
_REFERENCE_PATTERNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\${_NAME}",
        rf"\$\({_NAME}\)",
        rf"\$\{{{_NAME}\}}",
        rf"%{_NAME}%",
        rf"(?:os\.environ|env|ENV)[/:.]{_NAME}",
        rf"(?:process\.env|os\.environ)\.{_NAME}",
        r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN))",
    )
)
"""How other programs write a reference to a variable, and a variable's name alone."""
_PLACEHOLDER_PATTERN: Final = re.compile(
    r"<.*>|(?:sk-)?(?:\.\.\.|…|x{4,})|your[-_ ].*|change-?me", re.IGNORECASE
)
_QUOTES: Final = ('"', "'")
_ENDPOINTS: Final = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/v1/messages",
    "/messages",
    "/models",
)
"""Paths that llmfail adds to a base_url by itself."""


def check_spelling(settings: Settings) -> Iterator[Finding]:
    for name, provider in settings.providers.items():
        for key in ("api_key", "token"):
            problem = _describe_key(provider, key)
            if problem is not None:
                yield ("providers", name, key), problem
        problem = _describe_url(provider)
        if problem is not None:
            yield ("providers", name, "base_url"), problem


def _describe_key(provider: Provider, field: str) -> str | None:
    secret = getattr(provider, field)
    if secret is None or isinstance(secret, LazySecret):
        return None
    text = secret.reveal()
    for pattern in _REFERENCE_PATTERNS:
        if found := pattern.fullmatch(text):
            return f"{text} would be sent as it stands; an environment variable is written ${{{found[1]}}}"
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        where = f"the value of {provider.key_variable}" if provider.key_variable else "the key"
        return f"{where} has quotation marks, which would be sent too (docker's --env-file keeps them)"
    if _PLACEHOLDER_PATTERN.fullmatch(text):
        return "stands for a key and is none; ${NAME} reads one from the environment"
    return None


def _describe_url(provider: Provider) -> str | None:
    """A base URL that names an operation already, or the version that the wire format adds."""
    url = provider.base_url or ""
    ending = next((one for one in _ENDPOINTS if url.endswith(one)), None)
    if ending is not None:
        return f"{ending} is added to it; write {url.removesuffix(ending)}"
    if provider.api == "anthropic" and url.endswith("/v1"):
        return f"/v1 is added to it; write {url.removesuffix('/v1')}"
    if provider.api == "gemini" and (found := re.search(r"/v1(?:beta|alpha)?$", url)):
        return f"{found[0]} is added to it, as api_version says; write {url.removesuffix(found[0])}"
    return None
