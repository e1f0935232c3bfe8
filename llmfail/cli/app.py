"""The tree of commands, and the options that all of them share.

A command's module is imported only when the command line names it, so that ``ask`` does not pay for the
tables of ``status`` nor ``--help`` for the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, cast

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from llmfail.cli.arguments.command_group import CommandGroup, accept_global_options, show_version
from llmfail.cli.arguments.global_options import parse_global_options
from llmfail.cli.arguments.shell_completion import find_typed_words
from llmfail.cli.main import COMPLETION_VARIABLE

COMMANDS = {
    "ask": "Answer one prompt through the fallback chain of a feature.",
    "batch": "Answer every line of a JSONL file, many at once.",
    "embed": "Turn texts into vectors, through the chain of a feature.",
    "eval": "Compare the answers of targets on a golden data set.",
    "plan": "Show what ask would do now, and why.",
    "status": "Show circuits, rates, latencies and alerts.",
    "reset": "Close circuits and re-enable credentials.",
    "trip": "Force a provider or target open.",
    "probe": "Ask providers or targets something tiny now.",
    "cost-estimate": "Show what a feature costs per request and per month.",
    "experiment": "Compare the arms of an experiment on live traffic.",
    "feedback": "Say how good an answer was, by the id of its receipt.",
    "forecast": "Simulate how available the chains are, and what outages cost.",
    "usage": "Show what was used and paid for.",
    "models": "Show the targets of the configuration and whether their keys are there.",
    "prices": "Show what targets cost, and get a newer price list.",
    "cache": "Show and forget stored answers.",
    "queue": "Show, ask again and drop what waits for an answer.",
    "log": "Show the last requests and what happened to them.",
    "drill": "Play outages on your own configuration.",
    "serve": "Serve the chains to programs that speak HTTP.",
    "keys": "Make keys for programs that ask `serve`.",
    "metrics": "Print the metrics of this configuration for Prometheus.",
    "watch": "Judge alerts and tell of them; serve health and metrics.",
    "store": "Try the store of the state, and move the state to another.",
    "config": "Write, check and show the configuration.",
}
GROUPS = frozenset({"cache", "config", "experiment", "keys", "prices", "queue", "store"})
"""Commands with commands of their own, in ``commands.group``."""


def build_command_line(arguments: Sequence[str], environ: Mapping[str, str]) -> TyperGroup:
    """The command line for these arguments: whole in its help, loaded where it may be needed. A shell that
    asks for completions has the line in the environment.
    """
    app = typer.Typer(
        name="llmfail",
        cls=CommandGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(set_global_options)
    typed = find_typed_words(environ) if COMPLETION_VARIABLE in environ else arguments
    for name, line in COMMANDS.items():
        if name in typed:
            _load(app, name, line)
    group = cast("TyperGroup", typer.main.get_command(app))
    loaded = group.commands
    for command in loaded.values():
        accept_global_options(
            cast("TyperCommand", command), [one for one in group.params if isinstance(one, TyperOption)]
        )
    group.commands = {
        name: loaded.get(name) or TyperCommand(name, help=line) for name, line in COMMANDS.items()
    }
    return group


def _load(app: typer.Typer, name: str, line: str) -> None:
    folder = "commands.group" if name in GROUPS else "commands"
    module = import_module(f"llmfail.cli.{folder}.{name.replace('-', '_')}")
    if name in GROUPS:
        app.add_typer(module.app, name=name, help=line)
    else:
        app.command(name, short_help=line)(module.command)


def _show_version(value: bool) -> None:
    if value:
        show_version()


def set_global_options(
    ctx: typer.Context,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="The configuration to use.")
    ] = None,
    state_dir: Annotated[
        str | None, typer.Option("--state-dir", metavar="DIR", help="Where circuits and counters live.")
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, show_default=False, help="Say more; twice: with tracebacks."
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Ask language models through fallback chains that notice outages and remember them.

    Examples:

      llmfail ask "Say hello" --drill anthropic=503

      git diff | llmfail ask "Write a commit message"
    """
    ctx.obj = parse_global_options(config, state_dir, verbose, quiet)
