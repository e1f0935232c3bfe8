"""Numbers with their units, as a configuration and a command line write them: durations, sizes, dollars.

Each function raises ValueError that says what it expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from llmfail.core.records.alert_window import LONGEST_WINDOW_SECONDS, MINUTE_SECONDS

LONGEST_DURATION_SECONDS: Final = 10 * 365 * 86400.0
"""No duration is longer, in seconds."""
SECONDS_PER_UNIT: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES_PER_UNIT: Final = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
BYTES_PER_BINARY_UNIT: Final = {"KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4}

_DURATION_PARTS: Final = re.compile(
    r"(?=(?:[0-9]+[a-z]){2})(?:(?P<d>[0-9]{1,5})d)?(?:(?P<h>[0-9]{1,5})h)?(?:(?P<m>[0-9]{1,5})m)?(?:(?P<s>[0-9]{1,5})s)?"
)

DOLLARS: Final = re.compile(r"^\$([0-9]{1,12}(?:\.[0-9]{1,12})?)$")


def require_number(value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {expected}")  # noqa: TRY004 - whatever is wrong is a ValueError
    return value


def parse_seconds(value: object, *, zero: bool = False) -> float:
    """A duration, as a number of seconds or a text with its unit. Raises ValueError."""
    lowest = "at least 0" if zero else "above 0"
    says = (
        f"a duration such as 30, 30s, 10m, 2h or 7d, {lowest}, at most {LONGEST_DURATION_SECONDS / 86400:g}d"
    )
    parts = _parse_parts(value)
    seconds = _parse_with_unit(value, SECONDS_PER_UNIT, says) if parts is None else parts
    if not (0 <= seconds <= LONGEST_DURATION_SECONDS if zero else 0 < seconds <= LONGEST_DURATION_SECONDS):
        raise ValueError(f"expected {says}")
    return float(seconds)


def _parse_parts(value: object) -> float | None:
    """A duration of several parts, the larger first: ``1m30s``. None for any other."""
    found = _DURATION_PARTS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    return sum(float(number) * SECONDS_PER_UNIT[unit] for unit, number in found.groupdict().items() if number)


def parse_alert_window(value: object) -> float:
    says = "a duration from 1m to 24h"
    try:
        seconds = parse_seconds(value)
    except ValueError:
        seconds = 0.0
    if not MINUTE_SECONDS <= seconds <= LONGEST_WINDOW_SECONDS:
        raise ValueError(f"expected {says}")
    return seconds


def _parse_with_unit(value: object, units: Mapping[str, float], expected: str) -> float:
    if not isinstance(value, str):
        return require_number(value, expected)
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15}) *([A-Za-z]*)", value.strip())
    if not found or found[2] not in units:
        raise ValueError(f"expected {expected}")
    return float(found[1]) * units[found[2]]


def parse_size(value: object) -> int:
    says = "a size such as 500MB or 2GiB, from 1B to 1000TB"
    size = _parse_with_unit(
        value.upper() if isinstance(value, str) else value, BYTES_PER_UNIT | BYTES_PER_BINARY_UNIT, says
    )
    if not 1 <= size <= 10**15:
        raise ValueError(f"expected {says}")
    return int(size)


def parse_dollars(value: object) -> Decimal | None:
    """An amount that is written with its sign: ``$5``. None for any other value."""
    found = DOLLARS.fullmatch(value.strip()) if isinstance(value, str) else None
    return None if found is None else Decimal(found[1])
