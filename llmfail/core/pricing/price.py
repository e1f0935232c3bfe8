"""Usage x price -> cost. Integers of pico-dollars throughout; Decimal only where a price comes in.

What is listed for a model: periods (from a day on, or at hours of the day) and variants of them (flex,
priority, batch, fast), each with rates that may have steps. Days and hours are UTC. All of it means what it
means in genai-prices, so that both come to the same cost to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.model import Completion, Embedding, Usage

PICO_PER_TOKEN = 1_000_000
"""Pico-dollars per token for one dollar per million tokens."""
DAY_SECONDS = 86400
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

PriceSource = Literal["config", "catalogue"]
RateName = Literal["input", "output", "cached_input", "cache_write", "cache_write_1h"]
RATE_NAMES: tuple[RateName, ...] = ("input", "output", "cached_input", "cache_write", "cache_write_1h")
"""What a price may be of."""


class Rate(Struct, frozen=True, array_like=True, omit_defaults=True):
    """Pico-dollars per token. ``steps`` are cliffs, ascending: an input of more than ``start`` tokens makes
    every token cost that price.
    """

    base: int
    steps: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        reached = self.base
        for start, price in self.steps:
            if input_tokens > start:
                reached = price
        return reached

    def highest(self, input_tokens: int) -> int:
        """The dearest that an input of at most so many tokens can make it."""
        return max((self.base, *(price for start, price in self.steps if input_tokens > start)))


class Rates(Struct, frozen=True):
    """What counts at one moment, for one variant. What has no rate of its own costs as what it is a part of.
    ``request`` is what every call costs besides its tokens.
    """

    input: Rate
    output: Rate
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    request: int = 0


class PricePeriod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rates with what they depend on: the day from which they hold, the hours of the day (in seconds, over
    midnight when the end comes first), the variant. A variant names only what differs.
    """

    since: date | None = None
    hours: tuple[int, int] | None = None
    variant: str | None = None
    input: Rate | None = None
    output: Rate | None = None
    cached_input: Rate | None = None
    cache_write: Rate | None = None
    cache_write_1h: Rate | None = None
    request: int | None = None

    @property
    def rates(self) -> dict[str, Any]:
        """Those that are listed."""
        found = {name: getattr(self, name) for name in (*RATE_NAMES, "request")}
        return {name: rate for name, rate in found.items() if rate is not None}

    def is_in_force(self, moment: float) -> bool:
        if self.since is not None and moment < (self.since.toordinal() - _EPOCH_ORDINAL) * DAY_SECONDS:
            return False
        if self.hours is None:
            return True
        start, end = self.hours
        time = moment % DAY_SECONDS
        return (time >= start or time < end) if end < start else start <= time < end


class Price(Struct, frozen=True, dict=True):
    """Everything that is listed for one model. Of the periods the last that holds counts, or the first when
    none does; of the variants, for each rate, the first that holds. ``as_of`` is the day of the list, as in
    ``2026-11-09``.
    """

    periods: tuple[PricePeriod, ...]
    variants: tuple[PricePeriod, ...] = ()
    source: PriceSource = "catalogue"
    as_of: str | None = None

    @classmethod
    def per_million(
        cls,
        input_usd: Decimal,
        output_usd: Decimal,
        cached_input_usd: Decimal | None = None,
        cache_write_usd: Decimal | None = None,
    ) -> Price:
        """Always the same price, from USD per million tokens."""
        listed = PricePeriod(
            input=Rate(to_pico(input_usd)),
            output=Rate(to_pico(output_usd)),
            cached_input=None if cached_input_usd is None else Rate(to_pico(cached_input_usd)),
            cache_write=None if cache_write_usd is None else Rate(to_pico(cache_write_usd)),
        )
        return cls((listed,), source="config")

    def at(self, moment: float, variant: str | None = None) -> Rates:
        """The rates at a moment, in seconds since 1970."""
        if len(self.periods) == 1 and not (variant and self.variants):
            return self._first_rates
        period = next((one for one in reversed(self.periods) if one.is_in_force(moment)), self.periods[0])
        found = period.rates
        for other in reversed(self.variants if variant else ()):
            if other.variant == variant and other.is_in_force(moment):
                found.update(other.rates)
        return Rates(**found)

    @cached_property
    def _first_rates(self) -> Rates:
        return Rates(**self.periods[0].rates)


def compute_cost(usage: Usage, rates: Rates) -> int:
    """What one call with these tokens costs, in pico-dollars."""
    whole = usage.input_tokens
    written = rates.cache_write or rates.input
    hour = rates.cache_write_1h or written
    short = usage.cache_write_tokens - usage.cache_write_1h_tokens
    plain = whole - usage.cached_input_tokens - usage.cache_write_tokens
    return (
        max(plain, 0) * rates.input.at(whole)
        + usage.cached_input_tokens * (rates.cached_input or rates.input).at(whole)
        + max(short, 0) * written.at(whole)
        + usage.cache_write_1h_tokens * hour.at(whole)
        + usage.output_tokens * rates.output.at(whole)
        + rates.request
    )


def charge(
    answer: Completion | Embedding, price: Price | None, moment: float, *, reports_cost: bool
) -> int | None:
    """What an answer cost, None when nothing tells. ``reports_cost``: the provider bills what its answers
    say, so that its figure counts. ``moment``: when the call was sent.
    """
    if isinstance(answer, Completion) and not answer.billed:
        return 0
    usage = answer.usage
    if usage is None:
        return None
    if usage.reported_cost is not None and reports_cost:
        return usage.reported_cost
    return (
        None
        if price is None
        else with_surcharge(compute_cost(usage, price.at(moment, usage.variant)), usage.surcharge)
    )


def worst_case(rates: Rates, input_tokens: int, output_tokens: int) -> int:
    """What a call of at most so many tokens can cost in the worst case."""
    inputs = (rates.input, rates.cached_input, rates.cache_write, rates.cache_write_1h)
    dearest = max(rate.highest(input_tokens) for rate in inputs if rate is not None)
    return input_tokens * dearest + output_tokens * rates.output.highest(input_tokens) + rates.request


def with_surcharge(amount: int, per_cent: int) -> int:
    """So many per cent on top; half a pico-dollar counts as one."""
    return (amount * (100 + per_cent) + 50) // 100


def raise_rates(periods: Iterable[PricePeriod], per_cent: int) -> tuple[PricePeriod, ...]:
    """Every rate so many per cent dearer."""

    def more(rate: Rate | int) -> Rate | int:
        if isinstance(rate, int):
            return with_surcharge(rate, per_cent)
        steps = tuple((start, with_surcharge(price, per_cent)) for start, price in rate.steps)
        return Rate(with_surcharge(rate.base, per_cent), steps)

    return tuple(replace(one, **{name: more(rate) for name, rate in one.rates.items()}) for one in periods)


def to_pico(usd_per_million: Decimal) -> int:
    """Pico-dollars per token; what is finer is rounded."""
    return int((usd_per_million * PICO_PER_TOKEN).to_integral_value())
