"""Asks that need not be played, because nothing can happen in them by which another ask could end otherwise.

An ask is passed over when its primary is healthy for as long as a call may take, and its circuit is as if it
had never failed. Where the answer is late, so that a hedge starts, the same has to hold for the fallback; the
hedge is paid from the feature's bucket as always. While the circuit of the primary is open and admits no
trial, nothing is asked of it, and all of this is said of the fallback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from msgspec.structs import replace

from llmfail.core.admission import hedge_budget
from llmfail.core.admission.circuit import Circuit, CircuitState
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.records.record import load_or_default
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.store_access import InlineStore, write
from llmfail.forecast.feature_tally import FeatureTally, PassedOverAsk
from llmfail.forecast.outages import OutageHistory
from llmfail.forecast.simulated_providers import SimulatedProviders
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature
from llmfail.store.memory import MemoryStore

CHANGING_ORDERS = frozenset({"weighted", "round_robin", "latency"})
"""Orders in which the next ask may begin with another target."""


class HealthyStretch:
    def __init__(  # noqa: PLR0913, PLR0917 - all that a simulation has
        self,
        settings: Settings,
        features: Iterable[Feature],
        histories: Mapping[Target, OutageHistory],
        providers: SimulatedProviders,
        routes: TargetRoutes,
        store: MemoryStore,
        tallies: Mapping[str, FeatureTally],
    ) -> None:
        self._histories = histories
        self._providers = providers
        self._routes = routes
        self._store = store
        self._tallies = tallies
        chains = {one.name: [link.target for link in settings.chain_of(one)] for one in features}
        self._seconds = {one.name: _Patience(settings, one, chains[one.name]) for one in features}
        compared = {one.feature for one in settings.experiments}
        in_order = (one for one in features if one.primary and one.order in {None, "listed"})
        listed = [one.name for one in in_order if one.name not in compared]
        self._firsts = {name: chains[name][0] for name in listed if chains[name]}
        self._fallbacks = {name: chain[1] for name, chain in chains.items() if len(chain) > 1}
        self._margin = max(
            settings.configured_timeout(one, target) for one in features for target in chains[one.name]
        )
        self._primaries: dict[str, Target] = {}
        self._costs: dict[tuple[str, Target], int | None] = {}
        self._earned: dict[str, int] = {}
        """Credits for hedges since an ask was played, which the store does not have yet."""

    def pass_over(self, feature: str, moment: float) -> bool:
        """Count an ask without playing it; False where it has to be played."""
        primary, patience = self._primaries.get(feature), self._seconds[feature]
        target = primary or self._find_stand_in(feature)
        if target is None or not self._is_healthy(target, moment):
            return False
        latency, cost = self._providers.draw_latency(target), self._costs[feature, target]
        if latency < patience.until_late:
            self._earned[feature] = self._earned.get(feature, 0) + 1
            self._tallies[feature].count_passed_over(PassedOverAsk(moment, target, latency, cost))
            return True
        is_in_time = primary is not None and latency < patience.until_timeout
        if is_in_time and self._hedge(feature, moment, latency, cost):
            return True
        self._providers.expect(target, latency)
        return False

    def _find_stand_in(self, feature: str) -> Target | None:
        """The fallback, while the circuit of the first target is open and admits no trial."""
        first, fallback = self._firsts.get(feature), self._fallbacks.get(feature)
        if first is None or fallback is None or self._seconds[feature].is_changing:
            return None
        if (feature, fallback) not in self._costs:
            return None
        circuit, now = self._read_circuit(first)
        is_refusing = circuit.state is CircuitState.OPEN and now < circuit.until
        return fallback if is_refusing and self._is_well(fallback) else None

    def _hedge(self, feature: str, moment: float, latency: float, cost: int | None) -> bool:
        """The fallback is asked as well, and the first answer counts."""
        primary, fallback = self._primaries[feature], self._fallbacks[feature]
        is_known = (feature, fallback) in self._costs
        if not is_known or not self._is_healthy(fallback, moment) or not self._is_well(fallback):
            return False
        if self._count_credits(feature) < hedge_budget.CREDITS_PER_HEDGE:
            return False
        delay = self._seconds[feature].until_late
        other = delay + self._providers.draw_latency(fallback)
        self._earned[feature] = self._earned.get(feature, 0) + 1 - hedge_budget.CREDITS_PER_HEDGE
        ask = PassedOverAsk(moment, primary, latency, cost, lost=0.0)
        if other < latency:
            ask = PassedOverAsk(moment, fallback, other, self._costs[feature, fallback], lost=delay)
        self._tallies[feature].count_passed_over(ask)
        return True

    def note(self, feature: str, receipt: Receipt) -> None:
        """What an ask that was played shows of its targets."""
        for name in [name for name, one in self._primaries.items() if not self._is_well(one)]:
            del self._primaries[name]
        if receipt.target is None:
            return
        called = [entry for entry in receipt.trail if entry.action == "called" and entry.outcome == "ok"]
        self._costs[feature, receipt.target] = called[-1].cost_pico_usd if called else None
        is_first = receipt.tier == 0 and not self._seconds[feature].is_changing
        if is_first and self._is_well(receipt.target):
            self._primaries[feature] = receipt.target

    async def pay_in(self, feature: str) -> None:
        """What the asks that were passed over earned and spent, before one is played."""
        earned = self._earned.pop(feature, 0)
        if earned:
            step = hedge_budget.credit(self._routes.hedge_key(feature), 0, asks=earned)
            await write(InlineStore(self._store), step)

    def _count_credits(self, feature: str) -> int:
        key = self._routes.hedge_key(feature)
        values, _ = self._store.read([key])
        kept = load_or_default(values[key], hedge_budget.TokenBucket).earned
        self._earned[feature] = min(self._earned.get(feature, 0), hedge_budget.MAX_CREDITS - kept)
        return kept + self._earned[feature]

    def _is_healthy(self, target: Target, moment: float) -> bool:
        return self._histories[target].is_healthy(moment, moment + self._margin)

    def _is_well(self, target: Target) -> bool:
        """Whether its circuit is as if it had never failed."""
        circuit, _ = self._read_circuit(target)
        return replace(circuit, generation=0, at=0.0, slots=(), answered={}) == Circuit()

    def _read_circuit(self, target: Target) -> tuple[Circuit, float]:
        """And the moment, by the store's clock."""
        key = self._routes[target].gate.circuit_key
        values, now = self._store.read([key])
        return load_or_default(values[key], Circuit), now


class _Patience:
    """Seconds until an answer of a feature's first two targets is late, and until it is too late.
    ``is_changing``: an ask that is passed over would have changed what becomes of the next.
    """

    def __init__(self, settings: Settings, feature: Feature, chain: list[Target]) -> None:
        hedge = feature.hedge if isinstance(feature.hedge, float) and len(chain) > 1 else inf
        timeouts = (settings.configured_timeout(feature, target) for target in chain[:2])
        self.until_timeout = min(timeouts, default=inf)
        self.until_late = min(hedge, self.until_timeout)
        self.is_changing = feature.order in CHANGING_ORDERS or feature.hedge == "p95"
