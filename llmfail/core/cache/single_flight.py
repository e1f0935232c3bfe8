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
    kept_until,
    load,
    newer,
    ours,
)

ANSWER = "answer/"
"""What the keys of answers begin with."""


class Kept(Record, frozen=True):
    """An answer as it was given. ``target`` gave it, at ``at`` (epoch seconds)."""

    text: str
    target: str
    at: float
    finish_reason: FinishReason = "stop"
    model: str | None = None

    @property
    def completion(self) -> Completion:
        return Completion(self.text, self.finish_reason, model=self.model)


class Flight(Record, frozen=True):
    """Somebody is out for an answer: ``name`` is the ask's, ``holder`` the process that it runs in."""

    name: str
    holder: str
    ends_at: float


class Lead(Struct, frozen=True):
    """Nobody else is out: go, and come back."""


class Alone(Struct, frozen=True):
    """The leader came back with nothing, or is this ask itself: go, and nobody waits for you."""


class Terms(Struct, frozen=True):
    """How old a stored answer may be, in seconds: ``ttl`` when models could answer, ``stale`` when not.
    ``refresh``: a model is asked all the same.
    """

    ttl: float
    stale: float
    refresh: bool = False

    @property
    def lasts(self) -> float:
        """How long an answer is stored."""
        return max(self.ttl, self.stale)

    @property
    def reads(self) -> bool:
        """Whether any answer is fresh enough while models could answer."""
        return self.ttl > 0 and not self.refresh


def answer_key(fingerprint: str) -> str:
    return ANSWER + fingerprint


def flight_key(fingerprint: str) -> str:
    return f"flight/{fingerprint}"


def young(text: str | None, most: float, now: float) -> Kept | None:
    """The stored answer, unless it is older than that. One from the future is as old as can be: a clock that
    was set back says nothing of its age.
    """
    kept = load(text, Kept)
    return kept if kept is not None and 0 <= now - kept.at <= most else None


def take(
    fingerprint: str, mine: Flight, followed: Flight | None, *, dead: bool, values: Values, now: float
) -> tuple[Writes, Lead | Alone | Flight]:
    """Lead a flight, or learn whom to follow. ``followed`` is whom one waited for; ``dead``: in vain."""
    key = flight_key(fingerprint)
    there = load(values[key], Flight)
    if there is not None and there.ends_at > now and not (dead and there == followed):
        # Two targets of one ask may be one to a fingerprint: accounts at the same address.
        return {}, Alone() if there.name == mine.name else there
    if there is None and (followed is not None or newer(values[key])):
        return {}, Alone()
    # It is kept for longer, so that one that came back and one whose time is over can be told apart.
    return {key: Write(dump(mine), kept_until(mine.ends_at))}, Lead()


def keep(fingerprint: str, kept: Kept, most: float, values: Values) -> Writes:
    """Store an answer for so many seconds."""
    key = answer_key(fingerprint)
    return ours({key: Write(dump(kept), kept.at + most)}, values)


def leave(fingerprint: str, name: str, values: Values) -> Writes:
    """Leave the lead to whoever comes first, because we are stopped; unless it is somebody else's by now."""
    key = flight_key(fingerprint)
    there = load(values[key], Flight)
    if there is None or there.name != name:
        return {}
    return {key: Write(dump(replace(there, ends_at=0.0)), kept_until(there.ends_at))}


def end(fingerprint: str, name: str, values: Values) -> Writes:
    """End the flight of that name, unless it is somebody else's by now."""
    there = load(values[flight_key(fingerprint)], Flight)
    return {flight_key(fingerprint): None} if there is not None and there.name == name else {}
