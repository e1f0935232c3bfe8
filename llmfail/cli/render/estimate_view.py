"""How an Estimate looks to people: a table of targets per feature, and the months of the scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import Column, draw_rows, is_screen, stack_sections
from llmfail.core.model import Target
from llmfail.core.reports.cost_estimate import (
    Estimate,
    FeatureEstimate,
    MonthlyCost,
    TargetCost,
    saving,
)
from llmfail.core.reports.figures import count_of, exact_usd_column, percent, rough_usd_column

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def render(screen: Console, result: Estimate) -> RenderableType:
    return stack_sections(
        screen,
        [_render_targets(screen, result)],
        [_render_months(screen, result)],
        [Text(_describe_prices(result), "dim")],
    )


def _render_targets(screen: Console, result: Estimate) -> RenderableType:
    """A heading per feature on a screen; its name in every row of a pipe, for grep."""
    together = is_screen(screen)
    alike = not together or all(map(_has_equal_input_tokens, result.features))
    headings = ("feature and target",) if together else ("feature", "tokens", "target")
    figures = (*(() if alike else ("input",)), "per request", "1,000 requests", "saving")
    costs = [offer.cost for line in result.features for offer in line.target_costs]
    thousands = [None if cost is None else cost * 1000 for cost in costs]
    shown_costs = zip(exact_usd_column(costs), exact_usd_column(thousands), strict=True)
    rows: list[tuple[str | Text, ...]] = []
    for line in result.features:
        if together:
            rows.append((Text(_describe_feature(line), "bold"), *[""] * len(figures)))
        for place, offer in enumerate(line.target_costs):
            names = (line.feature, _format_tokens(line, offer), str(offer.target))
            named = (f"  {offer.target}",) if together else names
            counted = () if alike else (f"{offer.input_tokens:,}",)
            rows.append((*named, *counted, *next(shown_costs), _format_saving(offer, line, place)))
    columns = zip((*headings, *figures), zip(*rows, strict=True), strict=True)
    return draw_rows(
        screen,
        [Column(heading, cells, right=heading in figures) for heading, cells in columns],
    )


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


def _format_saving(offer: TargetCost, line: FeatureEstimate, place: int) -> str | Text:
    share = saving(offer, line.primary)
    if place == 0:
        return "primary"
    if share is None:
        return "unknown"
    return Text(percent(share), "green" if share > 0 else "red" if share < 0 else "")


def _render_months(screen: Console, result: Estimate) -> RenderableType:
    months = result.months
    averages = [None if month.average is None else round(month.average) for month in months]
    costs = [None if month.cost is None else round(month.cost) for month in months]
    columns = (
        Column("scenario", [Text(month.name, "bold") for month in months]),
        Column("requests", [f"{month.requests:,}" for month in months], right=True),
        Column("per request", exact_usd_column(averages), right=True),
        Column("a month", rough_usd_column(costs), right=True),
        Column("served by", list(map(_render_served, months)), folds=True),
    )
    return draw_rows(screen, columns)


def _render_served(month: MonthlyCost) -> Text:
    """The targets with their features, or how many these are, and what stands in the way."""
    used = _group_by_target(month.served_by)
    alone = len(used) == 1 or len(month.served_by) == 1
    by_name = month.name.startswith("outage:")
    shown = (
        str(target)
        if alone
        else f"{target} ({', '.join(names) if by_name else count_of(len(names), 'feature')})"
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
