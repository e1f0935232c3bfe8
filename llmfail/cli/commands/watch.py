"""llmfail watch."""

from __future__ import annotations

from typing import Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions, parse_seconds


def command(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Judge once and end, for cron.")] = False,
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="How often alerts are judged.")
    ] = "30s",
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Serve health and metrics there.", show_default=False
        ),
    ] = None,
) -> None:
    """Judge the alerts of the configuration, and tell its webhooks and its command what is raised or over.

    Each alert is told once when it is raised and once when it is over, by one process, however many watch.
    With --listen: /health/live, /health/ready, /health/llm-services (the JSON of `status`, 503 when
    unhealthy) and, for this machine alone, /metrics.

    Examples:

      llmfail watch

      llmfail watch --once

      llmfail watch --listen 127.0.0.1:9464 --interval 10s
    """
    import asyncio

    from llmfail.cli.run.run_watch import run_watch
    from llmfail.core.errors import UsageError

    options: GlobalOptions = ctx.obj
    if once and listen is not None:
        raise UsageError("--once ends at once, so there is nothing to --listen to; say one of them")
    seconds = parse_seconds("--interval", interval)
    assert seconds is not None
    code = asyncio.run(run_watch(options, None if once else seconds, listen))
    raise typer.Exit(code)
