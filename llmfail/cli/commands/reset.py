"""``llmfail reset``: close circuits, re-enable credentials."""

from __future__ import annotations

from typing import Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import complete_providers_and_targets
from llmfail.cli.io.output import emit_json, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import UsageError


def command(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A provider or a target.", show_default=False, autocompletion=complete_providers_and_targets
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every provider.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was reset as JSON.")] = False,
) -> None:
    """Close circuits and re-enable credentials: of a provider, a target, or all.

    Examples:

      llmfail reset openai

      llmfail reset openai/gpt-6.1-terra

      llmfail reset --all
    """
    if (name is None) != everything:
        raise UsageError("name a provider or a target, or say --all")
    options: GlobalOptions = ctx.obj
    with open_client(options) as client:
        changed = client.reset(name)
    if as_json:
        emit_json({"reset": list(changed)})
    for target in changed:
        say(f"{target} is reset", quiet=options.quiet)
    if not changed:
        say("there was nothing to reset", quiet=options.quiet)
