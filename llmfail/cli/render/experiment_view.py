"""How an experiment looks to people: a row for each arm, and whether to stop."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import ROOMY_WIDTH, Column, cell, draw_rows, stack_sections
from llmfail.core.evaluation.distribution import mean_interval
from llmfail.core.evaluation.experiment_report import (
    STOPPING_RULE,
    ArmDifference,
    ArmReport,
    ExperimentReport,
    Measure,
)
from llmfail.core.evaluation.interval import Interval
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.records.arm_counters import RunningMean
from llmfail.core.records.counters import percentile
from llmfail.core.reports.figures import milliseconds, percent, rough_usd

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES = {"better": "green", "worse": "bold red"}
MEASURE_WORDS: dict[Measure, str] = {"feedback": "feedback", "fits": "answers that fit"}


def render(screen: Console, found: ExperimentReport) -> RenderableType:
    arms = found.arms
    table = draw_rows(
        screen,
        [
            Column("arm", [cell(one.target) for one in arms], folds=True),
            Column("asks", [f"{one.counters.asks:,}" for one in arms], right=True),
            Column("share", [_share(one) for one in arms], right=True),
            Column("fits (95 %)", [_fits(one) for one in arms], right=True),
            Column("feedback", [_feedback(one.counters.feedback) for one in arms], right=True),
            Column("cost", [_cost(one) for one in arms], right=True),
            Column("took", [_latency(one.counters.latency) for one in arms], ROOMY_WIDTH, right=True),
            Column(
                "p95", [milliseconds(percentile(one.counters.latencies, 0.95)) for one in arms], right=True
            ),
        ],
    )
    state = "runs" if found.is_running else "is over"
    until = f", until {found.until}" if found.until and found.is_running else ""
    head = Text.assemble(cell(found.name, "bold"), cell(f": {found.feature}, {state}{until}"))
    return stack_sections(screen, [head], [table], list(_describe_decisions(found)))


def _share(one: ArmReport) -> str:
    return f"{percent(one.share)} ({percent(one.configured_share)})"


def _fits(one: ArmReport) -> str:
    counters = one.counters
    if not counters.judged:
        return "-"
    low, high = one.fit_interval
    return f"{percent(counters.fit / counters.judged)} ({low * 100:.0f}-{high * 100:.0f})"


def _feedback(sample: RunningMean) -> str:
    if not sample.count:
        return "-"
    low, high = mean_interval(sample)
    between = f" ({max(low, 0.0):.2f}-{min(high, 1.0):.2f})" if isfinite(low) else ""
    return f"{sample.mean:.2f}{between} of {sample.count:,}"


def _cost(one: ArmReport) -> str:
    sample = one.counters.cost
    return rough_usd(round(sample.mean * float(PICO_PER_DOLLAR))) if sample.count else "unknown"


def _latency(sample: RunningMean) -> str:
    return milliseconds(sample.mean * 1000 if sample.count else None)


def _describe_decisions(found: ExperimentReport) -> Iterator[Text]:
    control = found.arms[0].target
    for one in found.differences:
        decision = one.decision
        if decision is None:
            yield cell(f"{one.target}: cannot be told from {control} yet; go on")
        else:
            measure, standing = decision
            text = f"{one.target}: {standing} than {control} by {MEASURE_WORDS[measure]}; you may stop"
            yield cell(text, STYLES[standing])
        yield cell(f"  difference: {_describe_sequences(one)}", "dim")
    yield Text(f"stopping rule: {STOPPING_RULE}", "dim")


def _describe_sequences(one: ArmDifference) -> str:
    return (
        ", ".join(
            f"{MEASURE_WORDS[measure]} {interval.low:+.2f} to {interval.high:+.2f}"
            for measure, interval in one.sequences.items()
            if interval != Interval(-1.0, 1.0)
        )
        or "too little yet"
    )
