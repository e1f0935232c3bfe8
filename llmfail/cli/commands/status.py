"""``llmfail status``: circuits, rates, latencies and alerts, for people, for programs and for monitoring."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.keyboard import read_keys
from llmfail.cli.io.output import emit, emit_json
from llmfail.cli.run.open_client import open_client
from llmfail.client.blocking import Client
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.reports.activity import HISTORY_SECONDS, PORTION, Entry, count_calls, merge_requests
from llmfail.core.reports.status import Health, Status
from llmfail.core.reports.status_text import describe_health

if TYPE_CHECKING:
    from rich.console import Console, ConsoleDimensions, RenderableType

WaitForKey = Callable[[str, float], bool]
EXIT_CODES: dict[Health, ExitCode] = {
    "healthy": ExitCode.ANSWERED,
    "degraded": ExitCode.NOT_GOOD,
    "unhealthy": ExitCode.UNHEALTHY,
}
WATCH_INTERVAL = 2.0
"""Seconds between two looks of ``--watch``."""
RESIZE_SECONDS = 0.2
"""After so many a terminal that was resized is drawn again."""


def command(
    ctx: typer.Context,
    seconds: Annotated[
        float | None,
        typer.Argument(
            metavar="[SECONDS]", help="With --watch: how often; else every 2.", show_default=False
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until q or Ctrl-C.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="One line; exit 0 healthy, 1 degraded, 2 unhealthy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as one line of JSON.")] = False,
) -> None:
    """Show circuits, rates, latencies, spending and alerts, over the last 24 hours.

    Healthy: every circuit is closed and no alert is critical. Degraded: something is wrong, but a model can
    still answer every feature. Unhealthy: some feature has no model left. Targets without a key are counted,
    not listed; `llmfail -v status` lists them.

    Where the state cannot be read, the figures in the JSON are null and the exit code is 2.

    Open: calls have failed, and trials follow. Paused: the provider asked for it with a Retry-After, which is
    obeyed to the second, from 1 s to breaker.max_pause (1 h); what is longer is cut, and beyond 366 days it
    is none. In the JSON both are "open", with "reason": "failures" or "pause".

    Examples:

      llmfail status

      llmfail status --watch 5

      llmfail -q status --check || notify-send "language models are not well"

      llmfail status --json | jq '.providers[] | select(.state != "closed")'
    """
    options: GlobalOptions = ctx.obj
    every = _choose_interval(seconds, watch=watch, alone=not (check or as_json))
    with open_client(options) as client:
        if every is not None:
            _watch(client, every, verbose=options.verbose > 0)
            return
        status = client.status()
        entries = () if as_json or check else _read_recent(client, ())
    if as_json:
        emit_json(status.to_json())
    elif check:
        _print_check(status, quiet=options.quiet)
    else:
        _show(status, entries, verbose=options.verbose > 0)
    if check:
        raise typer.Exit(EXIT_CODES[status.health])
    if as_json and not status.readable:
        raise typer.Exit(ExitCode.USAGE)


def _choose_interval(seconds: float | None, *, watch: bool, alone: bool) -> float | None:
    """Seconds between two looks; None without --watch."""
    if not watch:
        if seconds is not None:
            raise UsageError("SECONDS goes with --watch: llmfail status --watch 5")
        return None
    if not alone:
        raise UsageError("--watch draws on a terminal; --json and --check look once, put them in a loop")
    if not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal; for other programs there is llmfail status --json")
    if seconds is not None and not 0.1 <= seconds <= 86400:
        raise UsageError(f"--watch takes 0.1 to 86400 seconds, got {seconds:g}")
    return WATCH_INTERVAL if seconds is None else seconds


def _watch(client: Client, every: float, *, verbose: bool) -> None:
    """Until q or Ctrl-C, on a screen of its own, which a terminal that is resized does not tear; the last
    picture stays behind.
    """
    from rich.live import Live

    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    entries: tuple[Entry, ...] = ()
    drawing: RenderableType = ""
    try:
        with read_keys() as wait_for_key, Live(console=screen, auto_refresh=False, screen=True) as live:
            is_over = False
            while not is_over:
                entries, size = _read_recent(client, entries), screen.size
                drawing = _draw(screen, client.status(), entries, verbose=verbose)
                live.update(drawing, refresh=True)
                is_over = _wait(screen, size, wait_for_key, every)
    finally:
        print_drawing(screen, drawing)


def _wait(screen: Console, size: ConsoleDimensions, wait_for_key: WaitForKey, seconds: float) -> bool:
    """Whether q was pressed; a terminal that is resized is drawn again soon."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0 and screen.size == size:
        if wait_for_key("q", min(left, RESIZE_SECONDS)):
            return True
    return False


def _read_recent(client: Client, known: Sequence[Entry]) -> tuple[Entry, ...]:
    """What was logged in the last hour; nothing where it cannot be read, which the status says."""
    since, limit, merged = time.time() - HISTORY_SECONDS, PORTION, None
    try:
        while merged is None:
            merged = merge_requests(known, client.log(limit), limit, since)
            limit *= 4
    except UsageError:
        return ()
    return merged


def _draw(screen: Console, status: Status, entries: Sequence[Entry], *, verbose: bool) -> RenderableType:
    from llmfail.cli.render.status_view import render

    now = time.time()
    return render(screen, status, now, count_calls(entries, now), verbose=verbose)


def _print_check(status: Status, *, quiet: bool) -> None:
    if status.health != "healthy" or not quiet:
        emit(describe_health(status, time.time()))


def _show(status: Status, entries: Sequence[Entry], *, verbose: bool) -> None:
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, _draw(screen, status, entries, verbose=verbose))
