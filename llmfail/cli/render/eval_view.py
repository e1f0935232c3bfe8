"""How an evaluation looks to people: a row for each target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import Column, cell, draw_rows, stack_sections
from llmfail.core.evaluation.comparison import Quality
from llmfail.core.evaluation.eval_report import TargetReport
from llmfail.core.reports.figures import milliseconds, percent, rough_usd

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES = {Quality.AS_GOOD: "green", Quality.WORSE: "bold red", Quality.UNDECIDED: "yellow"}


def render(screen: Console, reports: Sequence[TargetReport]) -> RenderableType:
    table = draw_rows(
        screen,
        [
            Column("target", [cell(one.target) for one in reports], folds=True),
            Column("passed", [f"{one.passed}/{one.checked}" for one in reports], right=True),
            Column("rate (95 %)", [_rate(one) for one in reports], right=True),
            Column("verdict", [_verdict(one) for one in reports]),
            Column("same", [percent(one.agreement) for one in reports], right=True),
            Column("failed", [str(one.asked - one.answered) for one in reports], right=True),
            Column("cut", [str(one.cut) for one in reports], right=True),
            Column("p95", [milliseconds(one.latency_p95_ms) for one in reports], right=True),
            Column("cost", [rough_usd(one.cost) for one in reports], right=True),
        ],
    )
    return stack_sections(screen, [table], list(_describe_judge(reports)))


def _rate(one: TargetReport) -> str:
    if one.pass_rate is None:
        return "-"
    low, high = one.interval
    return f"{one.pass_rate * 100:.0f}% ({low * 100:.0f}-{high * 100:.0f})"


def _verdict(one: TargetReport) -> Text:
    return Text("primary", "dim") if one.quality is None else Text(one.quality.value, STYLES[one.quality])


def _describe_judge(reports: Sequence[TargetReport]) -> list[Text]:
    said = []
    for one in reports:
        if one.place_bias is None:
            continue
        said.append(Text(f"judge: {one.target} is as good in {one.as_good} of {one.judged} pairs"))
        if one.place_bias.decides:
            said.append(Text("judge: it goes by the place of an answer; do not rely on it", "bold red"))
    return said
