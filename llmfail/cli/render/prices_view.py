"""How prices look to people and programs, in USD per million tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from llmfail.cli.render.tables import (
    Column,
    fitted,
    sections,
    words,
)
from llmfail.core.model import Target
from llmfail.core.pricing.catalogue import LONG_AGO, Facts
from llmfail.core.pricing.price import (
    KEYS,
    PICO_PER_TOKEN,
    Listed,
    Price,
    Rate,
)
from llmfail.core.receipt import usd

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from llmfail.prices.catalogue_file import Index

HEADINGS = {
    "input": "input",
    "output": "output",
    "cached_input": "cached",
    "cache_write": "written",
    "cache_write_1h": "for an hour",
}
SOURCES = {"config": "configuration", "catalogue": "catalogue"}


class Row(NamedTuple):
    """What is known of a target. ``at`` is the moment of the prices that are shown first."""

    target: Target
    price: Price | None
    facts: Facts
    at: float


def list_as_json(rows: Sequence[Row], index: Index) -> dict[str, Any]:
    return {
        "as_of": index.as_of.isoformat(),
        "sources": index.sources,
        "prices": [as_json_of(row) for row in rows],
    }


def as_json_of(row: Row) -> dict[str, Any]:
    price, facts = row.price, row.facts
    now: dict[str, str | None] = {
        name: _base(getattr(price.at(row.at), name)) if price else None for name in KEYS
    }
    return {
        "target": str(row.target),
        **now,
        "source": price and price.source,
        "as_of": price and price.as_of,
        "context": facts.context,
        "max_output": facts.max_output,
        "retires": None if facts.retires is None else facts.retires.isoformat(),
        "periods": [_listed(one) for one in price.periods] if price else [],
        "variants": [_listed(one) for one in price.variants] if price else [],
    }


def _listed(listed: Listed) -> dict[str, Any]:
    conditions = {
        "since": None if listed.since is None else listed.since.isoformat(),
        "hours_utc": None if listed.hours is None else [_clock(one) for one in listed.hours],
        "variant": listed.variant,
        "request": None if listed.request is None else usd(listed.request),
    }
    rates: dict[str, Any] = {
        name: _rate(getattr(listed, name)) for name in KEYS if getattr(listed, name) is not None
    }
    return {**{name: value for name, value in conditions.items() if value is not None}, **rates}


def _rate(rate: Rate) -> dict[str, Any]:
    steps = [{"above": start, "price": _usd(price)} for start, price in rate.steps]
    return {"base": _usd(rate.base), "steps": steps}


def drawn(screen: Console, rows: Sequence[Row], index: Index) -> RenderableType:
    """A row per target, as it is now."""
    prices = {name: [_now(row, name) for row in rows] for name in KEYS}
    columns = (
        Column("target", [words(row.target) for row in rows], name=True),
        Column("input", prices["input"], right=True),
        Column("output", prices["output"], right=True),
        Column("cached", prices["cached_input"], rank=2, right=True),
        Column("written", prices["cache_write"], rank=3, right=True),
        Column("from", [_source(row) for row in rows], rank=1),
        Column("as of", [(row.price and row.price.as_of) or "" for row in rows], rank=5),
        Column("notes", [words("; ".join(_notes(row))) for row in rows], rank=4, wraps=True),
    )
    made_from = ", ".join(f"{name} {version}" for name, version in index.sources.items())
    about = f"USD per million tokens; the catalogue is as of {index.as_of}, from {made_from}"
    return sections(screen, [fitted(screen, columns)], [words(about, "dim")])


def drawn_whole(screen: Console, row: Row) -> RenderableType:
    """Everything that is listed for a target."""
    about = [f"{row.target}: {_source(row)}{_dated(row)}", *_about(row.facts)]
    lines = [words(line, "" if place else "bold") for place, line in enumerate(about)]
    return sections(screen, lines, [_whole(screen, row.price)] if row.price else [])


def _whole(screen: Console, price: Price) -> Table:
    """A row per period, variant and step."""
    rows = [
        (_when(listed), start, listed)
        for listed in (*price.periods, *price.variants)
        for start in (0, *_starts(listed))
    ]
    columns = [
        Column("when", [words(when if not start else "") for when, start, _ in rows], wraps=True),
        Column("input above", [f"{start:,}" if start else "" for _, start, _ in rows], right=True),
    ]
    for name, heading in HEADINGS.items():
        cells = [_at(getattr(listed, name), start) for _, start, listed in rows]
        if any(cells):
            columns.append(Column(heading, cells, right=True))
    if any(listed.request for _, _, listed in rows):
        fees = [usd(listed.request) or "" if not start else "" for _, start, listed in rows]
        columns.append(Column("a request", fees, right=True))
    return fitted(screen, columns)


def _notes(row: Row) -> Iterator[str]:
    """What the price of the moment does not say."""
    price, facts = row.price, row.facts
    if price is not None:
        rates = price.at(row.at)
        for start in _starts(rates):
            yield f"{_pair(rates, start)} above {start:,} tokens"
        yield from _other_times(price, row.at)
        names = dict.fromkeys(one.variant for one in price.variants if one.variant)
        if names:
            yield f"also {', '.join(names)}"
    if facts.retires is not None:
        yield _ending(facts)


def _other_times(price: Price, at: float) -> Iterator[str]:
    """What it costs at other hours, and from a day to come on."""
    today = datetime.fromtimestamp(at, UTC).date()
    for period in price.periods:
        if period.since is not None and period.since > today:
            yield f"{_pair(period, 0)} {_when(period)}"
    hourly = [period for period in price.periods if period.hours is not None]
    if any(period.holds(at) for period in hourly):
        standing = [period for period in price.periods if period.hours is None and period.holds(at)]
        yield f"{_pair(standing[-1], 0)} at other hours"
    else:
        yield from (f"{_pair(period, 0)} {_when(period)}" for period in hourly)


def _about(facts: Facts) -> Iterator[str]:
    if facts.context is not None:
        yield f"context: {facts.context:,} tokens"
    if facts.max_output is not None:
        yield f"longest answer: {facts.max_output:,} tokens"
    if facts.retires is not None:
        yield _ending(facts)


def _ending(facts: Facts) -> str:
    then = f", {facts.then}" if facts.then else ""
    return "retired" if facts.retires == LONG_AGO else f"retires {facts.retires}{then}"


def _source(row: Row) -> str:
    return "unknown" if row.price is None else SOURCES[row.price.source]


def _dated(row: Row) -> str:
    return f" of {row.price.as_of}" if row.price and row.price.as_of else ""


def _when(listed: Listed) -> str:
    parts = (
        listed.variant or "",
        "" if listed.since is None else f"from {listed.since}",
        "" if listed.hours is None else f"at {'-'.join(map(_clock, listed.hours))} UTC",
    )
    return " ".join(part for part in parts if part) or "always"


def _starts(rates: Any) -> tuple[int, ...]:  # noqa: ANN401 - Rates or Listed, which have the same names
    found = [getattr(rates, name) for name in KEYS]
    return tuple(sorted({start for rate in found if rate is not None for start, _ in rate.steps}))


def _pair(rates: Any, start: int) -> str:  # noqa: ANN401 - as above
    return f"{_at(rates.input, start)} / {_at(rates.output, start)}"


def _at(rate: Rate | None, start: int) -> str:
    """With one token more than where a step begins."""
    return "" if rate is None else _usd(rate.at(start + 1 if start else 0))


def _now(row: Row, name: str) -> str:
    rate = getattr(row.price.at(row.at), name) if row.price else None
    missing = "unknown" if row.price is None and name in {"input", "output"} else ""
    return _base(rate) or missing


def _base(rate: Rate | None) -> str | None:
    return None if rate is None else _usd(rate.base)


def _usd(pico_per_token: int) -> str:
    return usd(pico_per_token * PICO_PER_TOKEN) or "0"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}"
