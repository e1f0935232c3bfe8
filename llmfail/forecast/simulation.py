"""One forecast: asks at a rate, over so many seconds, through the real engine with its real circuits.

Asks of healthy stretches are passed over (``healthy_stretch``); all others are asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import ceil
from random import Random

from msgspec import Struct

from llmfail.core.model import Call, Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.execution import run_inline
from llmfail.engine.ports.google_token import GoogleTokens
from llmfail.engine.ports.protocols import AsyncReply, Ports
from llmfail.engine.ports.simulated_clock import SimulatedClock
from llmfail.engine.ports.store_access import InlineStore
from llmfail.forecast.feature_tally import DAY_SECONDS, FeatureTally
from llmfail.forecast.healthy_stretch import HealthyStretch
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
        self._stretch = HealthyStretch(
            settings,
            simulation.features,
            self._histories,
            self._providers,
            self._routes,
            self._store,
            self._tallies,
        )
        self._under_way = 0
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
                if not self._stretch.pass_over(feature.name, moment):
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
        await self._stretch.pay_in(feature)
        receipt = await self._engine.ask(Ask(to_messages(PROMPT), feature=feature))
        self._tallies[feature].count_receipt(moment, receipt)
        self._stretch.note(feature, receipt)
        self._under_way -= 1

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


async def _open_nothing(_call: Call, _timeout: float) -> AsyncReply:
    """No ask of a forecast is streamed."""
    raise NotImplementedError
