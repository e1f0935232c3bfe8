"""How a usage Report looks to people: a row per key with a bar as long as its cost, and the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import ROOMY_WIDTH, Column, cell, draw_rows, stack_sections
from llmfail.core.one_line import one_line
from llmfail.core.reports.figures import exact_usd, rough_usd_column

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from llmfail.core.pricing.usage_report import UsageReport, UsageRow

EIGHTH_BLOCKS = " ▏▎▍▌▋▊▉"
MAX_KEY_LENGTH = 256
"""Characters of a key, which is all of it."""
LONG_BAR_WIDTH, SHORT_BAR_WIDTH = 32, 12
"""Characters of the longest bar."""


def render(screen: Console, report: UsageReport) -> RenderableType:
    return stack_sections(
        screen, [_render_rows(screen, report)], [Text(line, "dim") for line in _describe_sums(report)]
    )


def render_bar(share: float, width: int) -> str:
    """A share of ``width`` characters, to an eighth of one; what is more than nothing can be seen."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + EIGHTH_BLOCKS[eighths % 8].strip()


def _render_rows(screen: Console, report: UsageReport) -> RenderableType:
    rows = report.rows
    used = [row.totals for row in rows]
    columns = [
        Column(report.by, list(map(_render_key, rows)), folds=True),
        Column("cost", rough_usd_column([one.known_cost for one in used]), right=True),
        Column("requests", [f"{one.requests:,}" for one in used], right=True),
        Column("input", [f"{one.tokens.input:,}" for one in used], right=True),
        Column("output", [f"{one.tokens.output:,}" for one in used], right=True),
    ]
    if any(one.unpriced for one in used):
        columns.append(Column("unpriced", [f"{one.unpriced:,}" for one in used], right=True))
    if any(one.cost for one in used):
        columns.append(
            Column(
                "",
                _render_bars(rows, LONG_BAR_WIDTH if screen.width >= ROOMY_WIDTH else SHORT_BAR_WIDTH),
                style="cyan",
            )
        )
    return draw_rows(screen, columns)


def _render_bars(rows: Sequence[UsageRow], width: int) -> list[str]:
    dearest = max(row.totals.cost for row in rows)
    return [render_bar(row.totals.cost / dearest, width) for row in rows]


def _render_key(row: UsageRow) -> Text:
    return Text("(none)", "dim") if row.key is None else cell(one_line(row.key, max_chars=MAX_KEY_LENGTH))


def _describe_sums(report: UsageReport) -> Iterator[str]:
    total = report.total
    requests = "1 request" if total.requests == 1 else f"{total.requests:,} requests"
    tokens = f"{total.tokens.input:,} input and {total.tokens.output:,} output tokens"
    yield f"{report.since} to {report.until}: {exact_usd(total.known_cost)}, {requests}, {tokens}"
    if total.unpriced and total.known_cost is not None:
        yield f"the cost of {total.unpriced:,} of them is unknown and not in the sum"
