"""A request that is stored to be asked later: its fields, when it is asked again, and its form as text.

Two moments decide when. ``retry_at`` is when a target may be callable again, as the last ask found; an item
may be asked sooner if a target turns out to be callable. ``rests_until`` is the backoff after an ask that
called a target and failed; it always applies.
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
"""So many turn the first backoff into the longest."""


class QueueOrigin(Struct, frozen=True):
    """Where a request was asked: the name of the configuration, and a digest of each address that it might
    have gone to.
    """

    configuration: str
    addresses: frozenset[str] = frozenset()

    def allows(self, current: QueueOrigin) -> bool:
        """Whether the request may be asked again under ``current``: the same file, and no server that might
        not have had it before.
        """
        return self.configuration == current.configuration and current.addresses <= self.addresses


class QueueItem(Struct, frozen=True):
    """``ask`` is None when its text is damaged or, with ``is_newer``, of a newer version; ``origin`` for an
    item of version 0.1. ``receipt`` is an answer as JSON that was stored but not yet printed. Moments are in
    epoch seconds.
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
    origin: QueueOrigin | None = None

    @property
    def next_try_at(self) -> float | None:
        """When it is asked again if nothing changes until then; None: at once."""
        moments = [moment for moment in (self.retry_at, self.rests_until) if moment is not None]
        return max(moments, default=None)

    def is_backing_off(self, now: float) -> bool:
        return self.rests_until is not None and self.rests_until > now

    def has_reached_retry_at(self, now: float) -> bool:
        """Whether ``retry_at`` has passed."""
        return self.retry_at is None or self.retry_at <= now

    def is_due(self, now: float) -> bool:
        """Whether it may be asked by its own times."""
        return not self.is_backing_off(now) and self.has_reached_retry_at(now)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "created_at": format_time(self.created_at),
            "feature": self.feature,
            "attempts": self.attempts,
            "retry_at": format_time(self.next_try_at),
            "expires_at": format_time(self.expires_at),
            "configuration": None if self.origin is None else self.origin.configuration,
        }


class _StoredAsk(Record, frozen=True):
    ask: Ask


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failed attempts: each time twice as long."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(max(attempts, 1) - 1, _MAX_DOUBLINGS), MAX_BACKOFF_SECONDS)


def reschedule(
    item: QueueItem, now: float, retry_at: float | None, *, called: bool
) -> tuple[float | None, float | None]:
    """The ``retry_at`` and ``rests_until`` of an item that was asked and not answered. ``retry_at`` comes
    from this ask; ``called``: it called a target.
    """
    if called:
        return retry_at, now + backoff(item.attempts + 1)
    later = now + MAX_BACKOFF_SECONDS if retry_at is None or retry_at <= now else retry_at
    # It was asked before its time, and no target was called after all: wait, so that this does not repeat.
    return later, None if item.has_reached_retry_at(now) else now + FIRST_BACKOFF_SECONDS


def dump_ask(ask: Ask) -> str:
    """Halves of surrogate pairs become question marks, as on their way to a provider."""
    fields = {"v": VERSION, "ask": msgspec.to_builtins(ask, enc_hook=dict)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def load_ask(text: str) -> Ask | None:
    """None for a text that is damaged or of a newer version; ``record.is_newer`` tells which."""
    stored = load(text, _StoredAsk)
    return None if stored is None else stored.ask
