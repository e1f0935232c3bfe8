"""How prices look to people and programs, in USD per million tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from llmfail.cli.render.tables import ROOMY_WIDTH, WIDE_WIDTH, Column, cell, draw_rows, stack_sections
from llmfail.core.model import Target
from llmfail.core.pricing.catalogue import LONG_AGO, ModelFacts
from llmfail.core.pricing.price import (
    PICO_PER_TOKEN,
    RATE_NAMES,
    Price,
    PricePeriod,
    Rate,
)
from llmfail.core.receipt import format_usd

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from llmfail.prices.catalogue_file import CatalogueIndex

HEADINGS = {
    "input": "input",
    "output": "output",
    "cached_input": "cached",
    "cache_write": "written",
    "cache_write_1h": "for an hour",
}
SOURCE_NAMES = {"config": "configuration", "catalogue": "catalogue"}


class PriceRow(NamedTuple):
    """What is known of a target. ``at`` is the moment of the prices that are shown first."""

    target: Target
    price: Price | None
    facts: ModelFacts
    at: float


def rows_to_json(rows: Sequence[PriceRow], index: CatalogueIndex) -> dict[str, Any]:
    return {
        "as_of": index.as_of.isoformat(),
        "sources": index.sources,
        "prices": [row_to_json(row) for row in rows],
    }


def row_to_json(row: PriceRow) -> dict[str, Any]:
    price, facts = row.price, row.facts
    now: dict[str, str | None] = {
        name: _format_base(getattr(price.at(row.at), name)) if price else None for name in RATE_NAMES
    }
    return {
        "target": str(row.target),
        **now,
        "source": price and price.source,
        "as_of": price and price.as_of,
        "context": facts.context,
        "max_output": facts.max_output,
        "retires": None if facts.retires is None else facts.retires.isoformat(),
        "periods": [_period_to_json(one) for one in price.periods] if price else [],
        "variants": [_period_to_json(one) for one in price.variants] if price else [],
    }


def _period_to_json(listed: PricePeriod) -> dict[str, Any]:
    conditions = {
        "since": None if listed.since is None else listed.since.isoformat(),
        "hours_utc": None if listed.hours is None else [_format_clock(one) for one in listed.hours],
        "variant": listed.variant,
        "request": None if listed.request is None else format_usd(listed.request),
    }
    rates: dict[str, Any] = {
        name: _rate_to_json(getattr(listed, name)) for name in RATE_NAMES if getattr(listed, name) is not None
    }
    return {**{name: value for name, value in conditions.items() if value is not None}, **rates}


def _rate_to_json(rate: Rate) -> dict[str, Any]:
    steps = [{"above": start, "price": _format_usd(price)} for start, price in rate.steps]
    return {"base": _format_usd(rate.base), "steps": steps}


def render_list(screen: Console, rows: Sequence[PriceRow], index: CatalogueIndex) -> RenderableType:
    """A row per target, as it is now."""
    prices = {name: [_format_current(row, name) for row in rows] for name in RATE_NAMES}
    columns = (
        Column("target", [cell(row.target) for row in rows]),
        Column("input", prices["input"], right=True),
        Column("output", prices["output"], right=True),
        Column("cached", prices["cached_input"], right=True),
        Column("written", prices["cache_write"], ROOMY_WIDTH, right=True),
        Column("from", [_name_source(row) for row in rows]),
        Column("as of", [(row.price and row.price.as_of) or "" for row in rows], WIDE_WIDTH),
        Column("notes", [cell("; ".join(_list_notes(row))) for row in rows], folds=True),
    )
    made_from = ", ".join(f"{name} {version}" for name, version in index.sources.items())
    about = f"USD per million tokens; the catalogue is as of {index.as_of}, from {made_from}"
    return stack_sections(screen, [draw_rows(screen, columns)], [cell(about, "dim")])


def render_target(screen: Console, row: PriceRow) -> RenderableType:
    """Everything that is listed for a target."""
    about = [f"{row.target}: {_name_source(row)}{_describe_date(row)}", *_list_facts(row.facts)]
    lines = [cell(line, "" if place else "bold") for place, line in enumerate(about)]
    return stack_sections(screen, lines, [_render_periods(screen, row.price)] if row.price else [])


def _render_periods(screen: Console, price: Price) -> RenderableType:
    """A row per period, variant and step."""
    rows = [
        (_describe_conditions(listed), start, listed)
        for listed in (*price.periods, *price.variants)
        for start in (0, *_list_step_starts(listed))
    ]
    columns = [
        Column("when", [cell(when if not start else "") for when, start, _ in rows], folds=True),
        Column("input above", [f"{start:,}" if start else "" for _, start, _ in rows], right=True),
    ]
    for name, heading in HEADINGS.items():
        cells = [_format_step(getattr(listed, name), start) for _, start, listed in rows]
        if any(cells):
            columns.append(Column(heading, cells, right=True))
    if any(listed.request for _, _, listed in rows):
        fees = [format_usd(listed.request) or "" if not start else "" for _, start, listed in rows]
        columns.append(Column("a request", fees, right=True))
    return draw_rows(screen, columns)


def _list_notes(row: PriceRow) -> Iterator[str]:
    """What the price of the moment does not say."""
    price, facts = row.price, row.facts
    if price is not None:
        rates = price.at(row.at)
        for start in _list_step_starts(rates):
            yield f"{_format_input_and_output(rates, start)} above {start:,} tokens"
        yield from _list_other_times(price, row.at)
        names = dict.fromkeys(one.variant for one in price.variants if one.variant)
        if names:
            yield f"also {', '.join(names)}"
    if facts.retires is not None:
        yield _describe_retirement(facts)


def _list_other_times(price: Price, at: float) -> Iterator[str]:
    """What it costs at other hours, and from a day to come on."""
    today = datetime.fromtimestamp(at, UTC).date()
    for period in price.periods:
        if period.since is not None and period.since > today:
            yield f"{_format_input_and_output(period, 0)} {_describe_conditions(period)}"
    hourly = [period for period in price.periods if period.hours is not None]
    if any(period.is_in_force(at) for period in hourly):
        standing = [period for period in price.periods if period.hours is None and period.is_in_force(at)]
        yield f"{_format_input_and_output(standing[-1], 0)} at other hours"
    else:
        yield from (
            f"{_format_input_and_output(period, 0)} {_describe_conditions(period)}" for period in hourly
        )


def _list_facts(facts: ModelFacts) -> Iterator[str]:
    if facts.context is not None:
        yield f"context: {facts.context:,} tokens"
    if facts.max_output is not None:
        yield f"longest answer: {facts.max_output:,} tokens"
    if facts.retires is not None:
        yield _describe_retirement(facts)


def _describe_retirement(facts: ModelFacts) -> str:
    then = f", {facts.then}" if facts.then else ""
    return "retired" if facts.retires == LONG_AGO else f"retires {facts.retires}{then}"


def _name_source(row: PriceRow) -> str:
    return "unknown" if row.price is None else SOURCE_NAMES[row.price.source]


def _describe_date(row: PriceRow) -> str:
    return f" of {row.price.as_of}" if row.price and row.price.as_of else ""


def _describe_conditions(listed: PricePeriod) -> str:
    parts = (
        listed.variant or "",
        "" if listed.since is None else f"from {listed.since}",
        "" if listed.hours is None else f"at {'-'.join(map(_format_clock, listed.hours))} UTC",
    )
    return " ".join(part for part in parts if part) or "always"


def _list_step_starts(rates: Any) -> tuple[int, ...]:  # noqa: ANN401 - Rates or Listed, which have the same names
    found = [getattr(rates, name) for name in RATE_NAMES]
    return tuple(sorted({start for rate in found if rate is not None for start, _ in rate.steps}))


def _format_input_and_output(rates: Any, start: int) -> str:  # noqa: ANN401 - as above
    return f"{_format_step(rates.input, start)} / {_format_step(rates.output, start)}"


def _format_step(rate: Rate | None, start: int) -> str:
    """With one token more than where a step begins."""
    return "" if rate is None else _format_usd(rate.at(start + 1 if start else 0))


def _format_current(row: PriceRow, name: str) -> str:
    rate = getattr(row.price.at(row.at), name) if row.price else None
    missing = "unknown" if row.price is None and name in {"input", "output"} else ""
    return _format_base(rate) or missing


def _format_base(rate: Rate | None) -> str | None:
    return None if rate is None else _format_usd(rate.base)


def _format_usd(pico_per_token: int) -> str:
    return format_usd(pico_per_token * PICO_PER_TOKEN) or "0"


def _format_clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}"
