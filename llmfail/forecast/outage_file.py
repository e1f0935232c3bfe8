"""A file of outages: ``outages: [{target, availability, mttr}]`` (drawn by chance), or ``[{target, from,
until, kind}]`` (as they were).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from llmfail.forecast.outages import (
    DEFAULT_MTTR_SECONDS,
    OutageKind,
    OutagePlan,
    OutageRate,
    RecordedOutage,
)
from llmfail.settings.reading.plain_values import Place, describe
from llmfail.settings.schema.quantity import parse_seconds
from llmfail.settings.schema.scalars import parse_moment

KEYS = ("target", "availability", "mttr", "from", "until", "kind")
EXAMPLE = "outages: [{target: openai, availability: 0.99, mttr: 20m}]"


def parse_outages(document: object, lines: Mapping[Place, int]) -> OutagePlan:
    """``lines`` has the line of each place of the document. Raises ValueError with one line on what is wrong,
    and where.
    """
    entries = document.get("outages") if isinstance(document, dict) else None
    if not isinstance(document, dict) or set(document) - {"outages"} or not isinstance(entries, list):
        raise ValueError(f"expected a list of outages, such as {EXAMPLE}")
    if not entries:
        raise ValueError("it names no outages")
    rates, recorded = [], []
    for index, entry in enumerate(entries):
        found = _read_entry(entry, ("outages", index), lines)
        if isinstance(found, OutageRate):
            rates.append(found)
        else:
            recorded.append(found)
    return OutagePlan(tuple(rates), tuple(recorded))


def _read_entry(entry: object, at: Place, lines: Mapping[Place, int]) -> OutageRate | RecordedOutage:
    read: Callable[[Mapping[str, Any]], OutageRate | RecordedOutage] = _read_recorded
    where = at
    try:
        if not isinstance(entry, dict):
            raise ValueError(f"expected an outage such as {EXAMPLE[10:-1]}")  # noqa: TRY004, TRY301
        for key in entry:
            where = (*at, key)
            _check_key(key, entry[key])
        where = at
        if "availability" in entry:
            read = _read_rate
        return read(entry)
    except ValueError as error:
        line = lines.get(where, lines.get(at))
        named = f" ({entry['target']})" if isinstance(entry, dict) and entry.get("target") else ""
        at_line = "" if line is None else f"line {line}: "
        raise ValueError(f"{at_line}outage {int(at[1]) + 1}{named}: {error}") from None


def _check_key(key: str, value: object) -> None:
    """What can be said of a value by itself. Raises ValueError."""
    match key:
        case "target":
            if not isinstance(value, str) or not value:
                raise ValueError(f"target: expected a provider or a target, {describe(value)}")
        case "availability":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 < value <= 1:  # type: ignore[operator]
                raise ValueError(f"availability: expected a number above 0, at most 1, {describe(value)}")
        case "mttr":
            _explain("mttr", parse_seconds, value)
        case "from" | "until":
            _explain(key, parse_moment, value)
        case "kind":
            if value not in list(OutageKind):
                raise ValueError(f"kind: expected {', '.join(OutageKind)}; {describe(value)}")
        case _:
            near = get_close_matches(key, KEYS, 1)
            meant = f"did you mean {near[0]}?" if near else f"known: {', '.join(KEYS)}"
            raise ValueError(f"unknown key {key}, {meant}")


def _explain(key: str, parse: Callable[[object], float], value: object) -> None:
    try:
        parse(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}, {describe(value)}") from None


def _read_rate(entry: Mapping[str, Any]) -> OutageRate:
    if "from" in entry or "until" in entry:
        raise ValueError("say availability, or from and until, not both")
    mttr = parse_seconds(entry["mttr"]) if "mttr" in entry else DEFAULT_MTTR_SECONDS
    return OutageRate(_name_of(entry), float(entry["availability"]), mttr, _kind_of(entry))


def _read_recorded(entry: Mapping[str, Any]) -> RecordedOutage:
    if "from" not in entry or "until" not in entry:
        raise ValueError("say availability (and mttr), or from and until")
    if "mttr" in entry:
        raise ValueError("mttr goes with availability")
    start, end = parse_moment(entry["from"]), parse_moment(entry["until"])
    if end <= start:
        raise ValueError("until is not after from")
    return RecordedOutage(_name_of(entry), start, end, _kind_of(entry))


def _name_of(entry: Mapping[str, Any]) -> str:
    if "target" not in entry:
        raise ValueError("target is missing")
    return str(entry["target"])


def _kind_of(entry: Mapping[str, Any]) -> OutageKind:
    return OutageKind(entry.get("kind", OutageKind.DOWN))
