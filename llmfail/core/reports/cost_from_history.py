"""What a month costs when it is like the recorded days: their tokens, their mix of features, their fallbacks.

An answered request costs what all recorded calls cost, divided by the answers, so failed calls and rejected
answers are included. Pure; money is integers of pico-dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from msgspec import Struct

from llmfail.core.errors import UsageError
from llmfail.core.model import Target, Usage
from llmfail.core.pricing.price import (
    Price,
    Rate,
    Rates,
    compute_cost,
)
from llmfail.core.pricing.usage_record import TokenTotals, UsageEntry, UsageTotals
from llmfail.core.pricing.usage_report import DEFAULT_DAYS
from llmfail.core.reports.cost_estimate import FeatureEstimate, MonthlyCost

SCENARIO_NAME = "actual"


class CurrentPrices(Struct, frozen=True):
    """The prices for calls that were recorded without a cost."""

    price_of: Callable[[Target], Price | None]
    at: float


def estimate_month(
    entries: Sequence[UsageEntry], features: Sequence[FeatureEstimate], requests: int, prices: CurrentPrices
) -> MonthlyCost:
    """The cost of so many requests to these features. Raises UsageError when none of them was answered."""
    primaries = {line.feature: line.primary.target for line in features}
    recorded = [entry for entry in entries if entry.feature in primaries]
    total = sum((entry.totals for entry in recorded), UsageTotals())
    if not total.answered:
        raise UsageError(
            f"--scenario {SCENARIO_NAME} needs history, and none of {', '.join(primaries)} was answered "
            f"in the last {DEFAULT_DAYS} days; say what you expect: --input-tokens, "
            "--output-tokens, fallback:10%"
        )
    costs = [cost_of(entry, prices) for entry in recorded]
    known = [cost for cost in costs if cost is not None]
    unpriced = dict.fromkeys(
        entry.target for entry, cost in zip(recorded, costs, strict=True) if cost is None
    )
    fallbacks = sum(entry.totals.answered for entry in recorded if entry.target != primaries[entry.feature])
    return MonthlyCost(
        name=SCENARIO_NAME,
        requests=requests,
        cost=None if unpriced else Fraction(sum(known) * requests, total.answered),
        served_by={feature: tuple(_list_answering_targets(feature, recorded)) for feature in primaries},
        note="; ".join(_list_notes(total, fallbacks, list(unpriced), _count_unknown_usage(recorded))),
    )


def cost_of(entry: UsageEntry, prices: CurrentPrices) -> int | None:
    """What these calls cost, those without a recorded cost at today's price; None when that is unknown."""
    if not entry.totals.unpriced:
        return entry.totals.cost
    price = prices.price_of(entry.target)
    if price is None:
        return None
    return entry.totals.cost + _price_totals(entry.totals, price.at(prices.at))


def _price_totals(totals: UsageTotals, rates: Rates) -> int:
    """The cost of several calls together: a higher price step counts when the average call reaches it."""
    tokens = totals.unpriced_tokens
    average = tokens.input // totals.unpriced
    usage = Usage(tokens.input, tokens.cached, tokens.written, output_tokens=tokens.output)
    flat = Rates(
        input=_flatten_rate(rates.input, average),
        output=_flatten_rate(rates.output, average),
        cached_input=rates.cached_input and _flatten_rate(rates.cached_input, average),
        cache_write=rates.cache_write and _flatten_rate(rates.cache_write, average),
        request=rates.request * totals.unpriced,
    )
    return compute_cost(usage, flat)


def _flatten_rate(rate: Rate, average: int) -> Rate:
    return Rate(rate.at(average))


def _list_answering_targets(feature: str, recorded: Sequence[UsageEntry]) -> list[Target]:
    """The targets that answered, those with the most answers first."""
    answers: dict[Target, int] = {}
    for entry in recorded:
        if entry.feature == feature and entry.totals.answered:
            answers[entry.target] = answers.get(entry.target, 0) + entry.totals.answered
    return sorted(answers, key=lambda target: -answers[target])


def _count_unknown_usage(recorded: Sequence[UsageEntry]) -> int:
    """Calls whose use of tokens is not known, as far as that can be seen."""
    return sum(entry.totals.unpriced for entry in recorded if entry.totals.unpriced_tokens == TokenTotals())


def _list_notes(total: UsageTotals, fallbacks: int, unpriced: Sequence[Target], lost: int) -> Iterator[str]:
    yield f"as {total.answered:,} recorded answers, {100 * fallbacks / total.answered:.3g}% by a fallback"
    if unpriced:
        yield f"the price of {', '.join(map(str, unpriced))} is unknown"
    if lost:
        yield f"without {lost:,} calls of unknown usage"
