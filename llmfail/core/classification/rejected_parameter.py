"""Which of our parameters a bad_request names, so that the call can be made once more without it."""

from __future__ import annotations

import re

from llmfail.core.classification.error_body import Fault

_OURS = {
    "temperature": "temperature",
    "stop": "stop",
    "stop_sequences": "stop",
    "stopsequences": "stop",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxoutputtokens": "max_tokens",
    "response_format": "schema",
    "responsejsonschema": "schema",
    "response_json_schema": "schema",
    "responsemimetype": "schema",
    "response_mime_type": "schema",
    "output_config": "schema",
    "stream_options": "stream_options",
}
_NAMES = "|".join(sorted(_OURS, key=len, reverse=True))
_QUOTED = re.compile(rf"[`'\"](?:[\w.]*\.)?({_NAMES})(?:\.[\w.]*)?[`'\"]", re.IGNORECASE)
_LEADING = re.compile(rf"(?:[\w.]*\.)?({_NAMES})(?:\.[\w.]+)?: ", re.IGNORECASE)
_UNKNOWN = re.compile(
    r"unsupported|not supported|unrecognized|unknown|extra|not permitted|unexpected", re.IGNORECASE
)


def named(fault: Fault) -> str | None:
    """``temperature``, ``stop``, ``max_tokens``, ``schema``, ``stream_options`` or None. The structured
    field wins; a text counts only where it quotes the name or begins with it. ``max_tokens`` counts only when
    the server does not know it by that name, not when its value does not please.
    """
    name = _of_path(fault.parameter) or _of_text(fault.message)
    if name == "max_tokens" and not _unknown(fault):
        return None
    return name


def _of_path(path: str) -> str | None:
    """``generation_config.temperature`` or ``output_config.format`` -> ours."""
    return next((_OURS[part] for part in path.lower().split(".") if part in _OURS), None)


def _of_text(message: str) -> str | None:
    found = _LEADING.match(message) or _QUOTED.search(message)
    return _OURS[found[1].lower()] if found else None


def _unknown(fault: Fault) -> bool:
    return "unsupported_parameter" in fault.codes or bool(_UNKNOWN.search(fault.message))
