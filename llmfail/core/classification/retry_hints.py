"""When to try again: retry hints in headers and bodies, and the moment at which a quota resets.

A hint that is negative, zero, not a number or longer than a year is ignored. Nothing is clamped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import chain

from llmfail.core.classification.error_body import ErrorBody

_DAY_SECONDS = 86_400.0
_MAX_WAIT_SECONDS = 366 * _DAY_SECONDS
_MIN_EPOCH_MILLISECONDS = 1e11
_MIN_EPOCH_SECONDS = 1e9
_PACIFIC_MIDNIGHT_UTC_HOUR = 8
"""Midnight in California is 08:00 UTC in winter and 07:00 in summer; the later one is never too early."""

_PARTS = r"(?:\d{1,9}(?:\.\d{1,12})? ?(?:milliseconds?|ms|hours?|h|minutes?|min|m|seconds?|secs?|sec|s)\b ?)+"
_DURATION = re.compile(_PARTS.replace(r"\b ?", " ?"), re.ASCII | re.IGNORECASE)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?) ?(milliseconds?|ms|h|m|s)", re.ASCII | re.IGNORECASE)
_ISO_DURATION = re.compile(r"P?T((?:\d+(?:\.\d+)?[HMS])+)", re.ASCII | re.IGNORECASE)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "mi": 0.001}
_WAIT_IN_TEXT = re.compile(
    rf"\b(?:(?:retry|try again) (?:in|after)|please wait|wait for) ({_PARTS.replace(chr(92) + 'b ?', ' ?')})",
    re.ASCII | re.IGNORECASE,
)
_DATE_IN_TEXT = re.compile(
    r"\b(?:on|at|until|after) (\d{4}-\d\d-\d\d)(?:(?:T| at | )(\d\d:\d\d(?::\d\d)?))?", re.ASCII
)
_MAX_HINT_CHARS = 256
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?", re.ASCII)
_STRUCTURED_LIMIT = re.compile(r"remaining=-?0\b.*?\breset=(\d+)", re.ASCII)
"""``RateLimit: limit=100, remaining=0, reset=30``"""
_LIMIT_OF_ZERO = re.compile(r"\blimit: 0\b(?!\.)")
_MONTHLY = re.compile(r"per[ -]?month|monthly", re.IGNORECASE)


def read_retry_after(
    headers: Mapping[str, str], error_body: ErrorBody, now: float, *, include_rate_limits: bool
) -> float | None:
    """Seconds until the provider wants to be asked again. ``include_rate_limits``: the reset times of used-up
    rate limits count too; for a broken server they mean nothing.
    """
    candidates = _read_retry_hints(headers, error_body, now)
    if include_rate_limits:
        candidates = chain(
            candidates, _read_rate_limit_resets({**_read_inner_headers(error_body), **headers}, now)
        )
    return next((seconds for seconds in candidates if seconds is not None), None)


def find_quota_reset(headers: Mapping[str, str], error_body: ErrorBody, now: float, *, daily: bool) -> float:
    """The moment a quota resets: a date in the body, else the hint, else the end of the day or of the month.
    A tier without any access ("limit: 0") is tried again the next day, whatever the hint is.
    """
    named = find_reset_date(error_body, now)
    if named is not None:
        return named
    google = any(code == "resource_exhausted" for code in error_body.codes)
    tomorrow = _find_next_day(now, _PACIFIC_MIDNIGHT_UTC_HOUR if google else 0)
    if _LIMIT_OF_ZERO.search(error_body.message):
        return tomorrow
    hint = read_retry_after(headers, error_body, now, include_rate_limits=True)
    if hint is not None:
        return now + hint
    return tomorrow if daily and not _MONTHLY.search(error_body.message) else _find_next_month(now)


def find_reset_date(error_body: ErrorBody, now: float) -> float | None:
    """The date in the body from which access is back, if it is in the future."""
    resets_at = error_body.metadata.get("resets_at")
    if isinstance(resets_at, int | float) and not isinstance(resets_at, bool):
        return _discard_past(_to_epoch_seconds(float(str(resets_at)), now), now)
    if isinstance(resets_at, str):
        return _discard_past(_parse_timestamp(resets_at), now)
    found = _DATE_IN_TEXT.search(error_body.message)
    return _discard_past(_parse_timestamp(f"{found[1]}T{found[2] or '00:00'}"), now) if found else None


def parse_duration(text: str) -> float | None:
    """``6m0s``, ``1h2m3.5s``, ``120ms``, ``30 seconds``, ``1m 30s``, ``PT30S`` in seconds."""
    iso = _ISO_DURATION.fullmatch(text.strip())
    text = iso[1] if iso else text.strip()
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return _discard_implausible(
        sum(float(number) * _UNIT_SECONDS[_shorten_unit(unit)] for number, unit in parts)
    )


def _shorten_unit(unit: str) -> str:
    lower = unit.lower()
    return "ms" if lower.startswith(("ms", "milli")) else lower[0]


def _read_retry_hints(
    headers: Mapping[str, str], error_body: ErrorBody, now: float
) -> Iterator[float | None]:
    """The explicit hints of the provider, the most exact first."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _parse_number(headers.get(name, ""))
        yield _discard_implausible(milliseconds / 1000) if milliseconds is not None else None
    yield _parse_wait(headers.get("retry-after", ""), now)
    yield _parse_wait(headers.get("x-ratelimit-reset-after", ""), now)
    yield _parse_wait(error_body.availability.get("retry_after"), now)
    yield _parse_wait(error_body.find_detail("RetryInfo").get("retryDelay"), now)
    for hint in error_body.retry_hints:
        yield _parse_wait(hint, now)
    found = _WAIT_IN_TEXT.search(error_body.message)
    yield parse_duration(found[1]) if found else None


def _read_rate_limit_resets(headers: Mapping[str, str], now: float) -> Iterator[float | None]:
    """The latest reset among the limits that are used up; three vendors name the headers differently."""
    waits = [
        _parse_wait(headers.get(name.replace("remaining", "reset"), ""), now)
        for name, value in headers.items()
        if "ratelimit" in name and "remaining" in name and (_parse_number(value) or 0) <= 0 and value.strip()
    ]
    if headers.get("anthropic-ratelimit-unified-status") == "rejected":
        waits.append(_parse_wait(headers.get("anthropic-ratelimit-unified-reset", ""), now))
    structured = _STRUCTURED_LIMIT.search(headers.get("ratelimit", "")[:_MAX_HINT_CHARS])
    waits.append(_parse_wait(structured[1], now) if structured else None)
    yield max((wait for wait in waits if wait is not None), default=None)


def _read_inner_headers(error_body: ErrorBody) -> dict[str, str]:
    """OpenRouter repeats the headers of a rate limit inside the body."""
    inner = error_body.metadata.get("headers")
    return {str(k).lower(): str(v) for k, v in inner.items()} if isinstance(inner, dict) else {}


def _parse_wait(hint: object, now: float) -> float | None:
    """Seconds from now, whatever form the hint has: a number of seconds, an epoch in seconds or milliseconds,
    a duration, a date as HTTP or RFC 3339 have it, or Google's object of seconds and nanoseconds.
    """
    if isinstance(hint, dict):
        seconds, nanos = (_parse_number(str(hint.get(name, 0))) for name in ("seconds", "nanos"))
        return _discard_implausible((seconds or 0.0) + (nanos or 0.0) / 1e9)
    if isinstance(hint, bool) or not isinstance(hint, str | int | float):
        return None
    text = str(hint)[:_MAX_HINT_CHARS].strip().strip('"')
    number = _parse_number(text)
    if number is not None:
        return _discard_implausible(_to_epoch_seconds(number, now) - now)
    duration = parse_duration(text)
    if duration is not None:
        return duration
    moment = _parse_timestamp(text) or _parse_http_date(text)
    return None if moment is None else _discard_implausible(moment - now)


def _parse_http_date(text: str) -> float | None:
    """``Wed, 21 Oct 2026 07:28:00 GMT``, and the older forms that RFC 9110 5.6.7 still wants to be read."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _parse_timestamp(text: str) -> float | None:
    """RFC 3339 in epoch seconds; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _to_epoch_seconds(number: float, now: float) -> float:
    if number >= _MIN_EPOCH_MILLISECONDS:
        return number / 1000
    return number if number >= _MIN_EPOCH_SECONDS else now + number


def _parse_number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _discard_implausible(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or not 0 < seconds <= _MAX_WAIT_SECONDS:
        return None
    return seconds


def _discard_past(moment: float | None, now: float) -> float | None:
    return moment if moment is not None and _discard_implausible(moment - now) is not None else None


def _find_next_day(now: float, hour: int) -> float:
    """The next time at which it is ``hour`` o'clock in UTC."""
    today = now - now % _DAY_SECONDS + hour * 3600
    return today if today > now else today + _DAY_SECONDS


def _find_next_month(now: float) -> float:
    first = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1).timestamp()
