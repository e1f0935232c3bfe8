"""``llmfail cache``: how much is stored, and forgetting all of it."""

from __future__ import annotations

from typing import Annotated

import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import emit, emit_json, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import UsageError
from llmfail.core.reports.figures import count_of, format_bytes
from llmfail.core.store_url import LOCAL_STORES

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)


@app.command()
def stats(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how many answers are stored, and how often they served in the last 24 hours. Those on a server
    (`cache.store`) are not counted.

    Examples:

      llmfail cache stats

      llmfail cache stats --json | jq .bytes
    """
    options: GlobalOptions = ctx.obj
    with open_client(options) as client:
        status = client.status()
        most = client.settings.cache.max_size
    storage, counters = status.storage, status.counters
    is_uncounted = storage.places.answers not in LOCAL_STORES
    if not status.readable or (storage.entries is None and not is_uncounted):
        raise UsageError("what is stored cannot be read; see the warning, or --state-dir")
    if as_json:
        emit_json({**status.cache, "max_bytes": None if is_uncounted else most})
        return
    kept = storage.unknown_answers
    if storage.entries is not None and storage.bytes is not None:
        size = f"{format_bytes(storage.bytes)} of {format_bytes(most)}"
        kept = f"{count_of(storage.entries, 'answer')} in {size}"
    emit(
        f"{kept}; {counters.hits} of {counters.hits + counters.misses} asks of the last day were answered so"
    )


@app.command()
def clear(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print how many as JSON.")] = False,
) -> None:
    """Forget every stored answer.

    Examples:

      llmfail cache clear

      llmfail cache clear --json | jq .cleared
    """
    options: GlobalOptions = ctx.obj
    with open_client(options) as client:
        forgotten = client.clear_cache()
    if as_json:
        emit_json({"cleared": forgotten})
    else:
        say(f"forgot {count_of(forgotten, 'answer')}", quiet=options.quiet)
