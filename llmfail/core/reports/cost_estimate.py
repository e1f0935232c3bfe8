"""What features cost per request and per month, from prices and assumed tokens; ``cost_from_history`` does it
from recorded use.

No store, no clock. Money is integers of pico-dollars; what is split over features or mixed from targets is a
Fraction until it is shown, so nothing is rounded on the way. An unknown price makes every sum with it
unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from msgspec import Struct

from llmfail.core.model import Target, Usage
from llmfail.core.pricing.price import Price, Rates, compute_cost
from llmfail.core.receipt import format_usd
from llmfail.core.reports.scenario import Scenario
from llmfail.core.routing.candidates import (
    Candidate,
    Order,
    OrderInputs,
    order_candidates,
)

TOKENS_PER_PRICE = 1_000_000


class TargetCost(Struct, frozen=True):
    """A target that could serve a feature, and the cost of one request there at these rates, in the tokens
    that this target counts. ``cost`` is None without a price.
    """

    target: Target
    input_tokens: int
    price: Price | None
    rates: Rates | None
    cost: int | None


class FeatureEstimate(Struct, frozen=True):
    """One feature: its chain, the primary first, and all other configured targets."""

    feature: str
    output_tokens: int
    target_costs: tuple[TargetCost, ...]
    others: tuple[TargetCost, ...] = ()

    @property
    def primary(self) -> TargetCost:
        return self.target_costs[0]


class MonthlyCost(Struct, frozen=True):
    """The result of a scenario. ``cost`` is in pico-dollars, None when a price is unknown; ``note`` names the
    targets without a price and the features without an answer.
    """

    name: str
    requests: int
    cost: Fraction | None
    served_by: Mapping[str, tuple[Target, ...]]
    note: str = ""
    answered: Fraction = Fraction(1)
    """The share of the requests that a target answers."""

    @property
    def average(self) -> Fraction | None:
        """The cost of an answer."""
        if self.cost is None or not self.answered:
            return None
        return self.cost / (self.requests * self.answered)

    def to_json(self) -> dict[str, Any]:
        shown = {
            "name": self.name,
            "requests": self.requests,
            "avg_cost_usd": None if self.average is None else format_usd(round(self.average)),
            "monthly_cost_usd": None if self.cost is None else format_usd(round(self.cost)),
            "served_by": {name: list(map(str, targets)) for name, targets in self.served_by.items()},
        }
        return {**shown, "note": self.note} if self.note else shown


class Estimate(Struct, frozen=True):
    """``warnings`` are for people; not part of the JSON."""

    features: tuple[FeatureEstimate, ...]
    months: tuple[MonthlyCost, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "features": {line.feature: {"targets": _targets_to_json(line)} for line in self.features},
            "scenarios": [month.to_json() for month in self.months],
        }


def price_target(target: Target, price: Price | None, tokens: tuple[int, int], at: float) -> TargetCost:
    """``tokens`` are those of a request and of its answer."""
    rates = None if price is None else price.at(at)
    usage = Usage(tokens[0], output_tokens=tokens[1])
    return TargetCost(target, tokens[0], price, rates, None if rates is None else compute_cost(usage, rates))


def order_chain(candidates: Sequence[Candidate], order: Order, at: float) -> tuple[Candidate, ...]:
    """The candidates as ``ask`` would try them, as far as that does not depend on latency, turn or chance."""
    if order in {"cost", "quality"}:
        return order_candidates(candidates, order, OrderInputs(at))
    return tuple(candidates)


def saving(alternative: TargetCost, primary: TargetCost) -> float | None:
    """The share of the primary's cost that this target saves; negative when it costs more."""
    if alternative.cost is None or primary.cost is None:
        return None
    if alternative.cost == primary.cost:
        return 0.0
    if primary.cost == 0:
        return None
    return float(round(Fraction(primary.cost - alternative.cost, primary.cost), 4))


def estimate_month(scenario: Scenario, features: Sequence[FeatureEstimate], requests: int) -> MonthlyCost:
    """The cost of so many requests, split evenly over the features."""
    served = {line.feature: _split_traffic(scenario, line) for line in features}
    each = Fraction(requests, len(features))
    parts = [share * each * chosen.cost for used in served.values() for chosen, share in used if chosen.cost]
    used = {chosen.target: chosen for mixed in served.values() for chosen, _ in mixed}
    unpriced = [str(target) for target, chosen in used.items() if chosen.cost is None]
    return MonthlyCost(
        name=scenario.name,
        requests=requests,
        cost=None if unpriced or not used else sum(parts, Fraction(0)),
        served_by={name: tuple(chosen.target for chosen, _ in mixed) for name, mixed in served.items()},
        note="; ".join(_list_notes(unpriced, [name for name, mixed in served.items() if not mixed])),
        answered=Fraction(sum(map(bool, served.values())), len(served)),
    )


TrafficSplit = tuple[tuple[TargetCost, Fraction], ...]
"""The targets that serve a feature, each with its share; empty when no target is left."""


def _split_traffic(scenario: Scenario, estimate: FeatureEstimate) -> TrafficSplit:
    match scenario.kind:
        case "all-primary":
            return _send_all_to(estimate.primary)
        case "fallback":
            return _split_with_fallback(estimate, scenario.share)
        case "aggressive":
            return _send_all_to(_find_cheapest(estimate.target_costs))
        case "budget":
            return _send_all_to(_find_cheapest((*estimate.target_costs, *estimate.others)))
        case "outage":
            left = (each for each in estimate.target_costs if each.target.provider != scenario.provider)
            return tuple((each, Fraction(1)) for each in left)[:1]
        case "actual":
            raise ValueError("the scenario `actual` is estimated from history")


def _send_all_to(chosen: TargetCost) -> TrafficSplit:
    return ((chosen, Fraction(1)),)


def _split_with_fallback(estimate: FeatureEstimate, share: Fraction) -> TrafficSplit:
    """A feature without a fallback stays with its primary."""
    parts = (
        zip(estimate.target_costs, (1 - share, share), strict=False)
        if len(estimate.target_costs) > 1
        else _send_all_to(estimate.primary)
    )
    return tuple((chosen, part) for chosen, part in parts if part)


def _find_cheapest(target_costs: Sequence[TargetCost]) -> TargetCost:
    """The first of the cheapest; a target of unknown price only when there is no other."""
    known = [each for each in target_costs if each.cost is not None]
    return min(known, key=lambda each: each.cost or 0) if known else target_costs[0]


def _list_notes(unpriced: Sequence[str], unanswered: Sequence[str]) -> list[str]:
    price = [f"the price of {', '.join(unpriced)} is unknown"] if unpriced else []
    return [*price, *([f"no target answers {', '.join(unanswered)}"] if unanswered else [])]


def _targets_to_json(estimate: FeatureEstimate) -> list[dict[str, Any]]:
    return [
        {
            "target": str(each.target),
            "role": "fallback" if place else "primary",
            "input_tokens": each.input_tokens,
            "output_tokens": estimate.output_tokens,
            "cost_per_request_usd": format_usd(each.cost),
            "cost_per_1k_usd": None if each.cost is None else format_usd(each.cost * 1000),
            "saving": saving(each, estimate.primary),
            "price": _price_to_json(each),
        }
        for place, each in enumerate(estimate.target_costs)
    ]


def _price_to_json(target_cost: TargetCost) -> dict[str, Any] | None:
    """In USD per million tokens, at the size of such a request."""
    if target_cost.price is None or target_cost.rates is None:
        return None
    return {
        "input": format_usd(target_cost.rates.input.at(target_cost.input_tokens) * TOKENS_PER_PRICE),
        "output": format_usd(target_cost.rates.output.at(target_cost.input_tokens) * TOKENS_PER_PRICE),
        "source": target_cost.price.source,
        "as_of": target_cost.price.as_of,
    }
