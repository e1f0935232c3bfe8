"""What was used and paid for: a small record for each day, feature, target and user. ``core.report`` sums up.

A day is a calendar day as text, ``2026-11-21``; whose calendar is the caller's business. Names are anybody's
text, so that a key holds them as a JSON array. The records of a day are told by its roll, without a scan.
"""

from __future__ import annotations

from datetime import date
from functools import partial

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.model import Target, Usage
from llmfail.core.records import name_list
from llmfail.core.records.record import (
    Record,
    Step,
    Values,
    Write,
    Writes,
    dump,
    newer,
    ours,
    recall,
)

KEPT_DAYS = 400
DAY = 86400.0
EPOCH = date(1970, 1, 1).toordinal()
NO_TOKENS = Usage()


class Use(Struct, frozen=True):
    """One call that answered, or may have been charged. ``usage`` is None when nothing was reported, ``cost``
    (pico-dollars) when nobody knows it; ``answered``: the answer was good.
    """

    feature: str
    target: Target
    user: str | None
    usage: Usage | None
    cost: int | None
    answered: bool


class Tokens(Struct, frozen=True):
    """As in ``Usage``: the cached and the written are parts of the input."""

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cached + other.cached,
            self.written + other.written,
            self.output + other.output,
        )


class Used(Record, frozen=True):
    """Some calls. ``cost`` in pico-dollars, of those whose cost is known; ``unpriced`` counts the others, and
    ``unpriced_tokens`` are their part of ``tokens``.
    """

    requests: int = 0
    answered: int = 0
    tokens: Tokens = Tokens()
    cost: int = 0
    unpriced: int = 0
    unpriced_tokens: Tokens = Tokens()

    def __add__(self, other: Used) -> Used:
        return Used(
            requests=self.requests + other.requests,
            answered=self.answered + other.answered,
            tokens=self.tokens + other.tokens,
            cost=self.cost + other.cost,
            unpriced=self.unpriced + other.unpriced,
            unpriced_tokens=self.unpriced_tokens + other.unpriced_tokens,
        )

    @property
    def known_cost(self) -> int | None:
        """None when nothing of it is known."""
        return None if self.requests and self.unpriced == self.requests else self.cost


class Name(Struct, frozen=True, array_like=True):
    """Whose record it is, within a day."""

    feature: str
    target: str
    user: str | None


class Entry(Struct, frozen=True):
    """One record as it is read."""

    day: str
    feature: str
    target: Target
    user: str | None
    used: Used


def roll_key(day: str) -> str:
    return f"usage/{day}"


def row_key(day: str, name: str) -> str:
    """``name`` is one of those in the day's roll."""
    return f"usage/{day}/{name}"


def step(day: str, use: Use) -> Step:
    """Count one call."""
    name = _name(use)
    return Step((row_key(day, name), roll_key(day)), partial(_count, day, name, use))


def entry(day: str, name: str, text: str | None) -> Entry | None:
    """The record of one name in the roll; None when either is damaged, gone, or of a newer version."""
    used = recall(text, Used)
    try:
        named = msgspec.json.decode(name, type=Name)
        target = Target.parse(named.target)
    except ValueError:
        return None
    return Entry(day, named.feature, target, named.user, used) if used.requests else None


def _count(day: str, name: str, use: Use, values: Values, _now: float) -> Writes:
    key, listed = row_key(day, name), roll_key(day)
    until = _kept_until(day)
    writes: dict[str, Write | None] = {key: Write(dump(_counted(recall(values[key], Used), use)), until)}
    if values[key] is None and not newer(values[listed]):
        writes |= name_list.enlist(listed, name, values, until)
    return ours(writes, values)


def _counted(used: Used, use: Use) -> Used:
    usage = use.usage or NO_TOKENS
    tokens = Tokens(
        usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.output_tokens
    )
    counted = replace(
        used,
        requests=used.requests + 1,
        answered=used.answered + use.answered,
        tokens=used.tokens + tokens,
        cost=used.cost + (use.cost or 0),
    )
    if use.cost is not None:
        return counted
    return replace(counted, unpriced=used.unpriced + 1, unpriced_tokens=used.unpriced_tokens + tokens)


def _name(use: Use) -> str:
    """Names as UTF-8 can encode them, since the store keeps nothing else."""
    feature, user = (text.encode("utf-8", "replace").decode() for text in (use.feature, use.user or ""))
    return msgspec.json.encode(Name(feature, str(use.target), user or None)).decode()


def _kept_until(day: str) -> float:
    """The same moment for all records of a day, whatever the time zone: their index is written once."""
    return (date.fromisoformat(day).toordinal() - EPOCH + KEPT_DAYS + 1) * DAY
