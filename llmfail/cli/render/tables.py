"""What the commands that report draw with: where to, how wide, and how figures look to people.

On a terminal a table fits the screen. Anywhere else it is plain text as wide as it needs to be, a row per
line and no name cut, for grep and awk; figures to compute with are in ``--json``. Rich is imported only when
something is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from io import StringIO
from itertools import zip_longest
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from llmfail.cli.io.output import emit, guard_stdout, make_printable
from llmfail.core.receipt import PICO_PER_DOLLAR

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDE_WIDTH = 160
"""Columns from which a row has everything."""
ROOMY_WIDTH = 110
"""Columns from which there is room for more than the most important, and for gaps."""
UNLIMITED_WIDTH = 2000
"""Columns of an output that is no screen."""
MAX_UNFOLDED_NAME = 31
"""Characters of a target that stay on one line, whatever the screen."""
MIN_PROSE_WIDTH = 12
"""Characters of a column of prose, at least."""
STATE_STYLES = {
    "closed": "green",
    "open": "red",
    "half open": "yellow",
    "held open": "magenta",
    "disabled": "red",
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "red",
    "critical": "red",
    "warning": "yellow",
}


def open_console() -> Console:
    """Standard output: the screen as it is, or something without end to the right."""
    from rich.console import Console

    screen = sys.stdout.isatty()
    return Console(
        file=None if screen else StringIO(),
        width=None if screen else UNLIMITED_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )


def is_screen(screen: Console) -> bool:
    return screen.width != UNLIMITED_WIDTH


def print_drawing(screen: Console, drawing: RenderableType) -> None:
    """Draw on the screen, or write what was drawn."""
    if is_screen(screen):
        with guard_stdout():
            screen.print(drawing)
        return
    with screen.capture() as captured:
        screen.print(drawing)
    emit("\n".join(line.rstrip() for line in captured.get().splitlines()))


def create_table(screen: Console) -> Table:
    """An empty table in the style of all of them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not is_screen(screen):
        return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    gap = 0 if screen.width < ROOMY_WIDTH else 1
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))


def stack_sections(screen: Console, *parts: Iterable[RenderableType]) -> RenderableType:
    """One below the other; on a screen a line apart."""
    from rich.console import Group

    shown: list[RenderableType] = []
    for part in map(list, parts):
        shown += ["", *part] if part and shown and is_screen(screen) else part
    return Group(*shown)


class Column(NamedTuple):
    """What a table may show. On a screen without room the highest ``rank`` gives way first, 0 never. A
    ``name`` is folded when it is very long, prose (``wraps``) as needed, anything else only when nothing is
    left to give way.
    """

    heading: str
    cells: Sequence[str | Text]
    rank: int = 0
    right: bool = False
    is_name: bool = False
    wraps: bool = False
    style: str = ""


def fit_table(screen: Console, columns: Sequence[Column], styles: Sequence[str | None] = ()) -> Table:
    """A table of as many of the columns as the screen has room for; nothing is cut."""
    kept = list(columns)
    while not _can_fit(screen, kept):
        if not any(column.rank for column in kept):
            return _build_table(screen, [column._replace(wraps=True) for column in kept], styles)
        kept.remove(max(kept, key=lambda column: column.rank))
    return _build_table(screen, kept, styles)


def _can_fit(screen: Console, columns: Sequence[Column]) -> bool:
    from rich.measure import Measurement

    endless = screen.options.update(max_width=UNLIMITED_WIDTH)
    floors = [column._replace(cells=["x" * _min_width(column)]) for column in columns]
    return Measurement.get(screen, endless, _build_table(screen, floors)).minimum <= screen.width


def _build_table(screen: Console, columns: Sequence[Column], styles: Sequence[str | None] = ()) -> Table:
    drawn = create_table(screen)
    for column in columns:
        drawn.add_column(
            column.heading,
            justify="right" if column.right else "left",
            style=column.style,
            overflow="fold",
            no_wrap=not column.wraps and _min_width(column) == _longest_cell(column),
            min_width=None if column.wraps else _min_width(column),
        )
    for row, style in zip_longest(zip(*(column.cells for column in columns), strict=True), styles):
        drawn.add_row(*row, style=style)
    return drawn


def _longest_cell(column: Column) -> int:
    return max(map(len, column.cells), default=0)


def _min_width(column: Column) -> int:
    """Characters that a column has at least, unless it is the last to give way."""
    most = MAX_UNFOLDED_NAME if column.is_name else MIN_PROSE_WIDTH if column.wraps else UNLIMITED_WIDTH
    return min(_longest_cell(column), most)


def cell(text: object, style: str = "") -> Text:
    """What was stored or configured, as one cell. A terminal obeys nothing that is in it."""
    from rich.text import Text

    return Text(make_printable(str(text)), style)


def duration(seconds: float) -> str:
    """A wait as ``58s``, ``1m58s``, ``2h05m`` or ``3d04h``; rounded up, so that it is never too early."""
    whole = max(ceil(seconds), 0)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02}{smaller}"
    return f"{whole}s"


def milliseconds(latency_ms: float | None) -> str:
    """A latency as ``40ms``, ``1.2s`` or ``118s``."""
    if latency_ms is None:
        return "-"
    if latency_ms < 1000:
        return f"{latency_ms:.0f}ms"
    return f"{latency_ms / 1000:.1f}s" if latency_ms < 100_000 else f"{latency_ms / 1000:.0f}s"


def percent(share: float | None) -> str:
    """A share as ``58.3%``; ``0%`` and ``100%`` only when it is so."""
    if share is None:
        return "-"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 < share < 1:
        return ">99.9%"
    # Adding zero makes nothing of a negative one.
    return f"{round(share * 100, 1) + 0.0:.1f}".removesuffix(".0") + "%"


def exact_usd(pico: int | None) -> str:
    """Every digit down to a nano-dollar, and cents at least: ``$0.00175``, ``$21.00``."""
    if pico is None:
        return "unknown"
    digits = f"{Decimal(pico) / PICO_PER_DOLLAR:,.9f}"
    cents, rest = digits[:-7], digits[-7:].rstrip("0")
    return f"${cents}{rest}"


def rough_usd(pico: int | None) -> str:
    """To the cent, below a dollar to a hundredth of a cent: ``$3.25``, ``$0.0042``, ``<$0.0001``."""
    if pico is None:
        return "unknown"
    amount = Decimal(pico) / PICO_PER_DOLLAR
    if amount == 0 or amount >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= Decimal("0.0001") else "<$0.0001"
