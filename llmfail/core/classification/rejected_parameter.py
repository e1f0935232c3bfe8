"""Which parameter of the request a bad_request names, so that the call can be made once more without it."""

from __future__ import annotations

import re

from llmfail.core.classification.error_body import ErrorBody

_OUR_NAMES = {
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
_NAME_ALTERNATIVES = "|".join(sorted(_OUR_NAMES, key=len, reverse=True))
_QUOTED_NAME = re.compile(
    rf"[`'\"](?:[\w.]{{0,64}}\.)?({_NAME_ALTERNATIVES})(?:\.[\w.]{{0,64}})?[`'\"]", re.IGNORECASE
)
_LEADING_NAME = re.compile(
    rf"(?:[\w.]{{0,64}}\.)?({_NAME_ALTERNATIVES})(?:\.[\w.]{{1,64}})?: ", re.IGNORECASE
)
_UNKNOWN_PARAMETER_TEXT = re.compile(
    r"unsupported|not supported|unrecognized|unknown|extra|not permitted|unexpected", re.IGNORECASE
)


def find(error_body: ErrorBody) -> str | None:
    """``temperature``, ``stop``, ``max_tokens``, ``schema``, ``stream_options`` or None. The structured field
    counts before the text, and the text only where it quotes the name or begins with it. ``max_tokens``
    counts only when the server does not know that name, not when it refuses the value.
    """
    name = _find_in_path(error_body.parameter) or _find_in_text(error_body.message)
    if name == "max_tokens" and not _is_unknown_to_server(error_body):
        return None
    return name


def _find_in_path(path: str) -> str | None:
    """``temperature`` for ``generation_config.temperature``, ``schema`` for ``output_config.format``."""
    return next((_OUR_NAMES[part] for part in path.lower().split(".") if part in _OUR_NAMES), None)


def _find_in_text(message: str) -> str | None:
    found = _LEADING_NAME.match(message) or _QUOTED_NAME.search(message)
    return _OUR_NAMES[found[1].lower()] if found else None


def _is_unknown_to_server(error_body: ErrorBody) -> bool:
    return "unsupported_parameter" in error_body.codes or bool(
        _UNKNOWN_PARAMETER_TEXT.search(error_body.message)
    )
