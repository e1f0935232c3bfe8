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
    """The stored answers, as one attempt of an ask uses them. ``name`` is that of the ask. The leases are
    with the answers or, where those may be evicted, with the state.
    """

    def __init__(self, ports: Ports, reader: CacheReader, name: str) -> None:
        self.reader = reader
        self._ports = ports
        self._name = name
        self._led_fingerprint: str | None = None
        self._are_apart = ports.are_flights_in_state()
        self._flights = ports.store if self._are_apart else reader.store

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

        def store(values: Values, now: float) -> Writes:
            parts = answer.parts if calls else ()
            found = StoredAnswer(answer.text, str(target), now, answer.finish_reason, answer.model, parts)
            return rules.store_answer(fingerprint, found, self.reader.policy.lifetime, values)

        if self._are_apart:
            answers = (answer_key(fingerprint),)
            await self.reader.store.update(answers, lambda values, now: (store(values, now), None))
            await self.give_up()
            return

        def store_and_end(values: Values, now: float) -> Writes:
            return {**store(values, now), **rules.end(fingerprint, self._name, values)}

        await self._write_flight(fingerprint, store_and_end)

    async def give_up(self) -> None:
        """Whoever waits for us waits no longer."""
        await self._end_flight(rules.end)

    async def hand_over(self) -> None:
        """We are stopped: the first of those who wait for us leads, and the others wait for that one."""
        await self._end_flight(rules.hand_over)

    async def _end_flight(self, rule: Callable[[str, str, Values], Writes]) -> None:
        led = self._led_fingerprint
        if led is not None:
            await self._write_flight(led, lambda values, _now: rule(led, self._name, values))

    async def _write_flight(self, fingerprint: str, change: Callable[[Values, float], Writes]) -> None:
        await self._flights.update(
            self._record_keys(fingerprint), lambda values, now: (change(values, now), None)
        )
        self._led_fingerprint = None

    def _record_keys(self, fingerprint: str) -> tuple[str, ...]:
        """Of what is in the same store as the lease."""
        flight = flight_key(fingerprint)
        return (flight,) if self._are_apart else (answer_key(fingerprint), flight)

    async def _is_still_led(self, fingerprint: str, followed: FlightLease) -> bool:
        """Whether there is nothing to do but wait on: a look, which holds up nobody who writes."""
        values, now = await self._flights.read([flight_key(fingerprint)])
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
        if not self._are_apart:
            return await self._take_lead(fingerprint, lasts, followed)
        found = await self.reader.find_fresh([fingerprint])
        if found is not None:
            return found
        lease = await self._take_lead(fingerprint, lasts, followed)
        if lease is not None:
            return lease
        # Whoever led until now has stored an answer before that.
        found = await self.reader.find_fresh([fingerprint])
        if found is not None:
            await self.give_up()
        return found

    async def _take_lead(
        self, fingerprint: str, lasts: float, followed: FlightLease | None
    ) -> StoredAnswer | FlightLease | None:
        dead = followed is not None and self._is_dead(followed)

        def change(
            values: Values, now: float
        ) -> tuple[Writes, StoredAnswer | IsLeader | GoAlone | FlightLease]:
            text = values.get(answer_key(fingerprint))
            found = self.reader.load_if_usable(text, self.reader.policy.ttl, now)
            if found is not None:
                return {}, found
            mine = FlightLease(self._name, self._ports.process.token, now + lasts)
            return rules.acquire(fingerprint, mine, followed, leader_is_dead=dead, values=values, now=now)

        self._led_fingerprint = fingerprint
        taken = await self._flights.update(self._record_keys(fingerprint), change)
        if not isinstance(taken, IsLeader):
            self._led_fingerprint = None
        return taken if isinstance(taken, StoredAnswer | FlightLease) else None


def reader_of(ports: Ports, policy: CachePolicy | None, expected: Expectation) -> CacheReader | None:
    """None where no answers are stored."""
    return None if ports.answers is None or policy is None else CacheReader(ports.answers, policy, expected)
