"""Stored answers as one ask uses them: which may be used, what to wait for, what to store.

Assumes that the leader of a flight ends it, by ``store_answer``, ``give_up`` or ``hand_over``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from msgspec import Struct

from llmfail.core.cache import single_flight as rules
from llmfail.core.cache.single_flight import (
    CachePolicy,
    FlightLease,
    GoAlone,
    IsLeader,
    StoredAnswer,
    answer_key,
    flight_key,
    load_if_fresh,
)
from llmfail.core.model import Completion, Target
from llmfail.core.records.record import Values, Writes, load
from llmfail.core.request.expectation import Expectation, find_violation
from llmfail.engine.ports.protocols import AsyncStore, Ports

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
"""Seconds between two looks for another ask's answer."""
FLIGHT_MARGIN = 30.0
"""Seconds that a flight outlives the time its leader has."""


Pause = Callable[[float], Awaitable[None]]


class CacheReader(Struct, frozen=True):
    """Which stored answers will do: how old they may be, and what they must be."""

    store: AsyncStore
    policy: CachePolicy
    expected: Expectation

    async def find_fresh(self, fingerprints: Sequence[str]) -> StoredAnswer | None:
        """The first of these that will do while models could answer."""
        return await self._find_first(fingerprints, self.policy.ttl) if self.policy.can_read else None

    async def find_stale(self, fingerprints: Sequence[str]) -> StoredAnswer | None:
        """The same for when no model answers."""
        return await self._find_first(fingerprints, self.policy.stale)

    def load_if_usable(self, text: str | None, max_age: float, now: float) -> StoredAnswer | None:
        found = load_if_fresh(text, max_age, now)
        if found is None or found.finish_reason == "tool_calls":
            return found
        return None if find_violation(self.expected, found.text, found.finish_reason) else found

    async def _find_first(self, fingerprints: Sequence[str], max_age: float) -> StoredAnswer | None:
        values, now = await self.store.read([answer_key(one) for one in fingerprints])
        found = (self.load_if_usable(values[answer_key(one)], max_age, now) for one in fingerprints)
        return next((one for one in found if one is not None), None)


class SingleFlightCache:
    """The stored answers, as one attempt of an ask uses them. ``name`` is that of the ask."""

    def __init__(self, ports: Ports, reader: CacheReader, name: str) -> None:
        self.reader = reader
        self._ports = ports
        self._name = name
        self._led_fingerprint: str | None = None

    @property
    def is_leader(self) -> bool:
        """Whether others may be waiting for this ask's answer."""
        return self._led_fingerprint is not None

    async def fetch(self, fingerprint: str, max_wait: float, pause: Pause) -> StoredAnswer | None:
        """A fresh answer, also one that somebody else is out for if it comes within so many seconds; None
        when it is our turn to ask.
        """
        if not self.reader.policy.can_read:
            return None
        ends_at = self._ports.monotonic() + max_wait
        lasts = max_wait + FLIGHT_MARGIN
        found = await self._acquire(fingerprint, lasts, None)
        for tries in count():
            if not isinstance(found, FlightLease):
                return found
            if self._ports.monotonic() >= ends_at:
                return None
            await pause(min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE))
            if await self._is_still_led(fingerprint, found):
                continue
            found = await self._acquire(fingerprint, lasts, found)
        return None

    async def store_answer(self, fingerprint: str, target: Target, answer: Completion) -> None:
        """Store an answer if it is whole, and let those who wait have it."""
        calls = answer.finish_reason == "tool_calls" and answer.tool_calls
        if answer.finish_reason != "stop" and not calls:
            await self.give_up()
            return

        def change(values: Values, now: float) -> Writes:
            parts = answer.parts if calls else ()
            found = StoredAnswer(answer.text, str(target), now, answer.finish_reason, answer.model, parts)
            stored = rules.store_answer(fingerprint, found, self.reader.policy.lifetime, values)
            return {**stored, **rules.end(fingerprint, self._name, values)}

        await self._write(fingerprint, change)

    async def give_up(self) -> None:
        """Whoever waits for us waits no longer."""
        await self._end_flight(rules.end)

    async def hand_over(self) -> None:
        """We are stopped: the first of those who wait for us leads, and the others wait for that one."""
        await self._end_flight(rules.hand_over)

    async def _end_flight(self, rule: Callable[[str, str, Values], Writes]) -> None:
        led = self._led_fingerprint
        if led is not None:
            await self._write(led, lambda values, _now: rule(led, self._name, values))

    async def _write(self, fingerprint: str, change: Callable[[Values, float], Writes]) -> None:
        await self.reader.store.update(
            _record_keys(fingerprint), lambda values, now: (change(values, now), None)
        )
        self._led_fingerprint = None

    async def _is_still_led(self, fingerprint: str, followed: FlightLease) -> bool:
        """Whether there is nothing to do but wait on: a look, which holds up nobody who writes."""
        values, now = await self.reader.store.read(_record_keys(fingerprint))
        there = load(values[flight_key(fingerprint)], FlightLease)
        return there == followed and there.ends_at > now and not self._is_dead(followed)

    def _is_dead(self, followed: FlightLease) -> bool:
        return self._ports.process.is_gone(followed.holder)

    async def _acquire(
        self, fingerprint: str, lasts: float, followed: FlightLease | None
    ) -> StoredAnswer | FlightLease | None:
        """A lead of ours lasts so many seconds, on the store's clock. Whoever is stopped in the middle of it
        gives up a flight that may have begun.
        """
        dead = followed is not None and self._is_dead(followed)

        def change(
            values: Values, now: float
        ) -> tuple[Writes, StoredAnswer | IsLeader | GoAlone | FlightLease]:
            found = self.reader.load_if_usable(values[answer_key(fingerprint)], self.reader.policy.ttl, now)
            if found is not None:
                return {}, found
            mine = FlightLease(self._name, self._ports.process.token, now + lasts)
            return rules.acquire(fingerprint, mine, followed, leader_is_dead=dead, values=values, now=now)

        self._led_fingerprint = fingerprint
        taken = await self.reader.store.update(_record_keys(fingerprint), change)
        if not isinstance(taken, IsLeader):
            self._led_fingerprint = None
        return taken if isinstance(taken, StoredAnswer | FlightLease) else None


def reader_of(ports: Ports, policy: CachePolicy | None, expected: Expectation) -> CacheReader | None:
    """None where no answers are stored."""
    return None if ports.answers is None or policy is None else CacheReader(ports.answers, policy, expected)


def _record_keys(fingerprint: str) -> tuple[str, str]:
    return answer_key(fingerprint), flight_key(fingerprint)
