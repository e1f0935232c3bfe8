"""How a batch comes along: what was counted, a bar on a terminal, one line in the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from llmfail.cli.render.tables import rough_usd, span
from llmfail.core.receipt import Receipt

if TYPE_CHECKING:
    from rich.console import RenderableType

PER_SECOND = 4
"""How often the bar is drawn."""
SOON = 2.0
"""Seconds before anything is said of the time left."""


class Tally(Struct):
    """What became of the lines. ``spent`` in pico-dollars, ``unpriced`` receipts that do not say all of it;
    ``skipped`` lines have a receipt of an earlier run, ``given_up`` of them no answer and ``still_malformed``
    no question.
    """

    answered: int = 0
    fallbacks: int = 0
    failed: int = 0
    skipped: int = 0
    given_up: int = 0
    still_malformed: int = 0
    spent: int = 0
    unpriced: int = 0
    first_failure: str = ""

    def count(self, receipt: Receipt) -> None:
        if receipt.error is None:
            self.answered += 1
            self.fallbacks += receipt.tier > 0
        else:
            self.failed += 1
            self.first_failure = self.first_failure or f"{receipt.ref}: {receipt.error.message}"
        self.spent += sum(entry.cost or 0 for entry in receipt.trail)
        self.unpriced += receipt.cost is None

    @property
    def done(self) -> int:
        return self.answered + self.failed

    @property
    def unanswered(self) -> int:
        """Also of those that an earlier run came to."""
        return self.failed + self.given_up + self.still_malformed

    @property
    def lines(self) -> list[str]:
        """The sum, and what to know of it."""
        told = [f"{self.answered} answered{_of_these(self.fallbacks)}, {self.failed} failed, {self.paid}"]
        if self.skipped:
            told[0] += f"; {self.skipped} had a receipt already"
        if self.first_failure:
            told.append(f"the first failure is {self.first_failure}")
        if self.given_up:
            told.append(f"{self.given_up} failed in an earlier run; --retry-failed asks them again")
        if self.still_malformed:
            told.append(f"{self.still_malformed} are malformed, as an earlier run has said")
        return told

    @property
    def paid(self) -> str:
        unknown = f" and {self.unpriced} of unknown cost" if self.unpriced else ""
        return f"{rough_usd(self.spent)}{unknown}"


def _of_these(fallbacks: int) -> str:
    return f" ({fallbacks} by fallbacks)" if fallbacks else ""


@contextmanager
def bar(tally: Tally, total: int | None, *, shown: bool) -> Iterator[None]:
    """Something that moves on standard error, if that is a terminal."""
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    started = time.monotonic()

    def drawn() -> RenderableType:
        return _drawn(tally, total, time.monotonic() - started)

    live = Live(
        console=Console(stderr=True),
        get_renderable=drawn,
        refresh_per_second=PER_SECOND,
        transient=True,
        redirect_stdout=False,
    )
    with live:
        yield


def _drawn(tally: Tally, total: int | None, elapsed: float) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(
        ProgressBar(total, tally.done + tally.skipped, width=16, pulse=total is None),
        " · ".join(_figures(tally, total, elapsed)),
    )
    return grid


def _figures(tally: Tally, total: int | None, elapsed: float) -> list[str]:
    passed = tally.done + tally.skipped
    figures = [
        f"{passed} done" if total is None else f"{passed}/{total} done",
        f"{tally.failed} failed",
        f"{tally.fallbacks} fallbacks",
        tally.paid,
    ]
    if total is not None and tally.done and elapsed > SOON:
        figures.append(f"{span((total - passed) * elapsed / tally.done)} left")
    return figures
