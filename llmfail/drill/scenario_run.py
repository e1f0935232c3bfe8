"""One scene under way: a feature, the faults of the moment, and time that only moves when it is moved.

Every scene starts with a store of its own, so it can be played alone. Nobody waits in here: the clock jumps
over pauses, and a call that hangs is cut after a blink and goes on hanging on that clock, until it times out
or another target has answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission.circuit import BreakerRules, CircuitState
from llmfail.core.admission.gate import GateView
from llmfail.core.errors import WireError
from llmfail.core.model import Call, Reply, Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask, to_messages
from llmfail.drill.simulated_client import apis_of, point_to_simulator
from llmfail.engine.engine import Engine
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.blocking import build_blocking_ports
from llmfail.engine.ports.protocols import Ports, Stores
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.prices import Catalogue
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature
from llmfail.simulator import Simulator, parse_faults
from llmfail.store.memory import MemoryStore

if TYPE_CHECKING:
    from llmfail.wire.blocking import HttpcoreWire

DRILL_PROMPT = "This is a fire drill. Say hello."
HANG_SECONDS = 0.05
"""Seconds that a hanging call really takes."""
CALL_TIMEOUT = 30.0
"""Seconds that any other call may really take, however busy the machine is."""


class DrillContext(Struct, frozen=True):
    """What all scenes share. ``settings`` are the user's, with the simulator for every provider."""

    settings: Settings
    simulator: Simulator
    wire: HttpcoreWire
    catalogue: Catalogue


class ScenarioSubject(Struct, frozen=True):
    """Who plays in the scenes of one feature. ``outage_providers`` are the providers that go down with the
    primary's: itself, and those at the same address. ``same_key_providers`` are those that a refused key
    takes along. ``breaker_rules`` are those of the primary's circuit.
    """

    feature: Feature
    chain: tuple[Target, ...]
    outage_providers: tuple[str, ...]
    same_key_providers: tuple[str, ...]
    breaker_rules: BreakerRules

    @property
    def primary(self) -> Target:
        return self.chain[0]

    @property
    def has_no_fallback(self) -> bool:
        """Whether the primary has no fallback at all."""
        return len(self.chain) == 1

    @property
    def is_outage_total(self) -> bool:
        """Whether every fallback goes down with the primary."""
        return not self.has_no_fallback and all(
            target.provider in self.outage_providers for target in self.chain
        )

    @property
    def shared_address(self) -> str:
        """Where they all are, when they are all together."""
        providers = tuple(dict.fromkeys(target.provider for target in self.chain))
        return providers[0] if len(providers) == 1 else f"the same address ({', '.join(providers)})"


class TimedReceipt(NamedTuple):
    """``failover``: the seconds until the call was made that was answered, or the whole time without one."""

    receipt: Receipt
    failover: float


@contextmanager
def open_context(settings: Settings) -> Iterator[DrillContext]:
    """The simulator, open for as many scenes as there are."""
    from llmfail.wire.blocking import HttpcoreWire

    wire = HttpcoreWire()
    try:
        with Simulator(apis=apis_of(settings)) as simulator:
            yield DrillContext(point_to_simulator(settings, simulator), simulator, wire, Catalogue())
    finally:
        wire.close()


class ScenarioRun:
    """A scene's own store, clock and engine. It begins on a healthy day."""

    def __init__(self, context: DrillContext, subject: ScenarioSubject) -> None:
        self.subject = subject
        self.clock = SimulatedClock(time.time())
        self._context = context
        self._store = MemoryStore(self.clock.wall)
        self._sent_at = 0.0
        self._blinked = 0.0
        self._routes = TargetRoutes(context.settings, context.catalogue)
        self._engine = Engine(context.settings, self._build_ports())
        self.set_fault("none")
        self.reset_counts()

    @property
    def deadline(self) -> float:
        return self._context.settings.resolve_defaults(self.subject.feature).deadline

    def set_fault(self, fault: str, providers: Iterable[str] = ("all",)) -> None:
        """From now on this fault, and no other, at these providers."""
        faults = "none" if fault == "none" else ",".join(f"{name}={fault}" for name in providers)
        self._context.simulator.set_faults(parse_faults(faults))
        self._hanging_urls = (
            tuple(map(self._context.simulator.base_url, providers)) if fault == "hang" else ()
        )

    def ask(self) -> Receipt:
        """Ask the feature. The chain is named, so that an order by chance does not change the cast."""
        return self.ask_timed().receipt

    def ask_timed(self) -> TimedReceipt:
        """What hangs takes simulated time, everything else its real time."""
        targets = () if self.subject.has_no_fallback else self.subject.chain
        ask = Ask(to_messages(DRILL_PROMPT), feature=self.subject.feature.name, targets=targets)
        started = self._sent_at = self._read_time()
        receipt = self.clock.run(self._engine.ask(ask))
        ended = self._sent_at if receipt.ok else self._read_time()
        return TimedReceipt(receipt, ended - started)

    def _read_time(self) -> float:
        """Simulated and real seconds together, without the blinks."""
        return self.clock.now + time.perf_counter() - self._blinked

    def view(self, target: Target) -> GateView:
        gate = self._routes[target].gate
        values, now = self._store.read(gate.keys)
        return gates.view(gate, values, now)

    def is_open(self, target: Target) -> bool:
        return self.view(target).state == CircuitState.OPEN

    def seconds_until_retry(self, target: Target) -> float:
        """Seconds until the target may be asked again; 0 when it may be asked now."""
        retry_at = self.view(target).retry_at
        return 0.0 if retry_at is None else retry_at - self.clock.wall()

    def breaker_rules(self, target: Target) -> BreakerRules:
        return self._context.settings.breaker_rules_of(target)

    def has_circuit(self, target: Target) -> bool:
        """Whether the target has a circuit that can keep calls away from it."""
        rules = self.breaker_rules(target)
        return rules.enabled and rules.recovery_timeout > 0

    def reset_counts(self) -> None:
        self._count_at_reset = self._context.simulator.count()

    @property
    def requests(self) -> Counter[Target]:
        """What has arrived at the simulator since ``reset_counts``."""
        seen = self._context.simulator.requests[self._count_at_reset :]
        return Counter(Target(one.provider, one.model) for one in seen)

    def count_requests(self, provider: str) -> int:
        """How many of them went to a provider."""
        return sum(sent for target, sent in self.requests.items() if target.provider == provider)

    def _build_ports(self) -> Ports:
        return replace(
            build_blocking_ports(self._context.wire, Stores(self._store), self._context.catalogue),
            send=self._send,
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
            wall=self.clock.wall,
            random=draw_middle,
            concurrent=True,
            lock=asyncio.Lock,
        )

    async def _send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        hangs = call.url.startswith(self._hanging_urls)
        self._sent_at = self._read_time()
        began = time.perf_counter()
        try:
            return self._context.wire.send(call, HANG_SECONDS if hangs else CALL_TIMEOUT)
        except WireError as error:
            if error.cause == "timeout":
                self._blinked += time.perf_counter() - began
                await self.clock.sleep(timeout)
            raise


def draw_middle() -> float:
    """What chance draws in a drill: always the middle, so that every drill is the same."""
    return 0.5
