"""What went on in the last hour by what was logged: of all requests minute by minute, and of each target. An
entry is a receipt as JSON, with the moment ``at``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

from msgspec import Struct

from llmfail.core.receipt import DEGRADED_TIER

Entry = Mapping[str, Any]
HISTORY_SECONDS = 3600.0
MINUTES = int(HISTORY_SECONDS // 60)
BARS = 20
"""Of the small chart of a target, each of three minutes."""


PORTION = 50
"""Logged requests that are read in one go, and kept however old they are."""
MAX_REQUESTS = 2000
"""As many as the log keeps."""
UNBLAMED = frozenset({"ok", "cancelled"})
"""Outcomes of a call that did not fail."""


class MinuteActivity(Struct, frozen=True):
    """The requests that ended in the minute that begins ``at``. Latencies in milliseconds."""

    at: float
    first_choice: int = 0
    fallback: int = 0
    degraded: int = 0
    failed: int = 0
    latencies: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return self.first_choice + self.fallback + self.degraded + self.failed

    def percentile(self, share: float) -> int | None:
        """The latency that this share did not exceed."""
        ranked = sorted(self.latencies)
        return ranked[max(ceil(share * len(ranked)) - 1, 0)] if ranked else None


class TargetBar(Struct, frozen=True):
    """The calls to one target in some minutes."""

    calls: int = 0
    failed: int = 0


def moment_of(entry: Entry) -> float:
    """In epoch seconds."""
    return datetime.fromisoformat(entry["at"]).timestamp()


def merge_requests(
    known: Sequence[Entry], found: Sequence[Entry], limit: int, since: float
) -> tuple[Entry, ...] | None:
    """Both as one, the newest first, without what is too old; None when there may be more between them.
    ``found`` are the newest, of which ``limit`` were asked for.
    """
    newest = known[0]["id"] if known else None
    place = next((place for place, entry in enumerate(found) if entry["id"] == newest), None)
    is_all = len(found) < limit or limit >= MAX_REQUESTS or moment_of(found[-1]) < since
    if place is None and not is_all:
        return None
    merged = (*found, *known[len(found) - place :]) if place is not None else tuple(found)
    kept = [entry for number, entry in enumerate(merged) if number < PORTION or moment_of(entry) >= since]
    return tuple(kept[:MAX_REQUESTS])


def count_minutes(entries: Iterable[Entry], now: float) -> tuple[MinuteActivity, ...]:
    """The minutes of the last hour, the oldest first, the one that runs included."""
    last = int(now // 60)
    by_minute: dict[int, list[Entry]] = {minute: [] for minute in range(last - MINUTES + 1, last + 1)}
    for entry in entries:
        minute = int(moment_of(entry) // 60)
        if minute in by_minute:
            by_minute[minute].append(entry)
    return tuple(_count_minute(minute, found) for minute, found in by_minute.items())


def count_calls(entries: Iterable[Entry], now: float) -> dict[str, tuple[TargetBar, ...]]:
    """For each target that was called, its bars of the last hour, the oldest first."""
    width = HISTORY_SECONDS / BARS
    begin = now - HISTORY_SECONDS
    bars: dict[str, list[TargetBar]] = {}
    for entry in entries:
        place = int((moment_of(entry) - begin) // width)
        if place < 0:
            continue
        for step in entry["trail"]:
            if step["action"] == "called":
                row = bars.setdefault(step["target"], [TargetBar()] * BARS)
                bar = row[min(place, BARS - 1)]
                has_failed = step["outcome"] not in UNBLAMED
                row[min(place, BARS - 1)] = TargetBar(bar.calls + 1, bar.failed + has_failed)
    return {target: tuple(row) for target, row in bars.items()}


def describe_bars(bars: Sequence[TargetBar]) -> str:
    """For those who do not see them."""
    calls, failed = sum(one.calls for one in bars), sum(one.failed for one in bars)
    noun = "call" if calls == 1 else "calls"
    return f"{calls:,} {noun} in the last hour, {failed:,} failed" if calls else "no call in the last hour"


def _count_minute(minute: int, entries: Sequence[Entry]) -> MinuteActivity:
    answered = [entry for entry in entries if entry["ok"]]
    degraded = sum(entry["tier"] >= DEGRADED_TIER for entry in answered)
    first = sum(entry["tier"] == 0 for entry in answered)
    return MinuteActivity(
        at=minute * 60.0,
        first_choice=first,
        fallback=len(answered) - first - degraded,
        degraded=degraded,
        failed=len(entries) - len(answered),
        latencies=tuple(entry["latency_ms"] for entry in answered),
    )
