"""Stored answers, and who is out to get one: the rules of both, as changes for a store's ``update``.

Of several that ask the same at the same time, one leads and the others wait for its answer (single flight).
A flight is a lease: it ends with its answer, when its leader gives it up, or by itself. Who waited for a
leader that came back with nothing goes alone; who finds a leader dead takes its place.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.model import Completion, FinishReason
from llmfail.core.records.record import (
    Record,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    is_newer,
    load,
    without_newer,
)

ANSWER_PREFIX = "answer/"
"""What the keys of answers begin with."""


class StoredAnswer(Record, frozen=True):
    """An answer as it was given. ``target`` gave it, at ``at`` (epoch seconds)."""

    text: str
    target: str
    at: float
    finish_reason: FinishReason = "stop"
    model: str | None = None

    @property
    def completion(self) -> Completion:
        return Completion(self.text, self.finish_reason, model=self.model)


class FlightLease(Record, frozen=True):
    """Somebody is out for an answer: ``name`` is the ask's, ``holder`` the process that it runs in."""

    name: str
    holder: str
    ends_at: float


class IsLeader(Struct, frozen=True):
    """Nobody else is out: go, and come back."""


class GoAlone(Struct, frozen=True):
    """The leader came back with nothing, or is this ask itself: go, and nobody waits for you."""


class CachePolicy(Struct, frozen=True):
    """How old a stored answer may be, in seconds: ``ttl`` when models could answer, ``stale`` when not.
    ``refresh``: a model is asked all the same.
    """

    ttl: float
    stale: float
    refresh: bool = False

    @property
    def lifetime(self) -> float:
        """How long an answer is stored."""
        return max(self.ttl, self.stale)

    @property
    def can_read(self) -> bool:
        """Whether any answer is fresh enough while models could answer."""
        return self.ttl > 0 and not self.refresh


def answer_key(fingerprint: str) -> str:
    return ANSWER_PREFIX + fingerprint


def flight_key(fingerprint: str) -> str:
    return f"flight/{fingerprint}"


def load_if_fresh(text: str | None, max_age: float, now: float) -> StoredAnswer | None:
    """The stored answer, unless it is older than that. One from the future is as old as can be: a clock that
    was set back says nothing of its age.
    """
    kept = load(text, StoredAnswer)
    return kept if kept is not None and 0 <= now - kept.at <= max_age else None


def acquire(
    fingerprint: str,
    mine: FlightLease,
    followed: FlightLease | None,
    *,
    leader_is_dead: bool,
    values: Values,
    now: float,
) -> tuple[Writes, IsLeader | GoAlone | FlightLease]:
    """Lead a flight, or learn whom to follow. ``followed`` is whom one waited for; ``dead``: in vain."""
    key = flight_key(fingerprint)
    there = load(values[key], FlightLease)
    if there is not None and there.ends_at > now and not (leader_is_dead and there == followed):
        # Two targets of one ask may be one to a fingerprint: accounts at the same address.
        return {}, GoAlone() if there.name == mine.name else there
    if there is None and (followed is not None or is_newer(values[key])):
        return {}, GoAlone()
    # It is kept for longer, so that one that came back and one whose time is over can be told apart.
    return {key: Write(dump(mine), hourly_expiry(mine.ends_at))}, IsLeader()


def store_answer(fingerprint: str, answer: StoredAnswer, lifetime: float, values: Values) -> Writes:
    """Store an answer for so many seconds."""
    key = answer_key(fingerprint)
    return without_newer({key: Write(dump(answer), answer.at + lifetime)}, values)


def hand_over(fingerprint: str, name: str, values: Values) -> Writes:
    """Leave the lead to whoever comes first, because we are stopped; unless it is somebody else's by now."""
    key = flight_key(fingerprint)
    there = load(values[key], FlightLease)
    if there is None or there.name != name:
        return {}
    return {key: Write(dump(replace(there, ends_at=0.0)), hourly_expiry(there.ends_at))}


def end(fingerprint: str, name: str, values: Values) -> Writes:
    """End the flight of that name, unless it is somebody else's by now."""
    there = load(values[flight_key(fingerprint)], FlightLease)
    return {flight_key(fingerprint): None} if there is not None and there.name == name else {}
