"""Requests that are kept for later as the pages show them, and the stored answers. Prompts are not shown."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.degrade.queue_item import QueueItem
from llmfail.core.one_line import one_line
from llmfail.core.receipt import format_time
from llmfail.core.reports.figures import count_of, format_bytes, percent
from llmfail.core.reports.status import Status


class WaitingRow(Struct, frozen=True):
    """Moments are ISO 8601."""

    id: str
    feature: str
    created_at: str | None
    attempts: int
    next_try_at: str | None
    expires_at: str | None
    state: str
    error: str


def build_queue_rows(items: Sequence[QueueItem], now: float) -> tuple[WaitingRow, ...]:
    """The oldest first, without those that are too old."""
    return tuple(_build_row(one, now) for one in items if one.expires_at > now)


def describe_cache(status: Status) -> str:
    storage, counters = status.storage, status.counters
    if storage.entries is None or storage.bytes is None:
        return storage.unknown_answers
    looked = counters.hits + counters.misses
    served = (
        f"served {counters.hits:,} of {looked:,} asks ({percent(counters.hits / looked)})" if looked else ""
    )
    kept = f"{count_of(storage.entries, 'answer')} in {format_bytes(storage.bytes)}"
    return f"{kept}, which {served} in the last 24 hours" if served else kept


def _build_row(one: QueueItem, now: float) -> WaitingRow:
    at = one.next_try_at
    is_waiting = at is not None and at > now
    return WaitingRow(
        id=one.id,
        feature=one.feature,
        created_at=format_time(one.created_at),
        attempts=one.attempts,
        next_try_at=format_time(at) if is_waiting else None,
        expires_at=format_time(one.expires_at),
        state="answered, not yet printed" if one.receipt else "waits" if is_waiting else "due",
        error=one_line(one.error),
    )
