"""One forecast: asks at a rate, over so many seconds, through the real engine with its real circuits.

An ask whose primary is healthy for as long as a call may take, with a closed circuit without failures, and
in time, is passed over: its primary answers, and no state changes by which another ask could end otherwise.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from math import ceil, inf
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import hedge_budget
from llmfail.core.admission.breaker import Circuit
from llmfail.core.model import Call, Target
from llmfail.core.receipt import Receipt
from llmfail.core.records.record import load_or_default
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.execution import run_inline
from llmfail.engine.ports.google_token import GoogleTokens
from llmfail.engine.ports.protocols import AsyncReply, Ports
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.engine.ports.store_access import InlineStore, write
from llmfail.forecast.feature_tally import DAY_SECONDS, FeatureTally
from llmfail.forecast.outages import OutagePlan, draw_histories
from llmfail.forecast.simulated_providers import (
    Latency,
    SimulatedProviders,
    TokenCounts,
    simulate_settings,
)
from llmfail.prices import Catalogue
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature
from llmfail.store.memory import MemoryStore

PROMPT = "This is a forecast."
GOLDEN_RATIO = 1e3 * (5**0.5 - 1) / 2
"""Its multiples, less their whole part, are spread evenly over 0..1."""
CHANGING_ORDERS = frozenset({"weighted", "round_robin", "latency"})
"""Orders in which the next ask may begin with another target."""
ORIGIN = 1_700_000_000.0
"""A moment on the wall clock; which one does not matter."""


class Simulation(Struct, frozen=True):
    """``rate`` in asks a second, spread evenly over the features by chance."""

    features: tuple[Feature, ...]
    outages: OutagePlan
    seconds: float
    rate: float
    seed: int = 0
    latencies: Mapping[Target, Latency] = {}
    tokens: TokenCounts = TokenCounts()


def play(settings: Settings, catalogue: Catalogue, simulation: Simulation) -> dict[str, FeatureTally]:
    """What became of the asks of each feature."""
    return _Run(simulate_settings(settings), catalogue, simulation).run()


class _Run:
    def __init__(self, settings: Settings, catalogue: Catalogue, simulation: Simulation) -> None:
        self._simulation = simulation
        self._time = SimulatedClock(ORIGIN)
        seed = simulation.seed
        self._arrivals, outages, latencies = (Random(f"{seed} {part}") for part in range(3))  # noqa: S311
        self._store = MemoryStore(self._time.wall)
        self._routes = TargetRoutes(settings, catalogue)
        links = [(feature, link) for feature in simulation.features for link in settings.chain_of(feature)]
        targets = list(dict.fromkeys(link.target for _, link in links))
        self._histories = draw_histories(simulation.outages, targets, simulation.seconds, outages)
        self._providers = SimulatedProviders(
            settings, self._histories, simulation.latencies, simulation.tokens, self._time, latencies
        )
        self._engine = Engine(settings, self._build_ports(catalogue))
        days = max(1, ceil(simulation.seconds / DAY_SECONDS))
        self._tallies = {one.name: FeatureTally(days) for one in simulation.features}
        self._settled = {one.name for one in simulation.features if not _is_changing(one)}
        self._patience = {one.name: _find_patience(settings, one) for one in simulation.features}
        self._passed_over: Counter[str] = Counter()
        self._under_way = 0
        self._margin = max(settings.configured_timeout(feature, link.target) for feature, link in links)
        self._costs: dict[str, int | None] = {}
        self._primaries: dict[str, Target] = {}
        self._named = (0.0, 0)

    def run(self) -> dict[str, FeatureTally]:
        self._time.run(self._play_asks())
        return self._tallies

    async def _play_asks(self) -> None:
        simulation, dice = self._simulation, self._arrivals
        moment = dice.expovariate(simulation.rate)
        async with asyncio.TaskGroup() as group:
            while moment < simulation.seconds:
                feature = dice.choice(simulation.features)
                await self._wait_until(moment)
                if not self._pass_over(feature.name, moment):
                    self._under_way += 1
                    group.create_task(self._play_ask(feature.name, moment))
                moment += dice.expovariate(simulation.rate)

    async def _wait_until(self, moment: float) -> None:
        """Where nothing is under way, nothing can happen before."""
        wait = moment - self._time.now
        if self._under_way:
            await self._time.sleep(wait)
        else:
            self._time.advance(wait)

    async def _play_ask(self, feature: str, moment: float) -> None:
        await self._credit_passed_over(feature)
        receipt = await self._engine.ask(Ask(to_messages(PROMPT), feature=feature))
        self._finish(feature, moment, receipt)
        self._under_way -= 1

    async def _credit_passed_over(self, feature: str) -> None:
        """What they earned for hedges."""
        asks = self._passed_over.pop(feature, 0)
        if asks:
            step = hedge_budget.credit(self._routes.hedge_key(feature), 0, asks=asks)
            await write(InlineStore(self._store), step)

    def _pass_over(self, feature: str, moment: float) -> bool:
        primary = self._primaries.get(feature)
        if primary is None or not self._histories[primary].is_healthy(moment, moment + self._margin):
            return False
        latency = self._providers.draw_latency(primary)
        if latency >= self._patience[feature]:
            self._providers.expect(primary, latency)
            return False
        self._passed_over[feature] += 1
        self._tallies[feature].count_passed_over(moment, primary, latency, self._costs[feature])
        return True

    def _finish(self, feature: str, moment: float, receipt: Receipt) -> None:
        """A feature may be passed over from the moment at which its primary is known to be well."""
        self._tallies[feature].count_receipt(moment, receipt)
        for name in [name for name, one in self._primaries.items() if not self._is_well(one)]:
            del self._primaries[name]
        if (
            feature in self._settled
            and receipt.tier == 0
            and receipt.target
            and self._is_well(receipt.target)
        ):
            self._primaries[feature] = receipt.target
            self._costs[feature] = receipt.cost_pico_usd

    def _is_well(self, target: Target) -> bool:
        """Whether its circuit is as if it had never failed."""
        key = self._routes[target].gate.circuit_key
        values, _ = self._store.read([key])
        circuit = load_or_default(values[key], Circuit)
        return replace(circuit, generation=0, at=0.0, slots=()) == Circuit()

    def _draw_by_moment(self) -> float:
        """A number that depends on the moment alone: an ask that is passed over changes no other."""
        return self._time.now * GOLDEN_RATIO % 1.0

    def _name_by_moment(self) -> str:
        """Of an ask: so that ramps, which choose by it, leave every forecast as it was."""
        moment, number = self._named
        self._named = (self._time.now, number + 1 if moment == self._time.now else 0)
        return f"{self._named[0]!r}-{self._named[1]}"

    def _build_ports(self, catalogue: Catalogue) -> Ports:
        return Ports(
            send=self._providers.send,
            open=_open_nothing,
            google_tokens=GoogleTokens(self._providers.send, run_inline),
            store=InlineStore(self._store),
            catalogue=catalogue,
            sleep=self._time.sleep,
            prepare=lambda: None,
            is_down=lambda: False,
            monotonic=self._time.monotonic,
            wall=self._time.wall,
            random=self._draw_by_moment,
            new_id=self._name_by_moment,
            concurrent=True,
            lock=asyncio.Lock,
        )


def _is_changing(feature: Feature) -> bool:
    """Whether an ask that is passed over would have changed what becomes of the next."""
    return feature.order in CHANGING_ORDERS or feature.hedge == "p95"


def _find_patience(settings: Settings, feature: Feature) -> float:
    """Seconds after which an answer of its first target is late."""
    chain = settings.chain_of(feature)
    hedge = feature.hedge if isinstance(feature.hedge, float) and len(chain) > 1 else inf
    return min(hedge, settings.configured_timeout(feature, chain[0].target)) if chain else inf


async def _open_nothing(_call: Call, _timeout: float) -> AsyncReply:
    """No ask of a forecast is streamed."""
    raise NotImplementedError
