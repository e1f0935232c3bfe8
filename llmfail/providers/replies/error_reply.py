"""Why a program that asked over HTTP gets no answer: the status, and the body in the words of its dialect.

A message begins with the most telling sentence of a provider, because agents recognise it. No status may make
a program ask its user to log in, or repeat what the whole chain has tried already.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Final, Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.classification.outcome import Kind
from llmfail.core.conversation import Dialect
from llmfail.core.errors import ExitCode
from llmfail.core.receipt import QUEUED, Receipt, SkipReason, TrailEntry
from llmfail.providers.encoding import encode_json
from llmfail.providers.replies.context_overflow import describe_overflow

ErrorKind = Literal[
    "unauthorized",
    "forbidden",
    "unknown_model",
    "unknown_path",
    "wrong_method",
    "wrong_type",
    "too_large",
    "unreadable",
    "rate_limited",
    "busy",
    "bug",
    "over_budget",
    "refused",
    "context_overflow",
    "blocked",
    "unavailable",
    "credentials",
    "deadline",
    "broken_off",
]


class ErrorReply(Struct, frozen=True):
    """``retry_after`` in seconds, None where nobody knows; ``trail`` are targets with what became of them."""

    kind: ErrorKind
    message: str
    status: int = 0
    """Another than that of the kind."""
    retry_after: float | None = None
    id: str = ""
    trail: tuple[tuple[str, str], ...] = ()


class _Words(Struct, frozen=True):
    """What an error is called: by its status, by OpenAI (type and code), by Anthropic, and by Google."""

    status: int
    openai: str
    code: str | None
    anthropic: str
    gemini: str


_INVALID: Final = "invalid_request_error"
_WORDS: Final[Mapping[ErrorKind, _Words]] = {
    "unauthorized": _Words(401, _INVALID, "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "forbidden": _Words(403, _INVALID, "forbidden", "permission_error", "PERMISSION_DENIED"),
    "unknown_model": _Words(404, _INVALID, "model_not_found", "not_found_error", "NOT_FOUND"),
    "unknown_path": _Words(404, _INVALID, "unknown_url", "not_found_error", "NOT_FOUND"),
    "wrong_method": _Words(405, _INVALID, "method_not_allowed", _INVALID, "UNIMPLEMENTED"),
    "wrong_type": _Words(415, _INVALID, "unsupported_media_type", _INVALID, "INVALID_ARGUMENT"),
    "too_large": _Words(413, _INVALID, "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    "unreadable": _Words(400, _INVALID, None, _INVALID, "INVALID_ARGUMENT"),
    "rate_limited": _Words(
        429, "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"
    ),
    "busy": _Words(503, "server_error", "server_is_overloaded", "overloaded_error", "UNAVAILABLE"),
    "bug": _Words(500, "server_error", None, "api_error", "INTERNAL"),
    "over_budget": _Words(
        402, "insufficient_quota", "budget_exceeded", "billing_error", "RESOURCE_EXHAUSTED"
    ),
    "refused": _Words(400, _INVALID, None, _INVALID, "INVALID_ARGUMENT"),
    "context_overflow": _Words(400, _INVALID, "context_length_exceeded", _INVALID, "INVALID_ARGUMENT"),
    "blocked": _Words(400, _INVALID, "content_policy_violation", _INVALID, "INVALID_ARGUMENT"),
    "unavailable": _Words(503, "server_error", "no_target", "overloaded_error", "UNAVAILABLE"),
    "credentials": _Words(503, "server_error", "upstream_credentials", "api_error", "UNAVAILABLE"),
    "deadline": _Words(504, "timeout", "timeout", "timeout_error", "DEADLINE_EXCEEDED"),
    "broken_off": _Words(503, "server_error", "answer_broken_off", "api_error", "UNAVAILABLE"),
}
_WAITABLE: Final = frozenset({"rate_limited", "busy", "unavailable"})
"""Where the same request may be answered a little later."""
LONGEST_REPEAT_SECONDS: Final = 30.0
"""For longer no program shall wait by itself."""
_REPEATED_STATUSES: Final = frozenset({408, 409, 429})
"""Those below 500 that official SDKs repeat by themselves."""
_FIRST_SERVER_STATUS: Final = 500
_CODES: Final[Mapping[int, ErrorKind]] = {
    ExitCode.USAGE: "unreadable",
    ExitCode.UNAVAILABLE: "unavailable",
    ExitCode.OVER_BUDGET: "over_budget",
    ExitCode.REQUEST_REFUSED: "refused",
    ExitCode.CREDENTIALS_MISSING: "credentials",
    ExitCode.DEADLINE_PASSED: "deadline",
    ExitCode.INCOMPLETE: "broken_off",
}
_REFUSALS: Final[Mapping[str, ErrorKind]] = {
    Kind.CONTENT_BLOCKED: "blocked",
    Kind.REFUSAL: "blocked",
    "too_large": "context_overflow",
}
_LIMITS: Final = frozenset({Kind.RATE_LIMITED, Kind.QUOTA, SkipReason.RATE_LIMITED_HERE})


_TELLING: Final = (
    frozenset({Kind.CONTEXT_OVERFLOW}),
    frozenset({Kind.BAD_REQUEST, Kind.CONTENT_BLOCKED, Kind.REFUSAL}),
)
"""Of which outcomes a provider's sentence comes first; then that of the last call, then any."""
_QUOTED: Final = frozenset({"refused", "context_overflow", "blocked", "unavailable"})
"""Kinds of errors that a provider has explained; others are best explained by us."""
_FIRST_REQUEST_STATUS: Final = 400
_TOO_MANY: Final = 429
_LOGIN_STATUSES: Final = frozenset({401, 403, 407})


def error_from_receipt(receipt: Receipt, now: float) -> ErrorReply:
    """``now`` is in epoch seconds. What waits in the queue is asked again there, and not by its program."""
    failure = receipt.error
    assert failure is not None, "there is an answer"
    kind = _CODES.get(failure.code, "bug")
    if kind == "refused":
        kind = _REFUSALS.get(failure.kind, kind)
    is_queued = failure.kind == QUEUED
    entry = _find_telling(receipt) if kind in _QUOTED and not is_queued else None
    if kind == "context_overflow" and entry is not None and _is_about_output(entry):
        kind = "refused"
    return ErrorReply(
        kind,
        failure.message if entry is None else f"{entry.note} ({_describe_trail(receipt)})",
        status=_find_status(receipt, kind, entry),
        retry_after=None if receipt.retry_at is None or is_queued else max(receipt.retry_at - now, 0.0),
        id=receipt.id,
        trail=list_trail(receipt),
    )


def list_trail(receipt: Receipt) -> tuple[tuple[str, str], ...]:
    return tuple((str(entry.target), entry.outcome) for entry in receipt.trail)


def broken_off(receipt: Receipt) -> ErrorReply:
    """What ends an answer that has begun, or of which a program was told that it might."""
    if receipt.error is not None and receipt.error.code != ExitCode.INCOMPLETE:
        return error_from_receipt(receipt, 0.0)
    message = "the answer broke off" if receipt.error is None else receipt.error.message
    return ErrorReply("broken_off", message, id=receipt.id, trail=list_trail(receipt))


def write_error(dialect: Dialect, error: ErrorReply) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers."""
    status = error.status or _WORDS[error.kind].status
    headers = {"content-type": "application/json"}
    if error.retry_after is not None and error.kind in _WAITABLE:
        headers["retry-after"] = str(max(ceil(error.retry_after), 1))
    is_repeated = status in _REPEATED_STATUSES or status >= _FIRST_SERVER_STATUS
    if is_repeated and not may_repeat(error):
        headers["x-should-retry"] = "false"
    return status, encode_json(describe_error(dialect, error)), headers


def may_repeat(error: ErrorReply) -> bool:
    """Whether it helps to ask again, at a moment that is known and near."""
    known = error.retry_after is not None and error.retry_after <= LONGEST_REPEAT_SECONDS
    return known and error.kind in _WAITABLE


def describe_error(dialect: Dialect, error: ErrorReply) -> dict[str, Any]:
    if error.kind == "context_overflow":
        error = replace(error, message=describe_overflow(dialect, error.message))
    match dialect:
        case "chat" | "responses":
            return describe_openai(error)
        case "anthropic":
            return describe_anthropic(error)
        case "gemini":
            return describe_gemini(error)
        case _:
            assert_never(dialect)


def describe_openai(error: ErrorReply) -> dict[str, Any]:
    words = _WORDS[error.kind]
    is_limit = error.status == _TOO_MANY
    kind = _WORDS["rate_limited"].openai if is_limit else words.openai
    code = _WORDS["rate_limited"].code if is_limit else words.code
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}, **_own(error)}


def describe_anthropic(error: ErrorReply) -> dict[str, Any]:
    kind = _WORDS["rate_limited" if error.status == _TOO_MANY else error.kind].anthropic
    request_id = {"request_id": error.id} if error.id else {}
    return {"type": "error", "error": {"type": kind, "message": error.message}, **request_id, **_own(error)}


def describe_gemini(error: ErrorReply) -> dict[str, Any]:
    words = _WORDS["rate_limited" if error.status == _TOO_MANY else error.kind]
    code = error.status or words.status
    return {"error": {"code": code, "message": error.message, "status": words.gemini}, **_own(error)}


def _own(error: ErrorReply) -> dict[str, Any]:
    """For who reads more than the dialect has; no text of a provider is in it."""
    if not error.id:
        return {}
    trail = [{"target": target, "outcome": outcome} for target, outcome in error.trail]
    return {"llmfail": {"id": error.id, "trail": trail}}


def _find_telling(receipt: Receipt) -> TrailEntry | None:
    noted = [entry for entry in receipt.trail if entry.note]
    for kinds in _TELLING:
        if found := [entry for entry in noted if entry.outcome in kinds]:
            return found[-1]
    called = [entry for entry in noted if entry.action == "called"]
    return next(reversed(called or noted), None)


def _is_about_output(entry: TrailEntry) -> bool:
    """A target whose answers are too short for what is asked for has not too short a context."""
    return entry.outcome == SkipReason.TOO_SMALL and entry.note.startswith("max_tokens ")


def _describe_trail(receipt: Receipt) -> str:
    last = {entry.target: entry for entry in receipt.trail}
    return "; ".join(f"{entry.target} {entry.shown_outcome}" for entry in last.values())


def _find_status(receipt: Receipt, kind: ErrorKind, entry: TrailEntry | None) -> int:
    """That of a provider that refused the request; none that tells a program to log in."""
    if kind == "unavailable":
        last = {one.target: one for one in receipt.trail}.values()
        outcomes = {entry.cause or entry.outcome for entry in last}
        return _TOO_MANY if outcomes and outcomes <= _LIMITS else 0
    status = (entry.status or 0) if entry is not None and kind == "refused" else 0
    is_told = _FIRST_REQUEST_STATUS <= status < _FIRST_SERVER_STATUS
    return status if is_told and status not in _LOGIN_STATUSES | _REPEATED_STATUSES else 0
