"""What features cost per request and per month, from prices and assumed tokens alone; what recorded use comes
to is ``core.actual``.

No history, no store, no clock. Money is integers of pico-dollars; what is split over features or mixed from
targets is a Fraction until it is shown, so that nothing is lost on the way. An unknown price makes unknown
whatever rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from msgspec import Struct

from llmfail.core.model import Target, Usage
from llmfail.core.pricing.price import Price, Rates, cost
from llmfail.core.receipt import usd
from llmfail.core.reports.scenario import Scenario
from llmfail.core.routing.candidates import (
    Candidate,
    Chance,
    Order,
    arrange,
)

MILLION = 1_000_000


class Offer(Struct, frozen=True):
    """A target that could serve a feature, and what one request costs there, with as many tokens as this
    target counts, by these rates: None without a price.
    """

    target: Target
    input_tokens: int
    price: Price | None
    rates: Rates | None
    cost: int | None


class Line(Struct, frozen=True):
    """One feature: its chain, the primary first, and whoever else is configured."""

    feature: str
    output_tokens: int
    offers: tuple[Offer, ...]
    others: tuple[Offer, ...] = ()

    @property
    def primary(self) -> Offer:
        return self.offers[0]


class Month(Struct, frozen=True):
    """What a scenario comes to. ``cost`` in pico-dollars, None when a price is unknown; ``note`` says whose,
    and which features nobody would answer.
    """

    name: str
    requests: int
    cost: Fraction | None
    served_by: Mapping[str, tuple[Target, ...]]
    note: str = ""
    answered: Fraction = Fraction(1)
    """The share of the requests that somebody answers."""

    @property
    def average(self) -> Fraction | None:
        """What an answer costs."""
        if self.cost is None or not self.answered:
            return None
        return self.cost / (self.requests * self.answered)

    def to_json(self) -> dict[str, Any]:
        shown = {
            "name": self.name,
            "requests": self.requests,
            "avg_cost_usd": None if self.average is None else usd(round(self.average)),
            "monthly_cost_usd": None if self.cost is None else usd(round(self.cost)),
            "served_by": {name: list(map(str, targets)) for name, targets in self.served_by.items()},
        }
        return {**shown, "note": self.note} if self.note else shown


class Estimate(Struct, frozen=True):
    """``warnings`` are for people; not part of the JSON."""

    lines: tuple[Line, ...]
    months: tuple[Month, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "features": {line.feature: {"targets": _targets(line)} for line in self.lines},
            "scenarios": [month.to_json() for month in self.months],
        }


def offer(target: Target, price: Price | None, tokens: tuple[int, int], at: float) -> Offer:
    """``tokens`` are those of a request and of its answer."""
    rates = None if price is None else price.at(at)
    usage = Usage(tokens[0], output_tokens=tokens[1])
    return Offer(target, tokens[0], price, rates, None if rates is None else cost(usage, rates))


def chain(candidates: Sequence[Candidate], order: Order, at: float) -> tuple[Candidate, ...]:
    """The candidates as ``ask`` would try them, as far as that does not hang on latency, turn or chance."""
    if order in {"cost", "quality"}:
        return arrange(candidates, order, Chance(at))
    return tuple(candidates)


def saving(one: Offer, primary: Offer) -> float | None:
    """The share of the primary's cost that this target saves; negative when it is dearer."""
    if one.cost is None or primary.cost is None:
        return None
    if one.cost == primary.cost:
        return 0.0
    if primary.cost == 0:
        return None
    return float(round(Fraction(primary.cost - one.cost, primary.cost), 4))


def month(one: Scenario, lines: Sequence[Line], requests: int) -> Month:
    """The cost of so many requests, split evenly over the features."""
    served = {line.feature: _serving(one, line) for line in lines}
    each = Fraction(requests, len(lines))
    parts = [share * each * chosen.cost for used in served.values() for chosen, share in used if chosen.cost]
    used = {chosen.target: chosen for mixed in served.values() for chosen, _ in mixed}
    unpriced = [str(target) for target, chosen in used.items() if chosen.cost is None]
    return Month(
        name=one.name,
        requests=requests,
        cost=None if unpriced or not used else sum(parts, Fraction(0)),
        served_by={name: tuple(chosen.target for chosen, _ in mixed) for name, mixed in served.items()},
        note="; ".join(_notes(unpriced, [name for name, mixed in served.items() if not mixed])),
        answered=Fraction(sum(map(bool, served.values())), len(served)),
    )


Serving = tuple[tuple[Offer, Fraction], ...]
"""Who serves a feature, each with its share; nobody when nothing is left."""


def _serving(one: Scenario, line: Line) -> Serving:
    match one.kind:
        case "all-primary":
            return _whole(line.primary)
        case "fallback":
            return _mixed(line, one.share)
        case "aggressive":
            return _whole(_cheapest(line.offers))
        case "budget":
            return _whole(_cheapest((*line.offers, *line.others)))
        case "outage":
            left = (each for each in line.offers if each.target.provider != one.provider)
            return tuple((each, Fraction(1)) for each in left)[:1]
        case "actual":
            raise ValueError("what was recorded is no assumption")


def _whole(chosen: Offer) -> Serving:
    return ((chosen, Fraction(1)),)


def _mixed(line: Line, share: Fraction) -> Serving:
    """A feature without a fallback stays with its primary."""
    parts = (
        zip(line.offers, (1 - share, share), strict=False) if len(line.offers) > 1 else _whole(line.primary)
    )
    return tuple((chosen, part) for chosen, part in parts if part)


def _cheapest(offers: Sequence[Offer]) -> Offer:
    """The first of the cheapest; one of unknown price only when there is no other."""
    known = [each for each in offers if each.cost is not None]
    return min(known, key=lambda each: each.cost or 0) if known else offers[0]


def _notes(unpriced: Sequence[str], unanswered: Sequence[str]) -> list[str]:
    price = [f"the price of {', '.join(unpriced)} is unknown"] if unpriced else []
    return [*price, *([f"nobody answers {', '.join(unanswered)}"] if unanswered else [])]


def _targets(line: Line) -> list[dict[str, Any]]:
    return [
        {
            "target": str(each.target),
            "role": "fallback" if place else "primary",
            "input_tokens": each.input_tokens,
            "output_tokens": line.output_tokens,
            "cost_per_request_usd": usd(each.cost),
            "cost_per_1k_usd": None if each.cost is None else usd(each.cost * 1000),
            "saving": saving(each, line.primary),
            "price": _price(each),
        }
        for place, each in enumerate(line.offers)
    ]


def _price(one: Offer) -> dict[str, Any] | None:
    """In USD per million tokens, as it is for such a request."""
    if one.price is None or one.rates is None:
        return None
    return {
        "input": usd(one.rates.input.at(one.input_tokens) * MILLION),
        "output": usd(one.rates.output.at(one.input_tokens) * MILLION),
        "source": one.price.source,
        "as_of": one.price.as_of,
    }
