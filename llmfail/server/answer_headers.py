"""The headers of llmfail's own: what a program says besides its body, and what it is told of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmfail.core.answer_piece import AnswerBegun
from llmfail.core.errors import UsageError
from llmfail.core.receipt import Receipt
from llmfail.server.served_request import RequestLine

PASSED_ON: Final = ("anthropic-version", "anthropic-beta", "openai-beta")
"""What goes to a provider that speaks the dialect of the program."""
SESSION_HEADERS: Final = ("x-llmfail-session", "x-claude-code-session-id", "session-id")
SDK_TIMEOUT: Final = "x-stainless-timeout"
"""Seconds after which an SDK gives its request up."""
MAX_SESSION_CHARS: Final = 256
EVENT_STREAM: Final[Mapping[str, str]] = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
_KEPT_REPLY_HEADERS: Final = ("content-type", "x-request-id", "request-id")
_CACHE_OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "use": {},
    "refresh": {"refresh": True},
    "off": {"no_cache": True},
}
_TEXT_OPTIONS: Final = {"x-llmfail-max-cost": "max_cost", "x-llmfail-deadline": "deadline"}
_FLAG_OPTIONS: Final = {"x-llmfail-strict": "strict", "x-llmfail-no-fallback": "no_fallback"}
_OPTION_HEADERS: Final = frozenset({*_TEXT_OPTIONS, *_FLAG_OPTIONS, "x-llmfail-cache"})


def read_options(headers: Mapping[str, str]) -> dict[str, Any]:
    """The options of an ask that the headers set. Raises UsageError."""
    if _OPTION_HEADERS.isdisjoint(headers):
        return {}
    options: dict[str, Any] = {
        option: headers[name] for name, option in _TEXT_OPTIONS.items() if name in headers
    }
    if "x-llmfail-cache" in headers:
        cache = headers["x-llmfail-cache"].lower()
        if cache not in _CACHE_OPTIONS:
            raise UsageError(f"x-llmfail-cache is one of {', '.join(_CACHE_OPTIONS)}, got {cache[:20]!r}")
        options |= _CACHE_OPTIONS[cache]
    for name, option in _FLAG_OPTIONS.items():
        if name in headers and _read_flag(headers, name):
            options[option] = True
    return options


def name_headers(message: str) -> str:
    """A complaint about an option as its program wrote it: with the header that sets it."""
    for name, option in _TEXT_OPTIONS.items():
        if message.startswith((f"{option} ", f"{option}:")):
            return f"{name}{message.removeprefix(option)}"
    return message


def _read_flag(headers: Mapping[str, str], name: str) -> bool:
    value = headers[name].lower()
    if value not in {"1", "true", "yes", "0", "false", "no"}:
        raise UsageError(f"{name} is true or false, got {value[:20]!r}")
    return value in {"1", "true", "yes"}


def read_session(headers: Mapping[str, str], cache_key: object) -> str | None:
    """Which conversation a request belongs to, by its headers or the ``prompt_cache_key`` of its body."""
    session = cache_key
    for name in SESSION_HEADERS:
        if named := headers.get(name):
            session = named
            break
    return session[:MAX_SESSION_CHARS] if isinstance(session, str) and session else None


def read_sdk_timeout(headers: Mapping[str, str]) -> float | None:
    if SDK_TIMEOUT not in headers:
        return None
    try:
        seconds = float(headers[SDK_TIMEOUT])
    except ValueError:
        return None
    return seconds if 0 < seconds < 86400 else None


def select_passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Raises UsageError for what cannot be sent, which would look like a failure of every provider."""
    passed = {name: headers[name] for name in PASSED_ON if name in headers}
    for name, value in passed.items():
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"{name} is a text of printable ASCII characters")
    return passed


def describe_begun(id_: str, begun: AnswerBegun) -> dict[str, str]:
    """Of a streamed answer, whose costs are not known yet."""
    told = {
        "x-llmfail-id": id_,
        "x-llmfail-target": str(begun.target),
        "x-llmfail-tier": str(begun.tier),
        "x-llmfail-source": "model",
        "x-llmfail-attempts": str(begun.attempts),
        **keep_reply_headers(begun.headers),
    }
    return {**told, "x-llmfail-dropped": ", ".join(begun.dropped)} if begun.dropped else told


def describe_answer(receipt: Receipt, line: RequestLine) -> dict[str, str]:
    """Of an answer, or of the lack of one. ``line`` has what is told of it in the log."""
    found = {
        "x-llmfail-id": receipt.id,
        "x-llmfail-target": str(receipt.target or ""),
        "x-llmfail-tier": str(receipt.tier) if receipt.error is None else "",
        "x-llmfail-source": receipt.source if receipt.error is None else "",
        "x-llmfail-cost-usd": line.cost_usd or "",
        "x-llmfail-attempts": str(line.attempts),
        "x-llmfail-dropped": ", ".join(line.dropped),
        "x-llmfail-queued": receipt.queued or "",
    }
    return {name: value for name, value in found.items() if value}


def keep_reply_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of a provider's reply, with names in lower case, that the program is told."""
    return {name: headers[name] for name in _KEPT_REPLY_HEADERS if name in headers}
