"""``llmfail log``: the last requests, and the trail of one. Reads what every ask keeps of itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfail.cli.arguments.global_options import GlobalOptions, parse_seconds
from llmfail.cli.arguments.shell_completion import (
    complete_features,
    complete_log_ids,
    complete_providers_and_targets,
)
from llmfail.cli.io.output import emit_json, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import UsageError
from llmfail.core.reports.log_filter import LogFilter

if TYPE_CHECKING:
    from llmfail.client.blocking import Client

ALL_ENTRIES = 1_000_000
"""More than is kept."""
ReceiptJson = dict[str, Any]
"""A receipt as JSON, with the moment ``at``."""


def command(
    ctx: typer.Context,
    id_: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="One request; its first characters will do.",
            show_default=False,
            autocompletion=complete_log_ids,
        ),
    ] = None,
    most: Annotated[int, typer.Option("-n", "--number", metavar="N", min=1, help="How many at most.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Only those without an answer.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="DURATION", help="Only those of the last 30m, 2h, 7d.", show_default=False
        ),
    ] = None,
    feature: Annotated[
        str | None,
        typer.Option(
            "--feature",
            "-f",
            metavar="NAME",
            help="Only those for this feature.",
            show_default=False,
            autocompletion=complete_features,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Only those that met this target or provider.",
            show_default=False,
            autocompletion=complete_providers_and_targets,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--grep", metavar="TEXT", help="Only those in which this stands.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print receipts, one line of JSON for each.")
    ] = False,
) -> None:
    """Show the last requests, the newest first, and what happened to them; with an ID, every step of one.

    The texts are kept only when the configuration says `privacy: {log_prompts: true}`.

    Examples:

      llmfail log -n 5

      llmfail log --failed --since 2h

      llmfail log --target openai --grep "rate limit"

      llmfail log 01KAB7Z3QX

      llmfail log -n 1000 --json | jq -r 'select(.tier > 0) | .target'
    """
    options: GlobalOptions = ctx.obj
    with open_client(options) as client:
        wanted = _build_filter(client, since, feature, target, failed=failed, text=text)
        found = [_find_one(client, id_)] if id_ else _read_last(client, most, wanted)
    if as_json:
        for entry in found:
            emit_json(entry)
    elif id_:
        _show_one(found[0])
    elif found:
        _show_all(found)
    else:
        say(_describe_nothing(wanted), quiet=options.quiet)


def _read_well_formed(client: Client, limit: int) -> list[ReceiptJson]:
    """The last requests, without those whose record is damaged."""
    from llmfail.cli.render.log_schema import is_well_formed

    return [entry for entry in client.log(limit) if is_well_formed(entry)]


def _read_last(client: Client, limit: int, wanted: LogFilter) -> list[ReceiptJson]:
    if wanted.takes_all:
        return _read_well_formed(client, limit)
    return list(filter(wanted.matches, _read_well_formed(client, ALL_ENTRIES)))[:limit]


def _build_filter(
    client: Client,
    since: str | None,
    feature: str | None,
    target: str | None,
    *,
    failed: bool,
    text: str | None,
) -> LogFilter:
    """Raises UsageError for a feature that the configuration does not have."""
    seconds = parse_seconds("--since", since)
    return LogFilter(
        since=None if seconds is None else time.time() - seconds,
        feature=None if feature is None else client.settings.find_feature(feature).name,
        target=target,
        failed=failed,
        text=text,
    )


def _describe_nothing(wanted: LogFilter) -> str:
    if wanted.takes_all:
        return "nothing was asked yet"
    return "nothing failed" if wanted == LogFilter(failed=True) else "nothing like that is in the log"


def _find_one(client: Client, prefix: str) -> ReceiptJson:
    """The request whose id begins so. Raises UsageError when there is none, or more than one."""
    found = [
        entry for entry in _read_well_formed(client, ALL_ENTRIES) if entry["id"].startswith(prefix.upper())
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no request is called {prefix}; `llmfail log` shows their ids")
    raise UsageError(
        f"{len(found)} requests begin with {prefix}; say more of the id, such as {found[0]['id']}"
    )


def _show_all(found: Sequence[ReceiptJson]) -> None:
    from llmfail.cli.render.log_view import render_list
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, render_list(screen, found))


def _show_one(entry: ReceiptJson) -> None:
    from llmfail.cli.render.log_view import render_entry
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, render_entry(screen, entry))
