"""What features cost per request and per month, from prices and assumed tokens alone.

No history, no store, no clock. Money is integers of pico-dollars; what is split over features or mixed from
targets is a Fraction until it is shown, so that nothing is lost on the way. An unknown price makes unknown
whatever rests on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

from msgspec import Struct

from llmfail.core.errors import UsageError
from llmfail.core.model import Target, Usage
from llmfail.core.plan import Candidate, Chance, Order, arrange
from llmfail.core.pricing import Price, cost
from llmfail.core.receipt import usd

MILLION = 1_000_000
USUAL = ("all-primary", "fallback:50%", "aggressive", "budget")
"""The scenarios that are shown when none is named; outages of the primaries' providers come on top."""
GRAMMAR = "all-primary, fallback:50%, aggressive, budget or outage:PROVIDER"

Kind = Literal["all-primary", "fallback", "aggressive", "budget", "outage"]


class Offer(Struct, frozen=True):
    """A target that could serve a feature, and what one request costs there: None without a price."""

    target: Target
    price: Price | None
    cost: int | None


class Line(Struct, frozen=True):
    """One feature: the tokens of a request, and its chain, the primary first."""

    feature: str
    input_tokens: int
    output_tokens: int
    offers: tuple[Offer, ...]

    @property
    def primary(self) -> Offer:
        return self.offers[0]


class Scenario(Struct, frozen=True):
    """Who serves. ``share`` is that of the first fallback, ``provider`` the one that is down."""

    name: str
    kind: Kind
    share: Fraction = Fraction(0)
    provider: str = ""


class Month(Struct, frozen=True):
    """What a scenario comes to. ``cost`` in pico-dollars, None when a price is unknown; ``note`` says whose,
    and which features nobody would answer.
    """

    name: str
    requests: int
    cost: Fraction | None
    served_by: Mapping[str, tuple[Target, ...]]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        shown = {
            "name": self.name,
            "requests": self.requests,
            "avg_cost_usd": None if self.cost is None else usd(round(self.cost / self.requests)),
            "monthly_cost_usd": None if self.cost is None else usd(round(self.cost)),
            "served_by": {name: list(map(str, targets)) for name, targets in self.served_by.items()},
        }
        return {**shown, "note": self.note} if self.note else shown


class Estimate(Struct, frozen=True):
    lines: tuple[Line, ...]
    months: tuple[Month, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "features": {line.feature: {"targets": _targets(line)} for line in self.lines},
            "scenarios": [month.to_json() for month in self.months],
        }


Pool = Mapping[Target, Price | None]
"""Every target of a configuration with its price."""


def offer(target: Target, price: Price | None, input_tokens: int, output_tokens: int) -> Offer:
    usage = Usage(input_tokens, output_tokens=output_tokens)
    return Offer(target, price, None if price is None else cost(usage, price))


def chain(candidates: Sequence[Candidate], order: Order) -> tuple[Candidate, ...]:
    """The candidates as ``ask`` would try them, as far as that does not hang on latency, turn or chance."""
    if order in {"cost", "quality"}:
        return arrange(candidates, order, Chance())
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


def scenario(text: str, providers: Collection[str]) -> Scenario:
    """Raises UsageError for what is no scenario, or an outage of a provider that is not configured."""
    kind, colon, rest = text.partition(":")
    match kind:
        case "all-primary" | "aggressive" | "budget" if not colon:
            return Scenario(kind, kind)
        case "fallback" if colon:
            return Scenario(text, "fallback", share=_share(rest))
        case "outage" if rest in providers:
            return Scenario(text, "outage", provider=rest)
        case "outage" if colon:
            raise UsageError(
                f"--scenario {text}: there is no provider {rest!r}; there are {_names(providers)}"
            )
        case "actual" if not colon:
            raise UsageError(
                "--scenario actual needs recorded tokens per feature, which this version does not keep yet; "
                "say what you expect: --input-tokens, --output-tokens, --scenario fallback:10%"
            )
        case _:
            raise UsageError(f"--scenario takes {GRAMMAR}, got {text!r}")


def month(one: Scenario, lines: Sequence[Line], pool: Pool, requests: int) -> Month:
    """The cost of so many requests, split evenly over the features."""
    served = {line.feature: _serving(one, line, pool) for line in lines}
    each = Fraction(requests, len(lines))
    parts = [share * each * chosen.cost for used in served.values() for chosen, share in used if chosen.cost]
    used = {chosen.target: chosen for mixed in served.values() for chosen, _ in mixed}
    unpriced = [str(target) for target, chosen in used.items() if chosen.cost is None]
    return Month(
        name=one.name,
        requests=requests,
        cost=None if unpriced else sum(parts, Fraction(0)),
        served_by={name: tuple(chosen.target for chosen, _ in mixed) for name, mixed in served.items()},
        note="; ".join(_notes(unpriced, [name for name, mixed in served.items() if not mixed])),
    )


Serving = tuple[tuple[Offer, Fraction], ...]
"""Who serves a feature, each with its share; nobody when nothing is left."""


def _serving(one: Scenario, line: Line, pool: Pool) -> Serving:
    match one.kind:
        case "all-primary":
            return _whole(line.primary)
        case "fallback":
            return _mixed(line, one.share)
        case "aggressive":
            return _whole(_cheapest(line.offers))
        case "budget":
            tokens = line.input_tokens, line.output_tokens
            return _whole(_cheapest([offer(target, price, *tokens) for target, price in pool.items()]))
        case "outage":
            left = (each for each in line.offers if each.target.provider != one.provider)
            return tuple((each, Fraction(1)) for each in left)[:1]


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


def _share(text: str) -> Fraction:
    number = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text)
    if number and (share := Fraction(number[1]) / 100) <= 1:
        return share
    raise UsageError(f"--scenario fallback takes a share from 0% to 100%, such as fallback:50%, got {text!r}")


def _names(providers: Collection[str]) -> str:
    return ", ".join(providers) or "none"


def _targets(line: Line) -> list[dict[str, Any]]:
    return [
        {
            "target": str(each.target),
            "role": "fallback" if place else "primary",
            "input_tokens": line.input_tokens,
            "output_tokens": line.output_tokens,
            "cost_per_request_usd": usd(each.cost),
            "cost_per_1k_usd": None if each.cost is None else usd(each.cost * 1000),
            "saving": saving(each, line.primary),
            "price": _price(each.price),
        }
        for place, each in enumerate(line.offers)
    ]


def _price(price: Price | None) -> dict[str, Any] | None:
    """In USD per million tokens."""
    if price is None:
        return None
    return {
        "input": usd(price.input * MILLION),
        "output": usd(price.output * MILLION),
        "source": "config",
        "as_of": None,
    }
