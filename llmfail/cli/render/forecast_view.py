"""How a Forecast looks to people: a table of the features, who answers, and a day without each provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import Column, cell, draw_rows, stack_sections
from llmfail.core.reports.figures import milliseconds, rough_usd
from llmfail.forecast.report import (
    WANTED_AVAILABILITY,
    WANTED_FAILOVER_SECONDS,
    BreakerSweep,
    DayWithout,
    FeatureForecast,
    Forecast,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def render(screen: Console, found: Forecast) -> RenderableType:
    return stack_sections(
        screen,
        [_render_features(screen, found)],
        [_render_served(screen, found)],
        [_render_days(screen, found.days_without)],
        list(_describe_wanted(found)),
        [] if found.sweep is None else list(_describe_sweep(found.sweep)),
    )


def precise_percent(share: float) -> str:
    """``99.983%``: shares near one differ in their last digits."""
    return f"{share * 100:.3f}".rstrip("0").rstrip(".") + "%"


def _render_features(screen: Console, found: Forecast) -> RenderableType:
    names, rows = list(found.features), list(found.features.values())
    return draw_rows(
        screen,
        [
            Column("feature", [cell(name) for name in names]),
            Column("answered", [_mark(one) for one in rows], right=True),
            Column("95 %", [f"{_low(one)} to {_high(one)}" for one in rows], right=True),
            Column("p50/p95", [_latencies(one) for one in rows], right=True),
            Column("failover", [_seconds(one.failover_p95) for one in rows], right=True),
            Column("wasted calls", [f"{one.wasted_calls:,}" for one in rows], right=True),
            Column("cost", [rough_usd(one.cost) for one in rows], right=True),
        ],
    )


def _mark(one: FeatureForecast) -> Text:
    return Text(precise_percent(one.availability), "green" if one.is_good else "bold red")


def _low(one: FeatureForecast) -> str:
    return precise_percent(one.interval.low)


def _high(one: FeatureForecast) -> str:
    return precise_percent(one.interval.high)


def _latencies(one: FeatureForecast) -> str:
    return f"{_seconds(one.latency_p50)}/{_seconds(one.latency_p95)}"


def _seconds(seconds: float | None) -> str:
    return milliseconds(None if seconds is None else seconds * 1000)


def _render_served(screen: Console, found: Forecast) -> RenderableType:
    rows = [
        (name, target, share) for name, one in found.features.items() for target, share in one.served.items()
    ]
    return draw_rows(
        screen,
        [
            Column("feature", [cell(name) for name, _, _ in rows]),
            Column("answered by", [cell(target) for _, target, _ in rows]),
            Column("share", [precise_percent(share) for _, _, share in rows], right=True),
        ],
    )


def _render_days(screen: Console, days: Sequence[DayWithout]) -> RenderableType:
    return draw_rows(
        screen,
        [
            Column("a day without", [cell(one.provider) for one in days]),
            Column("answered", [precise_percent(one.availability) for one in days], right=True),
            Column("costs more", [_extra(one) for one in days], right=True),
        ],
    )


def _extra(one: DayWithout) -> str:
    if one.extra_cost is not None and one.extra_cost < 0:
        return f"-{rough_usd(-one.extra_cost)}"
    return rough_usd(one.extra_cost)


def _describe_wanted(found: Forecast) -> Iterator[Text]:
    by_share: dict[float, list[str]] = {}
    for name, one in found.features.items():
        if one.computed is not None:
            by_share.setdefault(round(one.computed, 9), []).append(name)
    for share, names in by_share.items():
        shown = f"{share * 100:.7f}".rstrip("0").rstrip(".")
        yield Text(f"computed, if providers fail by themselves: {shown}% for {', '.join(names)}")
    wanted = f"{precise_percent(WANTED_AVAILABILITY)} answered, failover under {WANTED_FAILOVER_SECONDS:g} s"
    bad = [name for name, one in found.features.items() if not one.is_good]
    if bad:
        yield Text(f"wanted: {wanted}: not so for {', '.join(bad)}", "bold red")
    else:
        yield Text(f"wanted: {wanted}: so it is", "green")


def _describe_sweep(sweep: BreakerSweep) -> Iterator[Text]:
    for one in sweep.trials:
        yield Text(
            f"failure_threshold {one.failure_threshold}, recovery_timeout {one.recovery_timeout:g}s: "
            f"{precise_percent(one.availability)} answered, {one.wasted_calls:,} calls wasted"
        )
    best = sweep.best
    chosen = f"failure_threshold {best.failure_threshold}, recovery_timeout {best.recovery_timeout:g}s"
    yield Text(f"recommended: {chosen if sweep.is_worthwhile else 'no change'}: {sweep.reason}", "bold")
