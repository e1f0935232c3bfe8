"""What the commands that report draw with: where to, how wide, and how figures look to people.

On a terminal rows are a table where one fits the screen, and a list where none does. Anywhere else they are
plain text as wide as it needs to be, a row per line and no name cut, for grep and awk; figures to compute
with are in ``--json``. Rich is imported only when something is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, NamedTuple

from llmfail.cli.io.output import emit, make_printable, write_stdout

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDE_WIDTH = 160
"""Columns from which a row has everything."""
ROOMY_WIDTH = 110
"""Columns from which there is room for more than the most important, and for gaps."""
TABLE_WIDTH = 80
"""Columns below which there is no table."""
UNLIMITED_WIDTH = 2000
"""Columns of an output that is no screen."""
MIN_FOLDED_WIDTH = 12
"""Characters of a column that is folded, at least."""
STATE_STYLES = {
    "closed": "green",
    "failing": "yellow",
    "open": "red",
    "paused": "yellow",
    "half open": "yellow",
    "forced open": "magenta",
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
    with screen.capture() as captured:
        screen.print(drawing)
    if is_screen(screen):
        write_stdout(captured.get().encode("utf-8", "replace"))
        return
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
    """What rows show, on screens of at least ``min_screen`` columns. In a table only a column that ``folds``
    may have cells of several lines.
    """

    heading: str
    cells: Sequence[str | Text]
    min_screen: int = 0
    right: bool = False
    folds: bool = False
    style: str = ""


def draw_rows(
    screen: Console, columns: Sequence[Column], styles: Sequence[str | None] = ()
) -> RenderableType:
    """A table if all of it fits the screen, else a list. Nothing is cut."""
    shown = [column for column in columns if column.min_screen <= screen.width]
    rows = list(zip_longest(zip(*(column.cells for column in shown), strict=True), styles))
    table = create_table(screen)
    for column in shown:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(
            column.heading, justify=justify, style=column.style, overflow="fold", no_wrap=not column.folds
        )
    for cells, style in rows:
        table.add_row(*cells, style=style)
    needed = sum(_min_width(column) + table.padding[1] + 1 for column in shown)
    if screen.width >= TABLE_WIDTH and needed <= screen.width:
        return table
    return stack_sections(screen, [_build_item(shown, cells, style) for cells, style in rows])


def _min_width(column: Column) -> int:
    from rich.cells import cell_len

    longest = max(cell_len(str(text)) for text in (column.heading, *column.cells))
    return min(longest, MIN_FOLDED_WIDTH) if column.folds else longest


def _build_item(columns: Sequence[Column], cells: Sequence[str | Text], style: str | None) -> RenderableType:
    """A row of a list: the first two cells, and below them the others behind their headings."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts = [
        Text.assemble((f"{column.heading} " * (column.right or place > 1), "dim"), text, style=style or "")
        for place, (column, text) in enumerate(zip(columns, cells, strict=True))
        if column.heading and len(text)
    ]
    below = [Padding(Text(", ").join(parts[2:]), (0, 0, 0, 2), expand=False)] if parts[2:] else []
    return Group(Text("  ").join(parts[:2]), *below)


def cell(text: object, style: str = "") -> Text:
    """What was stored or configured, as one cell. A terminal obeys nothing that is in it."""
    from rich.text import Text

    return Text(make_printable(str(text)), style)
