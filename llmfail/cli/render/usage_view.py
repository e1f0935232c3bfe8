"""How a usage Report looks to people: a row per key with a bar as long as its cost, and the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import (
    ROOMY,
    Column,
    exact_usd,
    fitted,
    rough_usd,
    sections,
    words,
)
from llmfail.core.one_line import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from llmfail.core.pricing.usage_report import Report, Row

EIGHTHS = " ▏▎▍▌▋▊▉"
LONGEST = 256
"""Characters of a key, which is all of it."""
LONG, SHORT = 32, 12
"""Characters of the longest bar."""


def drawn(screen: Console, report: Report) -> RenderableType:
    return sections(screen, [_rows(screen, report)], [Text(line, "dim") for line in _sums(report)])


def bar(share: float, width: int) -> str:
    """A share of ``width`` characters, to an eighth of one; what is more than nothing can be seen."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _rows(screen: Console, report: Report) -> Table:
    rows = report.rows
    used = [row.used for row in rows]
    columns = [
        Column(report.by, list(map(_key, rows)), name=True),
        Column("cost", [rough_usd(one.known_cost) for one in used], right=True),
        Column("requests", [f"{one.requests:,}" for one in used], rank=2, right=True),
        Column("input", [f"{one.tokens.input:,}" for one in used], rank=4, right=True),
        Column("output", [f"{one.tokens.output:,}" for one in used], rank=4, right=True),
    ]
    if any(one.unpriced for one in used):
        columns.append(Column("unpriced", [f"{one.unpriced:,}" for one in used], rank=1, right=True))
    if any(one.cost for one in used):
        columns.append(
            Column("", _bars(rows, LONG if screen.width >= ROOMY else SHORT), rank=3, style="cyan")
        )
    return fitted(screen, columns)


def _bars(rows: Sequence[Row], width: int) -> list[str]:
    dearest = max(row.used.cost for row in rows)
    return [bar(row.used.cost / dearest, width) for row in rows]


def _key(row: Row) -> Text:
    return Text("(none)", "dim") if row.key is None else words(one_line(row.key, longest=LONGEST))


def _sums(report: Report) -> Iterator[str]:
    total = report.total
    requests = "1 request" if total.requests == 1 else f"{total.requests:,} requests"
    tokens = f"{total.tokens.input:,} input and {total.tokens.output:,} output tokens"
    yield f"{report.since} to {report.until}: {exact_usd(total.known_cost)}, {requests}, {tokens}"
    if total.unpriced and total.known_cost is not None:
        yield f"the cost of {total.unpriced:,} of them is unknown and not in the sum"
