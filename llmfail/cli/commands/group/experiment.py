"""``llmfail experiment``: the arms of an experiment beside each other."""

from __future__ import annotations

from typing import Annotated

import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import emit_json
from llmfail.cli.run.open_client import open_client

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def hold_commands() -> None:
    """Compare the arms of an experiment on live traffic."""


@app.command()
def report(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of an experiment of the configuration.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the arms of an experiment: how often answers fit what the feature expects, what an ask costs,
    how long it takes, and what users said (`llmfail feedback`).

    Intervals in the table hold for one look (95 %). Whether to stop is said by a confidence sequence, which
    holds however often you look. What the cache answered is counted apart.

    Examples:

      llmfail experiment report luna_for_letters

      llmfail experiment report luna_for_letters --json | jq .decisions
    """
    options: GlobalOptions = ctx.obj
    with open_client(options) as client:
        found = client.experiment_report(name)
    if as_json:
        emit_json(found.to_json())
        return
    from llmfail.cli.render.experiment_view import render
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, render(screen, found))
