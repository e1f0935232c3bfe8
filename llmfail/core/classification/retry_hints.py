"""When to try again: retry hints in headers and bodies, and the moment at which a quota resets.

A hint that is negative, zero, not a number or longer than a year is ignored. Nothing is clamped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain

from llmfail.core.classification.error_body import ErrorBody

_DAY_SECONDS = 86_400.0
_MAX_WAIT_SECONDS = 366 * _DAY_SECONDS
_MIN_EPOCH_MILLISECONDS = 1e11
_MIN_EPOCH_SECONDS = 1e9
_PACIFIC_MIDNIGHT_UTC_HOUR = 8
"""Midnight in California is 08:00 UTC in winter and 07:00 in summer; the later one is never too early."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HTTP_DATE = re.compile(r"\w+, (\d{1,2}) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,12})?(?:ms|h|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WAIT_IN_TEXT = re.compile(r"\b(?:retry|try again) in ((?:\d{1,9}(?:\.\d{1,12})?(?:ms|h|m|s))+)", re.ASCII)
_DATE_IN_TEXT = re.compile(
    r"\b(?:on|at|until|after) (\d{4}-\d\d-\d\d)(?:(?:T| at | )(\d\d:\d\d(?::\d\d)?))?", re.ASCII
)
_LIMIT_OF_ZERO = re.compile(r"\blimit: 0\b(?!\.)")
_MONTHLY = re.compile(r"per[ -]?month|monthly", re.IGNORECASE)


def read_retry_after(
    headers: Mapping[str, str], fault: ErrorBody, now: float, *, include_rate_limits: bool
) -> float | None:
    """Seconds until the provider wants to be asked again. ``include_rate_limits``: the reset times of used-up
    rate limits count too; for a broken server they mean nothing.
    """
    candidates = _read_retry_hints(headers, fault, now)
    if include_rate_limits:
        candidates = chain(
            candidates, _read_rate_limit_resets({**_read_inner_headers(fault), **headers}, now)
        )
    return next((seconds for seconds in candidates if seconds is not None), None)


def find_quota_reset(headers: Mapping[str, str], fault: ErrorBody, now: float, *, daily: bool) -> float:
    """The moment a quota resets: a date in the body, else the hint, else the end of the day or of the month.
    A tier without any access ("limit: 0") is tried again the next day, whatever the hint is.
    """
    named = find_reset_date(fault, now)
    if named is not None:
        return named
    google = any(code == "resource_exhausted" for code in fault.codes)
    tomorrow = _find_next_day(now, _PACIFIC_MIDNIGHT_UTC_HOUR if google else 0)
    if _LIMIT_OF_ZERO.search(fault.message):
        return tomorrow
    hint = read_retry_after(headers, fault, now, include_rate_limits=True)
    if hint is not None:
        return now + hint
    return tomorrow if daily and not _MONTHLY.search(fault.message) else _find_next_month(now)


def find_reset_date(fault: ErrorBody, now: float) -> float | None:
    """The date in the body from which access is back, if it is in the future."""
    resets_at = fault.metadata.get("resets_at")
    if isinstance(resets_at, int | float) and not isinstance(resets_at, bool):
        return _discard_past(_to_epoch_seconds(float(str(resets_at)), now), now)
    if isinstance(resets_at, str):
        return _discard_past(_parse_timestamp(resets_at), now)
    found = _DATE_IN_TEXT.search(fault.message)
    return _discard_past(_parse_timestamp(f"{found[1]}T{found[2] or '00:00'}"), now) if found else None


def parse_duration(text: str) -> float | None:
    """``6m0s``, ``1h2m3.5s``, ``120ms``, ``34.07s`` in seconds."""
    if not _DURATION.fullmatch(text):
        return None
    return _discard_implausible(
        sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    )


def _read_retry_hints(headers: Mapping[str, str], fault: ErrorBody, now: float) -> Iterator[float | None]:
    """The explicit hints of the provider, the most exact first."""
    milliseconds = _parse_number(headers.get("retry-after-ms", ""))
    yield _discard_implausible(milliseconds / 1000) if milliseconds is not None else None
    yield _parse_seconds_or_date(headers.get("retry-after", ""), now)
    available = fault.availability.get("retry_after")
    yield _discard_implausible(_parse_number(str(available)))
    yield parse_duration(str(fault.find_detail("RetryInfo").get("retryDelay", "")))
    found = _WAIT_IN_TEXT.search(fault.message)
    yield parse_duration(found[1]) if found else None


def _read_rate_limit_resets(headers: Mapping[str, str], now: float) -> Iterator[float | None]:
    """The latest reset among the limits that are used up; three vendors name the headers differently."""
    used_up = [name for name, value in headers.items() if "ratelimit" in name and _parse_number(value) == 0]
    waits = [
        _parse_reset(headers.get(name.replace("remaining", "reset"), ""), now)
        for name in used_up
        if "remaining" in name
    ]
    yield max((wait for wait in waits if wait is not None), default=None)


def _parse_reset(text: str, now: float) -> float | None:
    """A duration (OpenAI, Groq), RFC 3339 (Anthropic), epoch in milliseconds or seconds (OpenRouter)."""
    number = _parse_number(text)
    moment = _to_epoch_seconds(number, now) if number is not None else _parse_timestamp(text)
    return parse_duration(text) if moment is None else _discard_implausible(moment - now)


def _read_inner_headers(fault: ErrorBody) -> dict[str, str]:
    """OpenRouter repeats the headers of a rate limit inside the body."""
    inner = fault.metadata.get("headers")
    return {str(k).lower(): str(v) for k, v in inner.items()} if isinstance(inner, dict) else {}


def _parse_seconds_or_date(text: str, now: float) -> float | None:
    number = _parse_number(text)
    if number is not None:
        return _discard_implausible(number)
    moment = _parse_http_date(text)
    return None if moment is None else _discard_implausible(moment - now)


def _parse_http_date(text: str) -> float | None:
    """``Wed, 21 Oct 2026 07:28:00 GMT``, the only form that HTTP still allows to be sent."""
    found = _HTTP_DATE.fullmatch(text.strip())
    if not found or found[2].lower() not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 6))
    try:
        return datetime(
            year, _MONTHS.index(found[2].lower()) + 1, day, hour, minute, second, tzinfo=UTC
        ).timestamp()
    except ValueError:
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
    try:
        return float(text)
    except ValueError:
        return None


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
