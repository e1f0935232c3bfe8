"""How an Estimate looks to people: a table of targets per feature, and the months of the scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import (
    create_table,
    exact_usd,
    is_screen,
    percent,
    rough_usd,
    stack_sections,
)
from llmfail.core.model import Target
from llmfail.core.reports.cost_estimate import (
    Estimate,
    FeatureEstimate,
    MonthlyCost,
    TargetCost,
    saving,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


def render(screen: Console, result: Estimate) -> RenderableType:
    return stack_sections(
        screen,
        [_render_targets(screen, result)],
        [_render_months(screen, result)],
        [Text(_describe_prices(result), "dim")],
    )


def _render_targets(screen: Console, result: Estimate) -> Table:
    """A heading per feature on a screen; its name in every row of a pipe, for grep."""
    grid = create_table(screen)
    together = is_screen(screen)
    alike = all(_has_equal_input_tokens(line) for line in result.features)
    for heading in ("feature and target",) if together else ("feature", "tokens", "target"):
        grid.add_column(heading, overflow="fold")
    for heading in (*([] if alike or not together else ["input"]), "per request", "1,000 requests", "saving"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for line in result.features:
        if together:
            grid.add_row(Text(_describe_feature(line), "bold"))
        for place, offer in enumerate(line.target_costs):
            names = (
                (f"  {offer.target}",)
                if together
                else (line.feature, _format_tokens(line, offer), str(offer.target))
            )
            counted = () if alike or not together else (f"{offer.input_tokens:,}",)
            grid.add_row(*names, *counted, *_format_figures(offer, line, place))
    return grid


def _has_equal_input_tokens(line: FeatureEstimate) -> bool:
    """Whether all targets count the same tokens."""
    return len({offer.input_tokens for offer in line.target_costs}) == 1


def _describe_feature(line: FeatureEstimate) -> str:
    tokens = (
        _format_tokens(line, line.primary)
        if _has_equal_input_tokens(line)
        else f"{line.output_tokens:,} output"
    )
    return f"{line.feature}: {tokens} tokens"


def _format_tokens(line: FeatureEstimate, offer: TargetCost) -> str:
    return f"{offer.input_tokens:,} + {line.output_tokens:,}"


def _format_figures(offer: TargetCost, line: FeatureEstimate, place: int) -> Iterator[str | Text]:
    yield exact_usd(offer.cost)
    yield exact_usd(None if offer.cost is None else offer.cost * 1000)
    share = saving(offer, line.primary)
    if place == 0:
        yield "primary"
    elif share is None:
        yield "unknown"
    else:
        yield Text(percent(share), "green" if share > 0 else "red" if share < 0 else "")


def _render_months(screen: Console, result: Estimate) -> Table:
    grid = create_table(screen)
    grid.add_column("scenario", no_wrap=True)
    for heading in ("requests", "per request", "a month"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("served by", overflow="fold")
    for month in result.months:
        cost = month.cost
        grid.add_row(
            Text(month.name, "bold"),
            f"{month.requests:,}",
            exact_usd(None if month.average is None else round(month.average)),
            rough_usd(None if cost is None else round(cost)),
            _render_served(month),
        )
    return grid


def _render_served(month: MonthlyCost) -> Text:
    """The targets with their features, or how many these are, and what stands in the way."""
    used = _group_by_target(month.served_by)
    alone = len(used) == 1 or len(month.served_by) == 1
    shown = (
        str(target)
        if alone
        else f"{target} ({', '.join(names) if month.name.startswith('outage:') else len(names)})"
        for target, names in used.items()
    )
    names = ", ".join(shown)
    note = f"{'; ' if names else ''}{month.note}" if month.note else ""
    return Text.assemble(names, (note, "yellow"))


def _group_by_target(served_by: Mapping[str, tuple[Target, ...]]) -> Mapping[Target, list[str]]:
    """The features of each target."""
    used: dict[Target, list[str]] = {}
    for feature, targets in served_by.items():
        for target in targets:
            used.setdefault(target, []).append(feature)
    return used


def _describe_prices(result: Estimate) -> str:
    """Where the prices come from, and of which day they are."""
    prices = [
        offer.price for line in result.features for offer in line.target_costs if offer.price is not None
    ]
    days = sorted({price.as_of for price in prices if price.as_of})
    configured = ["the configuration"] if any(price.source == "config" for price in prices) else []
    listed = [f"the catalogue of {' and '.join(days)}"] if days else []
    return f"prices in USD, from {' and '.join([*configured, *listed]) or 'nowhere: none is known'}"
