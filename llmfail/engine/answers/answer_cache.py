"""Stored answers as one ask uses them: what is at hand, what to wait for, what to keep.

Assumes that whoever leads a flight ends it, by ``keep``, ``give_up`` or ``leave``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from msgspec import Struct

from llmfail.core.cache import single_flight as rules
from llmfail.core.cache.single_flight import (
    Alone,
    Flight,
    Kept,
    Lead,
    Terms,
    answer_key,
    flight_key,
    young,
)
from llmfail.core.model import Completion, Target
from llmfail.core.records.record import Values, Writes, load
from llmfail.core.request.expectation import Expectation, objection
from llmfail.engine.ports.ports import Keeper, Ports

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
"""Seconds between two looks for somebody else's answer."""
MARGIN = 30.0
"""Seconds that a flight outlives the time its leader has."""


Pause = Callable[[float], Awaitable[None]]


class Reader(Struct, frozen=True):
    """Which stored answers will do: how old they may be, and what they must be."""

    keeper: Keeper
    terms: Terms
    expected: Expectation

    async def fresh(self, fingerprints: Sequence[str]) -> Kept | None:
        """The first of these that will do while models could answer."""
        return await self._first(fingerprints, self.terms.ttl) if self.terms.reads else None

    async def stale(self, fingerprints: Sequence[str]) -> Kept | None:
        """The same for when no model answers."""
        return await self._first(fingerprints, self.terms.stale)

    def serves(self, text: str | None, most: float, now: float) -> Kept | None:
        found = young(text, most, now)
        if found is None or objection(self.expected, found.text, found.finish_reason) is not None:
            return None
        return found

    async def _first(self, fingerprints: Sequence[str], most: float) -> Kept | None:
        values, now = await self.keeper.read([answer_key(one) for one in fingerprints])
        found = (self.serves(values[answer_key(one)], most, now) for one in fingerprints)
        return next((one for one in found if one is not None), None)


class Shelf:
    """The shelf for the ask of this name."""

    def __init__(self, ports: Ports, reader: Reader, name: str) -> None:
        self.reader = reader
        self._ports = ports
        self._name = name
        self._leads: str | None = None

    async def fetch(self, fingerprint: str, patience: float, pause: Pause) -> Kept | None:
        """A fresh answer, also one that somebody else is out for if it comes within so many seconds; None
        when it is our turn to ask.
        """
        if not self.reader.terms.reads:
            return None
        ends_at = self._ports.monotonic() + patience
        mine = Flight(self._name, self._ports.presence.holder, self._ports.wall() + patience + MARGIN)
        found = await self._take(fingerprint, mine, None)
        for tries in count():
            if not isinstance(found, Flight):
                return found
            if self._ports.monotonic() >= ends_at:
                return None
            await pause(min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE))
            if await self._is_out(fingerprint, found):
                continue
            found = await self._take(fingerprint, mine, found)
        return None

    async def keep(self, fingerprint: str, target: Target, answer: Completion) -> None:
        """Store an answer if it is whole, and let those who wait have it."""
        if answer.finish_reason != "stop":
            await self.give_up()
            return

        def change(values: Values, now: float) -> Writes:
            found = Kept(answer.text, str(target), now, answer.finish_reason, answer.model)
            stored = rules.keep(fingerprint, found, self.reader.terms.lasts, values)
            return {**stored, **rules.end(fingerprint, self._name, values)}

        await self._write(fingerprint, change)

    async def give_up(self) -> None:
        """Whoever waits for us waits no longer."""
        await self._end(rules.end)

    async def leave(self) -> None:
        """We are stopped: the first of those who wait for us leads, and the others wait for that one."""
        await self._end(rules.leave)

    async def _end(self, rule: Callable[[str, str, Values], Writes]) -> None:
        led = self._leads
        if led is not None:
            await self._write(led, lambda values, _now: rule(led, self._name, values))

    async def _write(self, fingerprint: str, change: Callable[[Values, float], Writes]) -> None:
        await self.reader.keeper.update(_keys(fingerprint), lambda values, now: (change(values, now), None))
        self._leads = None

    async def _is_out(self, fingerprint: str, followed: Flight) -> bool:
        """Whether there is nothing to do but wait on: a look, which holds up nobody who writes."""
        values, now = await self.reader.keeper.read(_keys(fingerprint))
        there = load(values[flight_key(fingerprint)], Flight)
        return there == followed and there.ends_at > now and not self._is_dead(followed)

    def _is_dead(self, followed: Flight) -> bool:
        return self._ports.presence.is_gone(followed.holder)

    async def _take(self, fingerprint: str, mine: Flight, followed: Flight | None) -> Kept | Flight | None:
        """Whoever is stopped in the middle of it gives up a flight that may have begun."""
        dead = followed is not None and self._is_dead(followed)

        def change(values: Values, now: float) -> tuple[Writes, Kept | Lead | Alone | Flight]:
            found = self.reader.serves(values[answer_key(fingerprint)], self.reader.terms.ttl, now)
            if found is not None:
                return {}, found
            return rules.take(fingerprint, mine, followed, dead=dead, values=values, now=now)

        self._leads = fingerprint
        taken = await self.reader.keeper.update(_keys(fingerprint), change)
        if not isinstance(taken, Lead):
            self._leads = None
        return taken if isinstance(taken, Kept | Flight) else None


def reader_of(ports: Ports, terms: Terms | None, expected: Expectation) -> Reader | None:
    """None where no answers are stored."""
    return None if ports.answers is None or terms is None else Reader(ports.answers, terms, expected)


def shelf_of(ports: Ports, terms: Terms | None, expected: Expectation, name: str) -> Shelf | None:
    """The same for who may also store one."""
    reader = reader_of(ports, terms, expected)
    return None if reader is None else Shelf(ports, reader, name)


def _keys(fingerprint: str) -> tuple[str, str]:
    return answer_key(fingerprint), flight_key(fingerprint)
