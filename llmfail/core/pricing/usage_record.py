"""What was used and paid for: a small record for each day, feature, target and user. ``core.reports`` sums
up.

A day is a calendar day as text, ``2026-11-21``; whose calendar is the caller's business. Names are anybody's
text, so that a key holds them as a JSON array. The records of a day are told by its roll, without a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from operator import attrgetter

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.model import Target
from llmfail.core.records.counted_events import CountedCall
from llmfail.core.records.record import Record, load_or_default
from llmfail.core.records.statistics import CountedRecord

RETENTION_DAYS = 400
DAY_SECONDS = 86400.0
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class TokenTotals(Struct, frozen=True):
    """As in ``Usage``: the cached and the written are parts of the input."""

    input: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0

    def __add__(self, other: TokenTotals) -> TokenTotals:
        return TokenTotals(
            self.input + other.input,
            self.cached + other.cached,
            self.written + other.written,
            self.output + other.output,
        )


class UsageTotals(Record, frozen=True):
    """Some calls. ``cost`` in pico-dollars, of those whose cost is known; ``unpriced`` counts the others, and
    ``unpriced_tokens`` are their part of ``tokens``.
    """

    requests: int = 0
    answered: int = 0
    tokens: TokenTotals = TokenTotals()
    cost: int = 0
    unpriced: int = 0
    unpriced_tokens: TokenTotals = TokenTotals()

    def __add__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(
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


class UsageKey(Struct, frozen=True, array_like=True):
    """Whose record it is, within a day."""

    feature: str
    target: str
    user: str | None


class UsageEntry(Struct, frozen=True):
    """One record as it is read."""

    day: str
    feature: str
    target: Target
    user: str | None
    totals: UsageTotals


def index_key(day: str) -> str:
    return f"usage/{day}"


def totals_key(day: str, name: str) -> str:
    """``name`` is one of those in the day's roll."""
    return f"usage/{day}/{name}"


def usage_record_of(day: str, feature: str, target: Target, user: str | None) -> CountedRecord:
    """The record in which a call is counted that answered, or may have been charged."""
    name = _encode_key(feature, target, user)
    key, list_key = totals_key(day, name), index_key(day)
    return CountedRecord(key, UsageTotals, count_usage, _expiry_of(day), list_key, name)


def count_usage(totals: UsageTotals, calls: Sequence[CountedCall]) -> UsageTotals:
    unpriced = [call for call in calls if call.cost is None]
    return replace(
        totals,
        requests=totals.requests + len(calls),
        answered=totals.answered + sum(map(attrgetter("ok"), calls)),
        tokens=totals.tokens + _sum_tokens(calls),
        cost=totals.cost + sum(call.cost or 0 for call in calls),
        unpriced=totals.unpriced + len(unpriced),
        unpriced_tokens=totals.unpriced_tokens + _sum_tokens(unpriced),
    )


def load_entry(day: str, name: str, text: str | None) -> UsageEntry | None:
    """The record of one name in the roll; None when either is damaged, gone, or of a newer version."""
    used = load_or_default(text, UsageTotals)
    try:
        named = msgspec.json.decode(name, type=UsageKey)
        target = Target.parse(named.target)
    except ValueError:
        return None
    return UsageEntry(day, named.feature, target, named.user, used) if used.requests else None


def _sum_tokens(calls: Sequence[CountedCall]) -> TokenTotals:
    reported = [call.usage for call in calls if call.usage is not None]
    return TokenTotals(
        sum(map(attrgetter("input_tokens"), reported)),
        sum(map(attrgetter("cached_input_tokens"), reported)),
        sum(map(attrgetter("cache_write_tokens"), reported)),
        sum(map(attrgetter("output_tokens"), reported)),
    )


def _encode_key(feature: str, target: Target, user: str | None) -> str:
    """Names as UTF-8 can encode them, since the store keeps nothing else."""
    feature, user = (text.encode("utf-8", "replace").decode() for text in (feature, user or ""))
    return msgspec.json.encode(UsageKey(feature, str(target), user or None)).decode()


@lru_cache(maxsize=16)
def _expiry_of(day: str) -> float:
    """The same moment for all records of a day, whatever the time zone: their index is written once."""
    return (date.fromisoformat(day).toordinal() - EPOCH_ORDINAL + RETENTION_DAYS + 1) * DAY_SECONDS
