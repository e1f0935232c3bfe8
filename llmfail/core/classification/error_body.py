"""What an error body says, whichever of the providers' shapes it has.

Shapes, all seen in the wild: ``error`` as an object (Anthropic, OpenAI, Google, OpenRouter) or a string
(xAI, Together, LM Studio); ``detail`` as a string or a list (FastAPI, Mistral); ``message`` beside
``object: error`` (Mistral, old vLLM); a list around the object (Vertex); ``choices[0].error`` (OpenRouter).
A body is a stranger's: every access checks its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from llmfail.core.classification.body import Payload

Object = Mapping[str, Any]
_NOTHING: Object = {}


class Fault(Struct, frozen=True):
    """``codes`` are the structured words of the body in lower case, most telling first; ``number`` is a code
    that is an HTTP status; ``details`` are Google's, ``metadata`` and ``availability`` OpenRouter's.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    number: int | None = None
    parameter: str = ""
    details: tuple[Object, ...] = ()
    metadata: Object = field(default_factory=dict)
    availability: Object = field(default_factory=dict)

    def detail(self, kind: str) -> Object:
        """The first of Google's details whose ``@type`` ends in ``kind``; empty when there is none."""
        return next((d for d in self.details if str(d.get("@type", "")).endswith(kind)), _NOTHING)


def find(payload: Payload, *, failed: bool) -> Fault | None:
    """The error in a body. In a reply that did not fail by its status, only what is plainly an error is one:
    a healthy body may well carry ``error: null``, ``message`` or ``detail``.
    """
    if isinstance(payload, list):
        payload = payload[0] if payload else None
    if not isinstance(payload, dict):
        return None
    error = payload.get("error") or _of_choice(payload)
    if isinstance(error, dict):
        return _from_object(error, payload)
    if isinstance(error, str):
        return _from_text(error, payload)
    if failed or payload.get("object") == "error" or payload.get("type") == "error":
        return _from_flat(payload)
    return None


def objects(value: object) -> Iterator[Object]:
    """The objects of what should be a list of objects."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _of_choice(payload: Object) -> object:
    return next((choice.get("error") for choice in objects(payload.get("choices"))), None)


def _from_object(error: Object, payload: Object) -> Fault:
    details = tuple(objects(error.get("details")))
    metadata = _object(error.get("metadata"))
    reasons = [str(d.get("reason")) for d in details if d.get("reason")]
    codes = [
        metadata.get("error_type"),
        _object(error.get("details")).get("error_code"),
        error.get("code"),
        _object(error.get("innererror")).get("code"),
        *reasons,
        metadata.get("provider_code"),
        error.get("type"),
        error.get("status"),
    ]
    return Fault(
        message=_message(error, payload, metadata),
        codes=_words(codes),
        number=_number(error.get("code")),
        parameter=_parameter(error, details),
        details=details,
        metadata=metadata,
        availability=_object(error.get("availability")),
    )


def _from_text(error: str, payload: Object) -> Fault:
    code = payload.get("code")
    message = _text(payload.get("error_description")) or error
    return Fault(message, _words([code, error]), _number(code), _text(payload.get("param")))


def _from_flat(payload: Object) -> Fault:
    detail = payload.get("detail")
    listed = tuple(objects(detail))
    message = "; ".join(map(_violation, listed)) or _text(detail) or _text(payload.get("message"))
    parameter = _text(payload.get("param")) or next((_place(v) for v in listed), "")
    code = payload.get("code")
    return Fault(message, _words([code, payload.get("type")]), _number(code), parameter)


def _message(error: Object, payload: Object, metadata: Object) -> str:
    """OpenRouter says only "Provider returned error" and keeps the provider's words in ``raw``."""
    message = _text(error.get("message")) or _text(payload.get("message")) or _text(error.get("type"))
    raw = _text(metadata.get("raw"))
    return f"{message}: {raw}" if raw else message


def _parameter(error: Object, details: tuple[Object, ...]) -> str:
    violations = (v for d in details for v in objects(d.get("fieldViolations")))
    return _text(error.get("param")) or next((_text(v.get("field")) for v in violations), "")


def _violation(violation: Object) -> str:
    return f"{_place(violation)}: {_text(violation.get('msg'))}".strip(": ")


def _place(violation: Object) -> str:
    where = violation.get("loc")
    return ".".join(str(part) for part in where if part != "body") if isinstance(where, list) else ""


def _text(value: object) -> str:
    """A message may be an object around the real one, or objects (Mistral)."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        listed = "; ".join(map(_violation, objects(value.get("detail"))))
        return listed or _text_of(value.get("message")) or _text_of(value.get("detail"))
    return ""


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else _NOTHING


def _words(values: list[object]) -> tuple[str, ...]:
    return tuple(value.strip().lower() for value in values if isinstance(value, str) and value.strip())


def _number(code: object) -> int | None:
    """An HTTP status, as a number or as a string of three digits."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code < 600:
        return code
    return None
