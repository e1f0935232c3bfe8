"""What features will cost: their chains at today's prices, the tokens of a request on each target, and the
months of the scenarios. The arithmetic is in core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmfail.core.errors import UsageError
from llmfail.core.model import Request, Target
from llmfail.core.pricing.price import Price
from llmfail.core.pricing.usage_report import DayRange
from llmfail.core.reports import cost_estimate as estimates
from llmfail.core.reports import cost_from_history
from llmfail.core.reports.cost_estimate import (
    Estimate,
    FeatureEstimate,
    MonthlyCost,
    TargetCost,
)
from llmfail.core.reports.cost_from_history import CurrentPrices
from llmfail.core.reports.scenario import (
    DEFAULT_SCENARIOS,
    EstimateRequest,
    Scenario,
    parse_scenario,
)
from llmfail.core.request.ask import to_messages
from llmfail.core.routing.candidates import Candidate, order_of
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.reports import token_count, usage_query
from llmfail.engine.reports.token_count import CountRequest, TokenCount
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature

DEFAULT_INPUT_TOKENS = 2000


Chains = Mapping[str, tuple[Candidate, ...]]
"""The chain of each feature."""
InputCounts = Mapping[tuple[str, Target], TokenCount]
"""The input of a request, by feature and target."""


class Estimator:
    """At the prices of the moment in which it is made."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings = settings
        self._ports = ports
        self._routes = TargetRoutes(settings, ports.catalogue)
        self._moment = ports.wall()

    async def estimate(self, wanted: EstimateRequest) -> Estimate:
        """Raises UsageError for what is not configured, and for what nobody can tell."""
        if wanted.prompt is not None and wanted.input_tokens is not None:
            raise UsageError("say a prompt or --input-tokens, not both")
        if wanted.exact and wanted.prompt is None:
            raise UsageError("--exact counts a prompt; say one")
        chains = {feature.name: self._chain(feature) for feature in self._features(wanted.features)}
        scenarios = self._scenarios(wanted.scenarios, chains)
        weights = await self._count_input(wanted, chains)
        lines = [
            self._build_line(name, chain, weights, wanted.output_tokens) for name, chain in chains.items()
        ]
        months = [await self._build_month(one, lines, wanted.requests) for one in scenarios]
        return Estimate(tuple(lines), tuple(months), tuple(dict.fromkeys(_warnings(weights))))

    def _features(self, names: Sequence[str]) -> tuple[Feature, ...]:
        """Those that were named, each once, in their order; else all."""
        found = {feature.name: feature for feature in map(self._settings.find_feature, names)}
        return tuple(found.values() or self._settings.features.values())

    def _chain(self, feature: Feature) -> tuple[Candidate, ...]:
        """The chain as it is tried; without a list, everything that is usable, or would be with a key."""
        chain = self._routes.chain(feature)
        if feature.primary is not None:
            return estimates.order_chain(chain, feature.order or "listed", self._moment)
        room = self._settings.resolve_defaults(feature).max_tokens
        roomy = [one for one in chain if one.max_output is None or one.max_output >= room]
        if not roomy:
            raise UsageError(
                f"feature {feature.name} has no target: give it a primary, or models with room for it"
            )
        ready = [one for one in roomy if one.missing_key is None]
        return estimates.order_chain(
            ready or roomy, feature.order or order_of(feature.priority), self._moment
        )

    def _scenarios(self, names: Sequence[str], chains: Chains) -> list[Scenario]:
        """Those that were named, else the usual ones and the outage of each provider that a primary is at."""
        primaries = {chain[0].target.provider for chain in chains.values()}
        outages = (f"outage:{name}" for name in self._settings.providers if name in primaries)
        return [
            parse_scenario(name, tuple(self._settings.providers))
            for name in names or (*DEFAULT_SCENARIOS, *outages)
        ]

    async def _count_input(self, wanted: EstimateRequest, chains: Chains) -> InputCounts:
        targets = self._settings.list_targets()
        everybody = [
            (name, target)
            for name, chain in chains.items()
            for target in dict.fromkeys((*(one.target for one in chain), *targets))
        ]
        if wanted.prompt is None:
            tokens = DEFAULT_INPUT_TOKENS if wanted.input_tokens is None else wanted.input_tokens
            return dict.fromkeys(everybody, TokenCount(tokens))
        requests = {
            name: Request(to_messages(wanted.prompt), self._settings.find_feature(name).system)
            for name in chains
        }
        questions = {(name, target): CountRequest(requests[name], target) for name, target in everybody}
        counts = await token_count.estimate_counts(self._routes, self._ports, list(questions.values()))
        if wanted.exact:
            asked = [questions[name, one.target] for name, chain in chains.items() for one in chain]
            counts = await token_count.count_by_providers(self._routes, self._ports, counts, asked)
        return {place: counts[one] for place, one in questions.items()}

    def _build_line(
        self, name: str, chain: Sequence[Candidate], counts: InputCounts, output_tokens: int
    ) -> FeatureEstimate:
        def estimate_target(target: Target) -> TargetCost:
            tokens = counts[name, target].input_tokens, output_tokens
            return estimates.price_target(target, self._routes[target].price, tokens, self._moment)

        return FeatureEstimate(
            name,
            output_tokens,
            target_costs=tuple(estimate_target(one.target) for one in chain),
            others=tuple(
                estimate_target(one)
                for one in self._settings.list_targets()
                if not self._routes.prices.is_embedding_model(one)
            ),
        )

    async def _build_month(
        self, one: Scenario, lines: Sequence[FeatureEstimate], requests: int
    ) -> MonthlyCost:
        if one.kind != "actual":
            return estimates.estimate_month(one, lines, requests)
        entries = await usage_query.load_usage_records(self._settings, self._ports, DayRange())
        return cost_from_history.estimate_month(
            entries, lines, requests, CurrentPrices(self._price, self._moment)
        )

    def _price(self, target: Target) -> Price | None:
        """Of a target that may not be configured any more."""
        return self._routes[target].price if target.provider in self._settings.providers else None


def _warnings(counts: InputCounts) -> Iterator[str]:
    for (_, target), counted in counts.items():
        if counted.note:
            yield f"{target}: not counted, but estimated: {counted.note}"
