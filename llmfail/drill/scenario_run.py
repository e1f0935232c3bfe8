"""One scene under way: a feature, the faults of the moment, and time that only moves when it is moved.

Every scene starts with a store of its own, so it can be played alone. Nobody waits in here: a pause between
two attempts takes no time at all, and a call that hangs is cut after a blink while the clock moves on by the
whole timeout that it would have had.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission.breaker import Rules, State
from llmfail.core.admission.gate import Look
from llmfail.core.errors import WireError
from llmfail.core.model import Call, Reply, Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask, question
from llmfail.drill.simulated_client import apis_of, on_loopback
from llmfail.engine.engine import Engine
from llmfail.engine.planning.targets import Routes
from llmfail.engine.ports import ports
from llmfail.prices import Catalogue
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature
from llmfail.simulator import Simulator, parse
from llmfail.store.memory import Memory

if TYPE_CHECKING:
    from llmfail.wire.blocking import Wire

PROMPT = "This is a fire drill. Say hello."
BLINK = 0.05
"""Seconds that a hanging call really takes."""
PATIENCE = 30.0
"""Seconds that any other call may really take, however busy the machine is."""


class Theatre(Struct, frozen=True):
    """What all scenes share. ``settings`` are the user's, with the simulator for every provider."""

    settings: Settings
    simulator: Simulator
    wire: Wire
    catalogue: Catalogue


class Cast(Struct, frozen=True):
    """Who plays in the scenes of one feature. ``outage`` are the providers that go down with the primary's:
    itself, and whoever is at the same address. ``same_key`` are those that a refused key takes along.
    ``rules`` are those of the primary's circuit.
    """

    feature: Feature
    chain: tuple[Target, ...]
    outage: tuple[str, ...]
    same_key: tuple[str, ...]
    rules: Rules

    @property
    def primary(self) -> Target:
        return self.chain[0]

    @property
    def alone(self) -> bool:
        """Whether the primary has no fallback at all."""
        return len(self.chain) == 1

    @property
    def together(self) -> bool:
        """Whether every fallback goes down with the primary."""
        return not self.alone and all(target.provider in self.outage for target in self.chain)

    @property
    def address(self) -> str:
        """Where they all are, when they are all together."""
        providers = tuple(dict.fromkeys(target.provider for target in self.chain))
        return providers[0] if len(providers) == 1 else f"the same address ({', '.join(providers)})"


class Clock:
    """The time of one scene, in epoch seconds."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def theatre(settings: Settings) -> Iterator[Theatre]:
    """The simulator, open for as many scenes as there are."""
    from llmfail.wire.blocking import Wire

    wire = Wire()
    try:
        with Simulator(apis=apis_of(settings)) as simulator:
            yield Theatre(on_loopback(settings, simulator), simulator, wire, Catalogue())
    finally:
        wire.close()


class Play:
    """A scene's own store, clock and engine. It begins on a healthy day."""

    def __init__(self, house: Theatre, cast: Cast) -> None:
        self.cast = cast
        self.clock = Clock(time.time())
        self._house = house
        self._store = Memory(self.clock)
        self._routes = Routes(house.settings, house.catalogue)
        self._engine = Engine(house.settings, self._ports())
        self.strike("none")
        self.count_anew()

    @property
    def deadline(self) -> float:
        return self._house.settings.resolved(self.cast.feature).deadline

    def strike(self, fault: str, providers: Iterable[str] = ("all",)) -> None:
        """From now on this fault, and no other, at these providers."""
        faults = "none" if fault == "none" else ",".join(f"{name}={fault}" for name in providers)
        self._house.simulator.set_faults(parse(faults))
        self._hanging = tuple(map(self._house.simulator.base_url, providers)) if fault == "hang" else ()

    def ask(self) -> Receipt:
        """Ask the feature. The chain is named, so that an order by chance does not change the cast."""
        targets = () if self.cast.alone else self.cast.chain
        ask = Ask(question(PROMPT), feature=self.cast.feature.name, targets=targets)
        return ports.drive(self._engine.ask(ask))

    def look(self, target: Target) -> Look:
        gate = self._routes[target].gate
        values, now = self._store.read(gate.keys)
        return gates.look(gate, values, now)

    def is_open(self, target: Target) -> bool:
        return self.look(target).state == State.OPEN

    def until_retry(self, target: Target) -> float:
        """Seconds until the target may be asked again; 0 when it may be asked now."""
        retry_at = self.look(target).retry_at
        return 0.0 if retry_at is None else retry_at - self.clock.now

    def rules(self, target: Target) -> Rules:
        return self._house.settings.breaker_rules(target)

    def is_guarded(self, target: Target) -> bool:
        """Whether the target has a circuit that can keep calls away from it."""
        rules = self.rules(target)
        return rules.enabled and rules.recovery_timeout > 0

    def count_anew(self) -> None:
        self._counted = self._house.simulator.count()

    @property
    def requests(self) -> Counter[Target]:
        """What has arrived at the simulator since ``count_anew``."""
        seen = self._house.simulator.requests[self._counted :]
        return Counter(Target(one.provider, one.model) for one in seen)

    def count(self, provider: str) -> int:
        """How many of them went to a provider."""
        return sum(sent for target, sent in self.requests.items() if target.provider == provider)

    def _ports(self) -> ports.Ports:
        return replace(
            ports.blocking(self._house.wire, ports.Stores(self._store), self._house.catalogue),
            send=self._send,
            sleep=_no_time,
            monotonic=self.clock,
            wall=self.clock,
            draw=even,
        )

    async def _send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        hangs = call.url.startswith(self._hanging)
        try:
            return self._house.wire.send(call, BLINK if hangs else PATIENCE)
        except WireError as error:
            if error.cause == "timeout":
                self.clock.move(timeout)
            raise


def even() -> float:
    """What chance draws in a drill: always the middle, so that every drill is the same."""
    return 0.5


async def _no_time(_seconds: float) -> None:
    """Waiting, in a drill."""
