"""``llmfail status``: circuits, rates, latencies and alerts, for people, for programs and for monitoring."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.client import client_of
from llmfail.cli.options import Globals
from llmfail.cli.output import emit, emit_json
from llmfail.client import Client
from llmfail.core.errors import UsageError
from llmfail.core.overview import Health, Status, TargetStatus

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EXIT_CODES: dict[Health, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2}
EVERY = 2.0
"""Seconds between two looks of ``--watch``."""


def command(
    ctx: typer.Context,
    seconds: Annotated[
        float | None,
        typer.Argument(metavar="[SECONDS]", help="With --watch: how often; else every 2.", show_default=False),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep looking, until Ctrl-C.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="One line; exit 0 healthy, 1 degraded, 2 unhealthy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as one line of JSON.")] = False,
) -> None:
    """Show circuits, rates, latencies, spending and alerts: of today's targets, over the last 24 hours.

    Healthy: every circuit is closed and no alert is critical. Degraded: something is wrong, but a model can
    still answer every feature. Unhealthy: some feature has no model left. Targets without a key are counted,
    not listed; `llmfail -v status` lists them.

    Examples:

      llmfail status

      llmfail status --watch 5

      llmfail -q status --check || notify-send "language models are down"

      llmfail status --json | jq '.providers[] | select(.state != "closed")'
    """
    options: Globals = ctx.obj
    every = _every(seconds, watch=watch, alone=not (check or as_json))
    with client_of(options) as client:
        if every is not None:
            _watch(client, every, verbose=options.verbose > 0)
        status = client.status()
    if as_json:
        emit_json(status.to_json())
    elif check:
        if status.health != "healthy" or not options.quiet:
            emit(_verdict(status, time.time()))
    else:
        _show(status, verbose=options.verbose > 0)
    if check:
        raise typer.Exit(EXIT_CODES[status.health])


def _every(seconds: float | None, *, watch: bool, alone: bool) -> float | None:
    """Seconds between two looks; None without --watch."""
    if not watch:
        if seconds is not None:
            raise UsageError("SECONDS goes with --watch: llmfail status --watch 5")
        return None
    if not alone:
        raise UsageError("--watch draws on a terminal; without it, --json and --check work in any loop")
    if not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal; for other programs there is llmfail status --json")
    if seconds is not None and not 0.1 <= seconds <= 86400:
        raise UsageError(f"--watch takes 0.1 to 86400 seconds, got {seconds:g}")
    return EVERY if seconds is None else seconds


def _watch(client: Client, every: float, *, verbose: bool) -> None:
    """Until Ctrl-C, which leaves the last picture on the screen."""
    from rich.live import Live  # noqa: PLC0415 - start-up

    from llmfail.cli.tables import console  # noqa: PLC0415 - start-up

    screen = console()
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            live.update(_picture(screen, client.status(), verbose=verbose), refresh=True)
            time.sleep(every)


def _show(status: Status, *, verbose: bool) -> None:
    from llmfail.cli.tables import console, show  # noqa: PLC0415 - start-up

    screen = console()
    show(screen, _picture(screen, status, verbose=verbose))


def _picture(screen: Console, status: Status, *, verbose: bool) -> RenderableType:
    """Everything as one drawing: the verdict, the targets, what is hidden, the totals, the alerts."""
    from rich.console import Group  # noqa: PLC0415 - start-up
    from rich.text import Text  # noqa: PLC0415 - start-up

    from llmfail.cli.tables import STYLES  # noqa: PLC0415 - start-up

    now = time.time()
    hidden = [] if verbose else [one for one in status.targets if _is_idle(one)]
    shown = [one for one in status.targets if one not in hidden]
    parts: list[RenderableType] = [Text(_verdict(status, now), f"bold {STYLES[status.health]}")]
    if shown:
        parts.append(_drawn(screen, shown, now))
    parts += [Text(line, "dim") for line in (*_hidden(hidden), *_totals(status))]
    parts += [Text(f"{alert.level}: {alert.message}", STYLES[alert.level]) for alert in status.alerts]
    return Group(*parts)


def _is_idle(one: TargetStatus) -> bool:
    return one.missing_key is not None and one.tally.calls == 0


def _verdict(status: Status, now: float) -> str:
    """The health in one line, with the reasons."""
    reasons = "; ".join(_reasons(status, now))
    return f"{status.health}: {reasons}" if reasons else str(status.health)


def _reasons(status: Status, now: float) -> Iterator[str]:
    if status.health == "healthy":
        return
    if status.without_target:
        yield f"no usable target for {', '.join(status.without_target)}"
    for one in status.targets:
        if one.state != "closed" and not one.missing_key:
            yield f"{one.target} is {_words(one.state)}{_ending(one, now)}"
    for alert in status.alerts:
        if alert.level == "critical":
            yield alert.message


def _ending(one: TargetStatus, now: float) -> str:
    from llmfail.cli.tables import span  # noqa: PLC0415 - start-up

    at = one.look.retry_at
    return "" if at is None else f" for {span(at - now)}"


def _words(state: str) -> str:
    return {"half_open": "half open", "forced_open": "held open"}.get(state, state)


def _hidden(targets: list[TargetStatus]) -> Iterator[str]:
    if targets:
        providers = ", ".join(dict.fromkeys(one.target.provider for one in targets))
        plural = "target" if len(targets) == 1 else "targets"
        yield f"{len(targets)} {plural} without a key ({providers}); llmfail -v status lists them"


def _totals(status: Status) -> Iterator[str]:
    from llmfail.cli.tables import milliseconds, percent  # noqa: PLC0415 - start-up

    routing = status.to_json()["routing"]
    asked = routing["total_requests"]
    if not asked:
        yield f"nothing was asked in the last 24 hours; store: {status.store}"
        return
    shares = f"{percent(routing['fallback_rate'])} by fallbacks, {percent(routing['degraded_rate'])} degraded"
    yield (
        f"{asked} asked in the last 24 hours: {shares}, {percent(routing['error_rate'])} without an answer; "
        f"{milliseconds(routing['avg_latency_ms'])} on average, 95% within "
        f"{milliseconds(routing['p95_latency_ms'])}; store: {status.store}"
    )


def _drawn(screen: Console, targets: list[TargetStatus], now: float) -> RenderableType:
    from llmfail.cli.statustable import one_line_each, two_lines_each  # noqa: PLC0415 - start-up
    from llmfail.cli.tables import WIDE  # noqa: PLC0415 - start-up

    draw = one_line_each if screen.width >= WIDE else two_lines_each
    return draw(screen, targets, now)
