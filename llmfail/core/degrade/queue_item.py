"""A request that is kept for later: what is known of it, when it is asked again, and its form as text.

Two moments decide when. ``retry_at`` is what was told when nobody could answer; whoever sees that a target
would be called sooner need not wait for it. ``rests_until`` is our own patience with a request that was asked
and not answered, and holds in any case.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.core.receipt import format_time
from llmfail.core.records.record import VERSION, Record, load
from llmfail.core.request.ask import Ask

FIRST_BACKOFF_SECONDS = 30.0
MAX_BACKOFF_SECONDS = 3600.0
_MAX_DOUBLINGS = 7
"""As many as make the longest of the first."""


class QueueItem(Struct, frozen=True):
    """``ask`` is None where its text is damaged or, with ``is_newer``, of a later version. ``receipt`` is the
    answer as JSON, when somebody had it and did not come to print it. Moments in epoch seconds.
    """

    id: str
    feature: str
    created_at: float
    expires_at: float
    attempts: int = 0
    retry_at: float | None = None
    rests_until: float | None = None
    error: str = ""
    receipt: str | None = None
    ask: Ask | None = None
    is_newer: bool = False

    @property
    def next_try_at(self) -> float | None:
        """When it is asked again, if nothing changes until then; None: at once."""
        moments = [moment for moment in (self.retry_at, self.rests_until) if moment is not None]
        return max(moments, default=None)

    def is_backing_off(self, now: float) -> bool:
        return self.rests_until is not None and self.rests_until > now

    def has_reached_retry_at(self, now: float) -> bool:
        """Whether the moment is over that was told."""
        return self.retry_at is None or self.retry_at <= now

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "created_at": format_time(self.created_at),
            "feature": self.feature,
            "attempts": self.attempts,
            "retry_at": format_time(self.next_try_at),
            "expires_at": format_time(self.expires_at),
        }


class _StoredAsk(Record, frozen=True):
    ask: Ask


def backoff(attempts: int) -> float:
    """Seconds of rest after so many attempts in vain: each time twice as long."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(max(attempts, 1) - 1, _MAX_DOUBLINGS), MAX_BACKOFF_SECONDS)


def reschedule(
    item: QueueItem, now: float, retry_at: float | None, *, called: bool
) -> tuple[float | None, float | None]:
    """When to ask an item again that was asked in vain: its ``retry_at`` and ``rests_until`` from now on.
    ``retry_at`` is what was told this time; ``called``: a target was.
    """
    if called:
        return retry_at, now + backoff(item.attempts + 1)
    told = now + MAX_BACKOFF_SECONDS if retry_at is None or retry_at <= now else retry_at
    # Asked before its time because somebody would be called, and nobody was: that must not go on and on.
    return told, None if item.has_reached_retry_at(now) else now + FIRST_BACKOFF_SECONDS


def dump_ask(ask: Ask) -> str:
    """Halves of surrogate pairs become question marks, as on their way to a provider."""
    fields = {"v": VERSION, "ask": msgspec.to_builtins(ask, enc_hook=dict)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def load_ask(text: str) -> Ask | None:
    """None for a text that is damaged or of a newer version, which ``record.is_newer`` tells apart."""
    kept = load(text, _StoredAsk)
    return None if kept is None else kept.ask
