"""llmfail metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.files import open_text_writer
from llmfail.cli.run.open_client import open_client


def command(
    ctx: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there, whole or not at all."),
    ] = None,
) -> None:
    """Print the metrics of this configuration in the text format of Prometheus.

    Counters are read from the state that all processes share, so each process prints the same, and they go on
    where the last one stopped. Labels are names of the configuration; whatever else was asked is `other`.

    Examples:

      llmfail metrics -o /var/lib/node_exporter/textfile/llmfail.prom

      llmfail metrics | grep circuit_state
    """
    options: GlobalOptions = ctx.obj
    with open_text_writer(output) as write, open_client(options) as client:
        write(client.metrics())
