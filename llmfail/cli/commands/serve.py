"""llmfail serve."""

from __future__ import annotations

from typing import Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions


def command(
    ctx: typer.Context,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Where programs connect, or unix:FILE; default: as configured.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="How many processes answer.", show_default=False),
    ] = None,
    drill: Annotated[
        str | None,
        typer.Option(
            "--drill",
            metavar="FAULTS",
            help="Answer from the simulator, which breaks as said; none: it is healthy.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the chains of the configuration to programs that speak to OpenAI, Anthropic or Google: they
    change their base URL, and nothing else.

    A program's `model` is a feature, a provider/model, or a name under `serve: models:`. SIGTERM lets answers
    under way end, SIGHUP reads the configuration again. Each request is a line of JSON on standard error.

    Examples:

      llmfail serve --drill none

      llmfail serve --listen 127.0.0.1:4000 --workers 2

      curl http://127.0.0.1:4000/v1/models
    """
    from llmfail.cli.run.run_serve import run_serve

    options: GlobalOptions = ctx.obj
    raise typer.Exit(run_serve(options, listen, workers, drill))
