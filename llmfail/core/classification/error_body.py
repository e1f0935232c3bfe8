"""The error in a body, whichever of the providers' shapes it has.

Shapes, all seen in real replies: ``error`` as an object (Anthropic, OpenAI, Google, OpenRouter) or a string
(xAI, Together, LM Studio); ``detail`` as a string or a list (FastAPI, Mistral); ``message`` beside ``object:
error`` (Mistral, old vLLM); a list around the object (Vertex); ``choices[0].error`` (OpenRouter);
``response.error`` in a ``response.failed`` (OpenAI). A body may hold anything: every access checks its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.classification.body import Payload

JsonObject = Mapping[str, Any]
_EMPTY_OBJECT: JsonObject = {}
_MAX_ERROR_DEPTH = 20
_MAX_MESSAGE_CHARS = 10_000
"""Of a longer message the beginning is read: every rule about texts looks at no more."""


class ErrorBody(Struct, frozen=True):
    """``codes`` are the structured words of the body in lower case, the most specific first; ``number`` is a
    code that is an HTTP status; ``details`` are Google's, ``metadata`` and ``availability`` OpenRouter's.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    number: int | None = None
    parameter: str = ""
    details: tuple[JsonObject, ...] = ()
    metadata: JsonObject = field(default_factory=dict)
    availability: JsonObject = field(default_factory=dict)
    retry_hints: tuple[object, ...] = ()
    """What stands under the names by which bodies say when to come back."""
    is_upstream: bool = False
    """The error of a provider behind the router that was asked; ``number`` is the status that it had."""

    def find_detail(self, kind: str) -> JsonObject:
        """The first of Google's details whose ``@type`` ends in ``kind``; empty when there is none."""
        return next((d for d in self.details if str(d.get("@type", "")).endswith(kind)), _EMPTY_OBJECT)


def find_error(payload: Payload, *, failed: bool) -> ErrorBody | None:
    """The error in a body. When the status is no error, only an unmistakable one counts: a healthy body may
    have ``error: null``, ``message`` or ``detail``.
    """
    for one in payload if isinstance(payload, list) else (payload,):
        error = _find_error(one, failed=failed) if isinstance(one, dict) else None
        if error is not None:
            is_long = len(error.message) > _MAX_MESSAGE_CHARS
            return replace(error, message=error.message[:_MAX_MESSAGE_CHARS]) if is_long else error
    return None


def _find_error(payload: JsonObject, *, failed: bool) -> ErrorBody | None:
    error = payload.get("error") or _find_choice_error(payload) or _find_response_error(payload)
    if not failed and payload.get("choices") and (error is None or _is_empty(error)):
        return None
    if isinstance(error, dict):
        return _parse_error_object(error, payload)
    if isinstance(error, str):
        return _parse_error_text(error, payload)
    if failed or payload.get("object") == "error" or payload.get("type") == "error":
        listed = next(iter_objects(payload.get("errors")), None)
        return _parse_flat_error(payload) if listed is None else _parse_error_object(listed, payload)
    return None


def iter_objects(value: object) -> Iterator[JsonObject]:
    """The objects in a value that should be a list of objects."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _is_empty(value: object, depth: int = 0) -> bool:
    """Whether there is no text and no number other than 0 in it. What is nested deeper than any error is
    taken for something.
    """
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth < _MAX_ERROR_DEPTH and all(_is_empty(one, depth + 1) for one in inner)
    return not value.strip() if isinstance(value, str) else not value


def _find_choice_error(payload: JsonObject) -> object:
    choices = payload.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict):
                return choice.get("error")
    return None


def _find_response_error(payload: JsonObject) -> object:
    """The last event of a stream of OpenAI's Responses that failed."""
    return (
        _as_object(payload.get("response")).get("error") if payload.get("type") == "response.failed" else None
    )


def _parse_error_object(error: JsonObject, payload: JsonObject) -> ErrorBody:
    while isinstance(inner := error.get("error"), dict):
        error, payload = inner, error
    details = tuple(iter_objects(error.get("details")))
    metadata = _as_object(error.get("metadata"))
    reasons = [str(d.get("reason")) for d in details if d.get("reason")]
    codes = [
        metadata.get("error_type"),
        _as_object(error.get("details")).get("error_code"),
        error.get("code"),
        _as_object(error.get("innererror")).get("code"),
        *reasons,
        metadata.get("provider_code"),
        error.get("type"),
        error.get("status"),
    ]
    return ErrorBody(
        message=_read_message(error, payload, metadata),
        codes=_read_codes(codes),
        number=_read_http_status(error.get("code")),
        parameter=_read_parameter(error, details),
        details=details,
        metadata=metadata,
        availability=_as_object(error.get("availability")),
        retry_hints=_read_retry_hints(error, payload),
    )


def _parse_error_text(error: str, payload: JsonObject) -> ErrorBody:
    code = payload.get("code")
    message = _read_text(payload.get("error_description")) or error
    return ErrorBody(
        message, _read_codes([code, error]), _read_http_status(code), _read_text(payload.get("param"))
    )


def _parse_flat_error(payload: JsonObject) -> ErrorBody:
    detail = payload.get("detail")
    violations = tuple(iter_objects(detail))
    message = (
        "; ".join(map(_describe_violation, violations))
        or _read_text(detail)
        or _read_text(payload.get("message"))
        or _read_text(payload.get("msg"))
        or _read_text(payload.get("error_message"))
    )
    parameter = _read_text(payload.get("param")) or next((_read_place(v) for v in violations), "")
    code = payload.get("code")
    codes = _read_codes([payload.get("__type"), code, payload.get("type")])
    return ErrorBody(
        message, codes, _read_http_status(code), parameter, retry_hints=_read_retry_hints(payload)
    )


_RETRY_KEYS = ("retry_after", "retryAfter", "retryDelay", "resets_at")


def _read_retry_hints(*objects: JsonObject) -> tuple[object, ...]:
    return tuple(one[name] for one in objects for name in _RETRY_KEYS if one.get(name))


def _read_message(error: JsonObject, payload: JsonObject, metadata: JsonObject) -> str:
    """OpenRouter's message may be only "Provider returned error", with the provider's text in ``raw``."""
    message = (
        _read_text(error.get("message"))
        or _read_text(error.get("msg"))
        or _read_text(error.get("error_message"))
        or _read_text(error.get("detail"))
        or _read_text(payload.get("message"))
        or _read_text(error.get("type"))
    )
    raw = _read_text(metadata.get("raw"))
    return f"{message}: {raw}" if raw else message


def _read_parameter(error: JsonObject, details: tuple[JsonObject, ...]) -> str:
    violations = (v for d in details for v in iter_objects(d.get("fieldViolations")))
    return _read_text(error.get("param")) or next((_read_text(v.get("field")) for v in violations), "")


def _describe_violation(violation: JsonObject) -> str:
    return f"{_read_place(violation)}: {_read_text(violation.get('msg'))}".strip(": ")


def _read_place(violation: JsonObject) -> str:
    location = violation.get("loc")
    return ".".join(str(part) for part in location if part != "body") if isinstance(location, list) else ""


def _read_text(value: object) -> str:
    """The text of a message, which may also be an object around it, or objects (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        violations = "; ".join(map(_describe_violation, iter_objects(value.get("detail"))))
        return violations or _as_text(value.get("message")) or _as_text(value.get("detail"))
    return ""


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _as_object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else _EMPTY_OBJECT


def _read_codes(values: list[object]) -> tuple[str, ...]:
    return tuple(value.strip().lower() for value in values if isinstance(value, str) and value.strip())


def _read_http_status(code: object) -> int | None:
    """An HTTP status, as a number or as a string of three digits."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
        return code
    return None
