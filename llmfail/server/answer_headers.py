"""The headers of llmfail's own: what a program says besides its body, and what it is told of its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmfail.core.answer_piece import AnswerBegun
from llmfail.core.errors import UsageError
from llmfail.core.receipt import Receipt, format_usd

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
_KEPT_REPLY_HEADERS: Final = frozenset({"content-type", "x-request-id", "request-id"})
_CACHE_OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "use": {},
    "refresh": {"refresh": True},
    "off": {"no_cache": True},
}


def read_options(headers: Mapping[str, str]) -> dict[str, Any]:
    """The options of an ask that the headers set. Raises UsageError."""
    return dict(_iter_options(headers))


def _iter_options(headers: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    if "x-llmfail-max-cost" in headers:
        yield "max_cost", headers["x-llmfail-max-cost"]
    if "x-llmfail-deadline" in headers:
        yield "deadline", headers["x-llmfail-deadline"]
    cache = headers.get("x-llmfail-cache", "use").lower()
    if cache not in _CACHE_OPTIONS:
        raise UsageError(f"x-llmfail-cache is one of {', '.join(_CACHE_OPTIONS)}, got {cache[:20]!r}")
    yield from _CACHE_OPTIONS[cache].items()
    for name in ("strict", "no-fallback"):
        if _read_flag(headers, f"x-llmfail-{name}"):
            yield name.replace("-", "_"), True


def _read_flag(headers: Mapping[str, str], name: str) -> bool:
    value = headers.get(name, "false").lower()
    if value not in {"1", "true", "yes", "0", "false", "no"}:
        raise UsageError(f"{name} is true or false, got {value[:20]!r}")
    return value in {"1", "true", "yes"}


def read_session(headers: Mapping[str, str], cache_key: object) -> str | None:
    """Which conversation a request belongs to, by its headers or the ``prompt_cache_key`` of its body."""
    named = (headers.get(name) for name in SESSION_HEADERS)
    session = next((one for one in named if one), cache_key)
    return session[:MAX_SESSION_CHARS] if isinstance(session, str) and session else None


def read_sdk_timeout(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get(SDK_TIMEOUT, ""))
    except ValueError:
        return None
    return seconds if 0 < seconds < 86400 else None


def select_passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in PASSED_ON if name in headers}


def describe_begun(id_: str, begun: AnswerBegun) -> dict[str, str]:
    """Of a streamed answer, whose costs are not known yet."""
    told = {"x-llmfail-id": id_, "x-llmfail-target": str(begun.target), "x-llmfail-source": "model"}
    return {**told, "x-llmfail-dropped": ", ".join(begun.dropped)} if begun.dropped else told


def describe_answer(receipt: Receipt) -> dict[str, str]:
    """Of an answer, or of the lack of one."""
    dropped = dict.fromkeys(name for entry in receipt.trail for name in entry.dropped)
    cost = format_usd(receipt.cost_pico_usd)
    found = {
        "x-llmfail-id": receipt.id,
        "x-llmfail-target": str(receipt.target or ""),
        "x-llmfail-tier": str(receipt.tier) if receipt.error is None else "",
        "x-llmfail-source": receipt.source if receipt.error is None else "",
        "x-llmfail-cost-usd": cost or "",
        "x-llmfail-attempts": str(sum(entry.action == "called" for entry in receipt.trail)),
        "x-llmfail-dropped": ", ".join(dropped),
        "x-llmfail-queued": receipt.queued or "",
    }
    return {name: value for name, value in found.items() if value}


def keep_reply_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of a provider's reply that the program is told."""
    return {name.lower(): value for name, value in headers.items() if name.lower() in _KEPT_REPLY_HEADERS}
