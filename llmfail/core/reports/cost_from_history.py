"""What a month costs when it is like the days that were recorded: their tokens, their mix of features, their
fallbacks.

An answered request costs what all recorded calls cost, divided by the answers: failed calls and rejected
answers that had to be paid are part of it. Pure; money is integers of pico-dollars.
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
    cost,
)
from llmfail.core.pricing.usage_record import Entry, Tokens, Used
from llmfail.core.pricing.usage_report import USUAL_DAYS
from llmfail.core.reports.cost_estimate import Line, Month

NAME = "actual"


class Today(Struct, frozen=True):
    """By which prices to count what was recorded without a cost."""

    price_of: Callable[[Target], Price | None]
    at: float


def month(entries: Sequence[Entry], lines: Sequence[Line], requests: int, today: Today) -> Month:
    """So many requests to these features. Raises UsageError when none of them was answered."""
    primaries = {line.feature: line.primary.target for line in lines}
    recorded = [entry for entry in entries if entry.feature in primaries]
    total = sum((entry.used for entry in recorded), Used())
    if not total.answered:
        raise UsageError(
            f"--scenario {NAME} needs history, and none of {', '.join(primaries)} was answered in the last "
            f"{USUAL_DAYS} days; say what you expect: --input-tokens, --output-tokens, fallback:10%"
        )
    costs = [cost_of(entry, today) for entry in recorded]
    known = [one for one in costs if one is not None]
    unpriced = dict.fromkeys(entry.target for entry, one in zip(recorded, costs, strict=True) if one is None)
    fallbacks = sum(one.used.answered for one in recorded if one.target != primaries[one.feature])
    return Month(
        name=NAME,
        requests=requests,
        cost=None if unpriced else Fraction(sum(known) * requests, total.answered),
        served_by={feature: tuple(_serving(feature, recorded)) for feature in primaries},
        note="; ".join(_notes(total, fallbacks, list(unpriced), _lost(recorded))),
    )


def cost_of(entry: Entry, today: Today) -> int | None:
    """What these calls cost, those without a recorded cost at today's price; None when that is unknown."""
    if not entry.used.unpriced:
        return entry.used.cost
    price = today.price_of(entry.target)
    if price is None:
        return None
    return entry.used.cost + _priced(entry.used, price.at(today.at))


def _priced(used: Used, rates: Rates) -> int:
    """Several calls at once: dearer steps count when the average call reaches them."""
    tokens = used.unpriced_tokens
    average = tokens.input // used.unpriced
    usage = Usage(tokens.input, tokens.cached, tokens.written, output_tokens=tokens.output)
    flat = Rates(
        input=_flat(rates.input, average),
        output=_flat(rates.output, average),
        cached_input=rates.cached_input and _flat(rates.cached_input, average),
        cache_write=rates.cache_write and _flat(rates.cache_write, average),
        request=rates.request * used.unpriced,
    )
    return cost(usage, flat)


def _flat(rate: Rate, average: int) -> Rate:
    return Rate(rate.at(average))


def _serving(feature: str, recorded: Sequence[Entry]) -> list[Target]:
    """Who answered, the busiest first."""
    answers: dict[Target, int] = {}
    for entry in recorded:
        if entry.feature == feature and entry.used.answered:
            answers[entry.target] = answers.get(entry.target, 0) + entry.used.answered
    return sorted(answers, key=lambda target: -answers[target])


def _lost(recorded: Sequence[Entry]) -> int:
    """Calls of which nobody knows what they used, as far as that can be told."""
    return sum(one.used.unpriced for one in recorded if one.used.unpriced_tokens == Tokens())


def _notes(total: Used, fallbacks: int, unpriced: Sequence[Target], lost: int) -> Iterator[str]:
    yield f"as {total.answered:,} recorded, {100 * fallbacks / total.answered:.3g}% by a fallback"
    if unpriced:
        yield f"the price of {', '.join(map(str, unpriced))} is unknown"
    if lost:
        yield f"without {lost:,} calls of unknown usage"
