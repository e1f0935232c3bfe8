"""Stored answers, and the lease of the ask that is getting one: rules, as changes for a store's ``update``.

Of several equal requests at the same time one leads and the others wait for its answer (single flight). The
lead is a lease: it ends with the answer, when its leader gives it up, or when it expires. A follower whose
leader came back without an answer goes alone; one that finds its leader dead takes the lead.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.conversation import Part
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
"""The keys of answers begin with it."""


class StoredAnswer(Record, frozen=True):
    """An answer as it was given, by ``target``, at ``at`` (epoch seconds)."""

    text: str
    target: str
    at: float
    finish_reason: FinishReason = "stop"
    model: str | None = None
    parts: tuple[Part, ...] = ()

    @property
    def completion(self) -> Completion:
        return Completion(self.text, self.finish_reason, model=self.model, parts=self.parts)


class FlightLease(Record, frozen=True):
    """An ask is getting an answer: ``name`` is the ask, ``holder`` the process that it runs in."""

    name: str
    holder: str
    ends_at: float


class IsLeader(Struct, frozen=True):
    """This ask leads: it makes the call, and others wait for it."""


class GoAlone(Struct, frozen=True):
    """The leader came back without an answer, or is this same ask: it makes a call for itself only."""


class CachePolicy(Struct, frozen=True):
    """The greatest age of a stored answer, in seconds: ``ttl`` while models can answer, ``stale`` otherwise.
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
        """Whether a stored answer may serve while models can answer."""
        return self.ttl > 0 and not self.refresh


def answer_key(fingerprint: str) -> str:
    return ANSWER_PREFIX + fingerprint


def flight_key(fingerprint: str) -> str:
    return f"flight/{fingerprint}"


def load_if_fresh(text: str | None, max_age: float, now: float) -> StoredAnswer | None:
    """The stored answer, unless it is too old. One from the future is too old as well: the clock was set
    back, so its age is unknown.
    """
    stored = load(text, StoredAnswer)
    return stored if stored is not None and 0 <= now - stored.at <= max_age else None


def acquire(
    fingerprint: str,
    mine: FlightLease,
    followed: FlightLease | None,
    *,
    leader_is_dead: bool,
    values: Values,
    now: float,
) -> tuple[Writes, IsLeader | GoAlone | FlightLease]:
    """Take the lead, or learn which lease to wait for. This ask waited for ``followed``, whose leader may be
    dead.
    """
    key = flight_key(fingerprint)
    current = load(values[key], FlightLease)
    if current is not None and current.ends_at > now and not (leader_is_dead and current == followed):
        # Two targets of one ask may have the same fingerprint: two accounts at one address.
        return {}, GoAlone() if current.name == mine.name else current
    if current is None and (followed is not None or is_newer(values[key])):
        return {}, GoAlone()
    # The record outlives the lease, so that a lease that ended differs from one that expired.
    return {key: Write(dump(mine), hourly_expiry(mine.ends_at))}, IsLeader()


def store_answer(fingerprint: str, answer: StoredAnswer, lifetime: float, values: Values) -> Writes:
    """Store an answer for so many seconds."""
    key = answer_key(fingerprint)
    return without_newer({key: Write(dump(answer), answer.at + lifetime)}, values)


def hand_over(fingerprint: str, name: str, values: Values) -> Writes:
    """End this lease early, because the ask was stopped, so that the next ask takes the lead."""
    key = flight_key(fingerprint)
    current = load(values[key], FlightLease)
    if current is None or current.name != name:
        return {}
    return {key: Write(dump(replace(current, ends_at=0.0)), hourly_expiry(current.ends_at))}


def end(fingerprint: str, name: str, values: Values) -> Writes:
    """Remove the lease of that name, unless another ask holds it by now."""
    current = load(values[flight_key(fingerprint)], FlightLease)
    return {flight_key(fingerprint): None} if current is not None and current.name == name else {}
