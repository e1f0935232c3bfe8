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

from llmfail.core.receipt import iso
from llmfail.core.records.record import VERSION, Record, load
from llmfail.core.request.ask import Ask

FIRST_REST = 30.0
LONGEST_REST = 3600.0
_DOUBLINGS = 7
"""As many as make the longest of the first."""


class Item(Struct, frozen=True):
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
    def again_at(self) -> float | None:
        """When it is asked again, if nothing changes until then; None: at once."""
        moments = [moment for moment in (self.retry_at, self.rests_until) if moment is not None]
        return max(moments, default=None)

    def rests(self, now: float) -> bool:
        return self.rests_until is not None and self.rests_until > now

    def has_come(self, now: float) -> bool:
        """Whether the moment is over that was told."""
        return self.retry_at is None or self.retry_at <= now

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "created_at": iso(self.created_at),
            "feature": self.feature,
            "attempts": self.attempts,
            "retry_at": iso(self.again_at),
            "expires_at": iso(self.expires_at),
        }


class _Kept(Record, frozen=True):
    ask: Ask


def rest(attempts: int) -> float:
    """Seconds of rest after so many attempts in vain: each time twice as long."""
    return min(FIRST_REST * 2.0 ** min(max(attempts, 1) - 1, _DOUBLINGS), LONGEST_REST)


def again(
    item: Item, now: float, retry_at: float | None, *, called: bool
) -> tuple[float | None, float | None]:
    """When to ask an item again that was asked in vain: its ``retry_at`` and ``rests_until`` from now on.
    ``retry_at`` is what was told this time; ``called``: a target was.
    """
    if called:
        return retry_at, now + rest(item.attempts + 1)
    told = now + LONGEST_REST if retry_at is None or retry_at <= now else retry_at
    # Asked before its time because somebody would be called, and nobody was: that must not go on and on.
    return told, None if item.has_come(now) else now + FIRST_REST


def dump_ask(ask: Ask) -> str:
    """Halves of surrogate pairs become question marks, as on their way to a provider."""
    fields = {"v": VERSION, "ask": msgspec.to_builtins(ask, enc_hook=dict)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def load_ask(text: str) -> Ask | None:
    """None for a text that is damaged or of a newer version, which ``record.newer`` tells apart."""
    kept = load(text, _Kept)
    return None if kept is None else kept.ask
