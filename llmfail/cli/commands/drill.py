"""``llmfail drill``: outages played on your own configuration, as a table that fills in and a verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import complete_drill_scenarios, complete_features
from llmfail.cli.io.output import (
    emit,
    emit_json,
    say,
    show_spinner,
)
from llmfail.cli.run.open_client import load_settings
from llmfail.core.errors import ExitCode
from llmfail.core.reports.figures import milliseconds
from llmfail.store import open_store

if TYPE_CHECKING:
    from rich.table import Table

    from llmfail.drill.scenarios import ScenarioResult
    from llmfail.drill.verdict import Verdict

MARK_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}
UNPLAYED_MARK = "-"

Grid = Sequence[Sequence[str]]
"""A row per feature: its name, then a mark per scene."""


def command(
    ctx: typer.Context,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--feature",
            metavar="NAME",
            help="The feature to drill; repeatable. Else all.",
            autocompletion=complete_features,
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help="The scene to play; repeatable. Else all.",
            autocompletion=complete_drill_scenarios,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what every scene showed as JSON.")] = False,
) -> None:
    """Play outages on your own configuration, against a simulator on this machine.

    Needs no keys, asks no provider, records nothing. The scenes: healthy, primary-down, circuit-opens,
    fallback-serves, recovery, rate-limit, hang, bad-key, everything-down. Exits 1 when a feature had no
    answer that its configuration promises. With -v every scene tells what it showed.

    Examples:

      llmfail drill

      llmfail drill -f vpr --scenario primary-down --scenario recovery --json
    """
    from llmfail.drill import runner
    from llmfail.drill.verdict import judge_features

    options: GlobalOptions = ctx.obj
    settings = load_settings(options)
    # A store that cannot be had is found by no scene, because each has its own; nothing is touched yet.
    open_store(settings.store, options.state_dir, settings.store_timeout)
    features = runner.select_features(settings, feature or ())
    names = runner.select_scenarios(scenario or ())
    live = sys.stdout is not None and sys.stdout.isatty() and not as_json
    scenes: list[ScenarioResult] = []
    with _show_progress([one.name for one in features], names, live=live, quiet=options.quiet) as show:
        for scene in runner.run_scenarios(settings, features, names):
            scenes.append(scene)
            show(scenes)
    found = judge_features(scenes)
    missing = runner.find_missing_keys(settings, features)
    if as_json:
        _print_json(found, missing)
    else:
        if not live:
            _print_grid(_build_grid([one.name for one in features], names, scenes), names)
        emit("")
        for verdict in found:
            _print_verdict(verdict, verbose=options.verbose > 0, live=live)
        if missing:
            say(f"played as if these were set: {', '.join(missing)}", quiet=options.quiet)
    if not all(verdict.ok for verdict in found):
        raise typer.Exit(ExitCode.NOT_GOOD)


@contextmanager
def _show_progress(
    features: Sequence[str], names: Sequence[str], *, live: bool, quiet: bool
) -> Iterator[Callable[[Sequence[ScenarioResult]], None]]:
    """Something that shows the scenes so far: on a terminal a table, else nothing."""
    if not live:
        with show_spinner("drilling …", quiet=quiet):
            yield lambda _scenes: None
        return
    from rich.console import Console
    from rich.live import Live

    with Live(_render_grid(_build_grid(features, names, ()), names), console=Console()) as table:
        yield lambda scenes: table.update(_render_grid(_build_grid(features, names, scenes), names))


def _build_grid(features: Sequence[str], names: Sequence[str], scenes: Sequence[ScenarioResult]) -> Grid:
    marks = {(scene.feature, scene.name): _mark(scene) for scene in scenes}
    return [[feature, *(marks.get((feature, name), "") for name in names)] for feature in features]


def _mark(scene: ScenarioResult) -> str:
    if not scene.ok:
        return "FAIL"
    return "warn" if scene.has_warning else "ok"


def _render_grid(grid: Grid, names: Sequence[str]) -> Table:
    """Narrow enough for 80 columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("feature", no_wrap=True)
    for name in names:
        table.add_column(name.replace("everything", "all").replace("-", "\n"))
    for feature, *marks in grid:
        table.add_row(feature, *(Text(mark, MARK_STYLES.get(mark, "")) for mark in marks))
    return table


def _print_grid(grid: Grid, names: Sequence[str]) -> None:
    rows = [["feature", *names], *([cell or UNPLAYED_MARK for cell in row] for row in grid)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        emit("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_verdict(verdict: Verdict, *, verbose: bool, live: bool) -> None:
    """A paragraph: the verdict, and the scenes that need a word. Folded only where a person reads it."""
    told = [scene for scene in verdict.results if verbose or not scene.ok]
    lines = [f"  {_mark(one):4} {one.name}: expected: {one.expected}; saw: {one.observed}" for one in told]
    took = ", ".join(f"{name} {milliseconds(one * 1000)}" for name, one in verdict.failovers.items())
    failover = [f"  failover: {took}"] if took else []
    for line in (f"{verdict.feature}: {verdict.text}", *failover, *lines):
        emit(_fold(line) if live else line)


def _fold(line: str) -> str:
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _print_json(found: Sequence[Verdict], missing: Sequence[str]) -> None:
    emit_json(
        {
            "ok": all(verdict.ok for verdict in found),
            "features": {verdict.feature: verdict.to_json() for verdict in found},
            "played_as_if_set": list(missing),
        }
    )
