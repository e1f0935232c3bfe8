"""The pause that a provider asks for with a Retry-After: of one target, for one credential.

It says nothing about the health of the target: when it ends, the circuit is what it was before. The accounts
at one host have rate limits of their own, so a pause belongs to the credential as well. Time is the store's
clock, in epoch seconds.
"""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.classification.outcome import CircuitEffect, Outcome
from llmfail.core.records.record import Record, Write, dump, hourly_expiry

MIN_PAUSE_SECONDS = 1.0
"""A shorter Retry-After, and one that has passed, is a pause of so long."""


class Pause(Record, frozen=True):
    """The record. ``until`` is its end, ``at`` the moment of its last change; ``is_rate_limit``: the provider
    asked for it because too much was asked of it, not because it was down.
    """

    until: float = 0.0
    at: float = 0.0
    is_rate_limit: bool = False


def find_pause(outcome: Outcome, max_pause: float) -> float | None:
    """Seconds of the pause that a failure asks for, at most ``max_pause``; None when it asks for none. Only
    what counts against a circuit is a reason: the target cannot answer now, whatever the request is.
    """
    hint = outcome.retry_after
    if hint is None or outcome.consequence.circuit_effect is not CircuitEffect.FAILURE:
        return None
    return min(max(hint, MIN_PAUSE_SECONDS), max_pause) or None


def lengthen(pause: Pause, seconds: float, now: float, *, is_rate_limit: bool = False) -> Pause:
    """The pause for so many seconds from now. A hint never shortens a pause: it may answer an older call."""
    pause = normalize(pause, now)
    return Pause(now + seconds, now, is_rate_limit) if now + seconds > pause.until else pause


def find_end(pause: Pause, now: float) -> float | None:
    """When the pause ends; None when there is none."""
    pause = normalize(pause, now)
    return pause.until if now < pause.until else None


def normalize(pause: Pause, now: float) -> Pause:
    """The pause as of ``now``. When the clock was set back, what was left of it stays."""
    back = max(pause.at - now, 0.0)
    return replace(pause, until=pause.until - back, at=pause.at - back) if back else pause


def build_writes(key: str, before: Pause, after: Pause) -> dict[str, Write | None]:
    """The write of a pause that has changed."""
    return {} if after == before else {key: Write(dump(after), hourly_expiry(max(after.at, after.until)))}
