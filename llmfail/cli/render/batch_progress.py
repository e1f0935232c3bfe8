"""How a batch comes along: what was counted, a bar on a terminal, one line in the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from llmfail.core.receipt import Receipt
from llmfail.core.reports.figures import duration, rough_usd
from llmfail.core.request.batch_line import MALFORMED_LINE_KIND

if TYPE_CHECKING:
    from rich.console import RenderableType

REFRESHES_PER_SECOND = 4
"""How often the bar is drawn."""
TIME_LEFT_DELAY = 2.0
"""Seconds before anything is said of the time left."""


class BatchTally(Struct):
    """What became of the lines. ``verb``: what an answered one is said to be. ``spent`` in pico-dollars,
    ``unpriced`` receipts that do not say all of it; ``skipped`` lines have a receipt of an earlier run,
    ``given_up`` of them no answer and ``still_malformed`` no question; ``changed`` are not what their
    receipts answer. ``pauses`` of the run; the last ends at ``paused_until``, in epoch seconds.
    """

    verb: str = "answered"
    answered: int = 0
    fallbacks: int = 0
    failed: int = 0
    skipped: int = 0
    changed: int = 0
    given_up: int = 0
    still_malformed: int = 0
    spent: int = 0
    unpriced: int = 0
    first_failure: str = ""
    pauses: int = 0
    paused_until: float = 0.0

    def count(self, receipt: Receipt) -> None:
        if receipt.error is None:
            self.answered += 1
            self.fallbacks += receipt.tier > 0
        else:
            self.failed += 1
            self.first_failure = self.first_failure or describe_failure(receipt)
        self.spent += sum(entry.cost_pico_usd or 0 for entry in receipt.trail)
        self.unpriced += receipt.cost_pico_usd is None

    @property
    def done(self) -> int:
        return self.answered + self.failed

    @property
    def unanswered(self) -> int:
        """Also of those that an earlier run came to."""
        return self.failed + self.given_up + self.still_malformed

    @property
    def summary_lines(self) -> list[str]:
        """The sum, and what to know of it."""
        fallbacks = _describe_fallbacks(self.fallbacks)
        told = [f"{self.answered} {self.verb}{fallbacks}, {self.failed} failed, {self.cost_text}"]
        if self.skipped:
            told[0] += f"; {self.skipped} had a receipt already"
        if self.pauses:
            told[0] += f"; paused {'once' if self.pauses == 1 else f'{self.pauses} times'}"
        if self.changed:
            told.append(f"{self.changed} had changed since their receipts were written, and were asked again")
        if self.first_failure:
            told.append(f"the first failure is {self.first_failure}")
        if self.given_up:
            told.append(f"{self.given_up} failed in an earlier run; --retry-failed asks them again")
        if self.still_malformed:
            told.append(f"{self.still_malformed} are malformed, as an earlier run has said")
        return told

    @property
    def cost_text(self) -> str:
        unknown = f" and {self.unpriced} of unknown cost" if self.unpriced else ""
        return f"{rough_usd(self.spent)}{unknown}"


def describe_failure(receipt: Receipt) -> str:
    """Which line failed, and why. The message of a malformed line begins with its number."""
    assert receipt.error is not None, "only of failures"
    message = receipt.error.message
    return message if receipt.error.kind == MALFORMED_LINE_KIND else f"{json.dumps(receipt.ref)}: {message}"


def _describe_fallbacks(fallbacks: int) -> str:
    return f" ({fallbacks} by fallbacks)" if fallbacks else ""


@contextmanager
def show_progress_bar(tally: BatchTally, total: int | None, *, shown: bool) -> Iterator[None]:
    """Something that moves on standard error, if that is a terminal."""
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    started = time.monotonic()

    def render() -> RenderableType:
        return _render_bar(tally, total, time.monotonic() - started)

    live = Live(
        console=Console(stderr=True),
        get_renderable=render,
        refresh_per_second=REFRESHES_PER_SECOND,
        transient=True,
        redirect_stdout=False,
    )
    with live:
        yield


def _render_bar(tally: BatchTally, total: int | None, elapsed: float) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(
        ProgressBar(total, tally.done + tally.skipped, width=16, pulse=total is None),
        " · ".join(_format_figures(tally, total, elapsed)),
    )
    return grid


def _format_figures(tally: BatchTally, total: int | None, elapsed: float) -> list[str]:
    passed = tally.done + tally.skipped
    figures = [
        f"{passed} done" if total is None else f"{passed}/{total} done",
        f"{tally.failed} failed",
        f"{tally.fallbacks} fallbacks",
        tally.cost_text,
    ]
    paused = tally.paused_until - time.time()
    if paused > 0:
        figures.append(f"paused for {duration(paused)}")
    elif total is not None and tally.done and elapsed > TIME_LEFT_DELAY:
        figures.append(f"{duration((total - passed) * elapsed / tally.done)} left")
    return figures
