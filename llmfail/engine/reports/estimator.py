"""What features will cost: their chains at today's prices, the tokens of a request on each target, and the
months of the scenarios. The arithmetic is in core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmfail.core.errors import UsageError
from llmfail.core.model import Request, Target
from llmfail.core.pricing.price import Price
from llmfail.core.pricing.usage_report import Days
from llmfail.core.reports import cost_estimate as estimates
from llmfail.core.reports import cost_from_history
from llmfail.core.reports.cost_estimate import (
    Estimate,
    Line,
    Month,
    Offer,
)
from llmfail.core.reports.cost_from_history import Today
from llmfail.core.reports.scenario import (
    USUAL,
    Scenario,
    Wanted,
    scenario,
)
from llmfail.core.request.ask import question
from llmfail.core.routing.candidates import Candidate, order_of
from llmfail.engine.planning.targets import Routes
from llmfail.engine.ports.ports import Ports
from llmfail.engine.reports import token_count, usage_query
from llmfail.engine.reports.token_count import Counted, Question
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Feature

USUAL_INPUT = 2000


Chains = Mapping[str, tuple[Candidate, ...]]
"""The chain of each feature."""
Weights = Mapping[tuple[str, Target], Counted]
"""The input of a request, by feature and target."""


class Estimator:
    """At the prices of the moment in which it is made."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._settings = settings
        self._ports = ports
        self._routes = Routes(settings, ports.catalogue)
        self._at = ports.wall()

    async def estimate(self, wanted: Wanted) -> Estimate:
        """Raises UsageError for what is not configured, and for what nobody can tell."""
        if wanted.prompt is not None and wanted.input_tokens is not None:
            raise UsageError("say a prompt or --input-tokens, not both")
        if wanted.exact and wanted.prompt is None:
            raise UsageError("--exact counts a prompt; say one")
        chains = {feature.name: self._chained(feature) for feature in self._features(wanted.features)}
        scenarios = self._scenarios(wanted.scenarios, chains)
        weights = await self._weights(wanted, chains)
        lines = [self._line(name, chain, weights, wanted.output_tokens) for name, chain in chains.items()]
        months = [await self._month(one, lines, wanted.requests) for one in scenarios]
        return Estimate(tuple(lines), tuple(months), tuple(dict.fromkeys(_warnings(weights))))

    def _features(self, names: Sequence[str]) -> tuple[Feature, ...]:
        """Those that were named, each once, in their order; else all."""
        found = {feature.name: feature for feature in map(self._settings.feature, names)}
        return tuple(found.values() or self._settings.features.values())

    def _chained(self, feature: Feature) -> tuple[Candidate, ...]:
        """The chain as it is tried; without a list, everything that is usable, or would be with a key."""
        chain = self._routes.chain(feature)
        if feature.primary is not None:
            return estimates.chain(chain, feature.order or "listed", self._at)
        room = self._settings.resolved(feature).max_tokens
        roomy = [one for one in chain if one.max_output is None or one.max_output >= room]
        if not roomy:
            raise UsageError(
                f"feature {feature.name} has no target: give it a primary, or models with room for it"
            )
        ready = [one for one in roomy if one.missing_key is None]
        return estimates.chain(ready or roomy, feature.order or order_of(feature.priority), self._at)

    def _scenarios(self, names: Sequence[str], chains: Chains) -> list[Scenario]:
        """Those that were named, else the usual ones and the outage of each provider that a primary is at."""
        primaries = {chain[0].target.provider for chain in chains.values()}
        outages = (f"outage:{name}" for name in self._settings.providers if name in primaries)
        return [scenario(name, tuple(self._settings.providers)) for name in names or (*USUAL, *outages)]

    async def _weights(self, wanted: Wanted, chains: Chains) -> Weights:
        targets = self._settings.targets()
        everybody = [
            (name, target)
            for name, chain in chains.items()
            for target in dict.fromkeys((*(one.target for one in chain), *targets))
        ]
        if wanted.prompt is None:
            tokens = USUAL_INPUT if wanted.input_tokens is None else wanted.input_tokens
            return dict.fromkeys(everybody, Counted(tokens))
        requests = {
            name: Request(question(wanted.prompt), self._settings.feature(name).system) for name in chains
        }
        questions = {(name, target): Question(requests[name], target) for name, target in everybody}
        counts = await token_count.estimated(self._ports, list(questions.values()))
        if wanted.exact:
            asked = [questions[name, one.target] for name, chain in chains.items() for one in chain]
            counts = await token_count.counted(self._routes, self._ports, counts, asked)
        return {place: counts[one] for place, one in questions.items()}

    def _line(self, name: str, chain: Sequence[Candidate], weights: Weights, output_tokens: int) -> Line:
        def offered(target: Target) -> Offer:
            tokens = weights[name, target].input_tokens, output_tokens
            return estimates.offer(target, self._routes[target].price, tokens, self._at)

        return Line(
            name,
            output_tokens,
            offers=tuple(offered(one.target) for one in chain),
            others=tuple(
                offered(one) for one in self._settings.targets() if not self._routes.prices.embeds(one)
            ),
        )

    async def _month(self, one: Scenario, lines: Sequence[Line], requests: int) -> Month:
        if one.kind != "actual":
            return estimates.month(one, lines, requests)
        entries = await usage_query.recorded(self._settings, self._ports, Days())
        return cost_from_history.month(entries, lines, requests, Today(self._price, self._at))

    def _price(self, target: Target) -> Price | None:
        """Of a target that may not be configured any more."""
        return self._routes[target].price if target.provider in self._settings.providers else None


def _warnings(weights: Weights) -> Iterator[str]:
    for (_, target), counted in weights.items():
        if counted.note:
            yield f"{target}: not counted, but estimated: {counted.note}"
