"""How an Estimate looks to people: a table of targets per feature, and the months of the scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.tables import exact_usd, is_screen, percent, rough_usd, sections, table
from llmfail.core.estimate import Estimate, Line, Month, Offer, saving
from llmfail.core.model import Target

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


def drawn(screen: Console, result: Estimate) -> RenderableType:
    return sections(
        screen,
        [_targets(screen, result)],
        [_months(screen, result)],
        [Text("prices: from the configuration, in USD", "dim")],
    )


def _targets(screen: Console, result: Estimate) -> Table:
    """A heading per feature on a screen; its name in every row of a pipe, for grep."""
    grid = table(screen)
    together = is_screen(screen)
    for heading in ("feature and target",) if together else ("feature", "tokens", "target"):
        grid.add_column(heading, overflow="fold")
    for heading in ("per request", "per 1,000", "saving"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for line in result.lines:
        tokens = f"{line.input_tokens:,} + {line.output_tokens:,}"
        if together:
            grid.add_row(Text(f"{line.feature}: {tokens} tokens", "bold"))
        for place, offer in enumerate(line.offers):
            names = (f"  {offer.target}",) if together else (line.feature, tokens, str(offer.target))
            grid.add_row(*names, *_figures(offer, line, place))
    return grid


def _figures(offer: Offer, line: Line, place: int) -> Iterator[str | Text]:
    yield exact_usd(offer.cost)
    yield exact_usd(None if offer.cost is None else offer.cost * 1000)
    share = saving(offer, line.primary)
    if place == 0:
        yield "primary"
    elif share is None:
        yield "unknown"
    else:
        yield Text(percent(share), "green" if share > 0 else "red" if share < 0 else "")


def _months(screen: Console, result: Estimate) -> Table:
    grid = table(screen)
    grid.add_column("scenario", no_wrap=True)
    for heading in ("requests", "average", "a month"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("served by", overflow="fold")
    for month in result.months:
        cost = month.cost
        grid.add_row(
            Text(month.name, "bold"),
            f"{month.requests:,}",
            exact_usd(None if cost is None else round(cost / month.requests)),
            rough_usd(None if cost is None else round(cost)),
            _served(month),
        )
    return grid


def _served(month: Month) -> Text:
    """The targets, with the number of features that each serves, and what stands in the way."""
    counted = _counted(month.served_by).items()
    alone = len(counted) == 1 or len(month.served_by) == 1
    names = ", ".join(str(target) if alone else f"{target} ({count})" for target, count in counted)
    note = f"{'; ' if names else ''}{month.note}" if month.note else ""
    return Text.assemble(names, (note, "yellow"))


def _counted(served_by: Mapping[str, tuple[Target, ...]]) -> Mapping[Target, int]:
    every = [target for targets in served_by.values() for target in targets]
    return {target: every.count(target) for target in dict.fromkeys(every)}
