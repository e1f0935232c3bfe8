"""``llmfail queue``: the requests that are kept for later, because nothing could answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from llmfail.cli.arguments.global_options import Globals
from llmfail.cli.io.output import emit_json, require_output, say
from llmfail.cli.run.open_client import client_of
from llmfail.core.errors import ExitCode, StoreError, UsageError
from llmfail.core.receipt import iso

if TYPE_CHECKING:
    from llmfail.client.blocking import Client
    from llmfail.core.degrade.queue_item import Item
    from llmfail.engine.bulk.queue_runner import Pass

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

LOOKED_EVERY = 2.0
"""Seconds between two passes of ``--watch`` at most: a request that comes in meanwhile is seen."""
SHORTEST_PAUSE = 0.2


class Listed(NamedTuple):
    """A request without its texts, and what there is to say of it."""

    item: Item
    note: str


@app.command(name="list")
def list_(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one line of JSON.")] = False,
) -> None:
    """Show the requests that wait, the oldest first. The prompts are not shown.

    Examples:

      llmfail queue list

      llmfail queue list --json | jq -r '.[] | select(.attempts > 3) | .id'
    """
    options: Globals = ctx.obj
    with _opened(options) as client:
        now = time.time()
        found = list(map(_listed, client.queue.items()))
    waiting = [listed for listed in found if listed.item.expires_at > now]
    if as_json:
        emit_json([listed.item.to_json() for listed in waiting])
    elif waiting:
        _show(waiting, now)
    else:
        say("nothing is queued", quiet=options.quiet)
    if len(found) > len(waiting):
        late = len(found) - len(waiting)
        say(f"not answered within queue.max_age, and gone soon: {late}", quiet=options.quiet)


@app.command()
def run(
    ctx: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Keep asking whatever becomes due, until Ctrl-C.")
    ] = False,
) -> None:
    """Ask again what is due, the oldest first, and print a receipt for each as a line of JSON.

    A request is due when the time is over that was named when it failed, or as soon as a target would be
    called. It leaves the queue once its answer is printed. One that fails again stays, and rests for 30
    seconds, then twice as long each time, up to an hour. Several may run at once. A receipt that is printed
    a second time, because its first printer was killed at that moment, has the same id.

    Exits 0 when everything that was due is answered, else 3.

    Examples:

      llmfail queue run >> answers.jsonl

      llmfail queue run | jq -r 'select(.ok) | .answer'

      llmfail queue run --watch >> answers.jsonl
    """
    from llmfail.cli.io.stdout_lines import Lines, quietly_ended

    options: Globals = ctx.obj
    require_output()
    lines = Lines()
    with quietly_ended(), _opened(options) as client:
        ask_again = client.runner(lines, say)
        done = ask_again()
        _sum_up(client, done, quiet=options.quiet)
        while watch:
            _pause(client)
            lines.ready(0)
            done = ask_again()
            if done.answered or done.failed:
                _sum_up(client, done, quiet=options.quiet)
    if done.failed:
        raise typer.Exit(ExitCode.UNAVAILABLE)


@app.command()
def drop(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Their first characters will do.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every request.")] = False,
) -> None:
    """Forget requests, by their ids or all of them.

    Examples:

      llmfail queue drop 01KAB7Z3QX

      llmfail queue drop --all
    """
    options: Globals = ctx.obj
    if everything == bool(ids):
        raise UsageError("say which: llmfail queue drop ID..., or --all; `llmfail queue list` shows the ids")
    with _opened(options) as client:
        if everything:
            dropped = client.queue.drop_all()
        else:
            known = [item.id for item in client.queue.items()]
            dropped = len(client.queue.drop([_named(beginning, known) for beginning in ids or ()]))
    say(f"{dropped} dropped", quiet=options.quiet)


@contextmanager
def _opened(options: Globals) -> Iterator[Client]:
    """A queue that cannot be used is not a bug: the error says what to do."""
    with client_of(options) as client:
        queue = client.queue
        try:
            yield client
        except StoreError as error:
            raise UsageError(str(error)) from error
        finally:
            queue.close()


def _listed(item: Item) -> Listed:
    """Without its texts, which may be large."""
    from msgspec.structs import replace

    if item.receipt is not None:
        note = "answered, to be printed"
    elif item.ask is None:
        note = "of a newer llmfail" if item.is_newer else "damaged"
    else:
        note = item.error
    return Listed(replace(item, ask=None, receipt=None), note)


def _show(waiting: Sequence[Listed], now: float) -> None:
    from llmfail.cli.render.tables import (
        Column,
        console,
        fitted,
        show,
        span,
        words,
    )

    items = [listed.item for listed in waiting]
    again = [item.again_at or now for item in items]
    screen = console()
    columns = [
        Column("id", [words(item.id) for item in items], style="cyan"),
        Column("waiting for", [span(max(now - item.created_at, 0)) for item in items], rank=3, right=True),
        Column("feature", [words(item.feature) for item in items], rank=2, name=True),
        Column("attempts", [str(item.attempts) for item in items], rank=4, right=True),
        Column("again in", [span(at - now) if at > now else "now" for at in again], right=True),
        Column("given up in", [span(item.expires_at - now) for item in items], rank=5, right=True),
        Column("why", [words(listed.note or "-") for listed in waiting], rank=1, wraps=True),
    ]
    show(screen, fitted(screen, columns))


def _named(beginning: str, ids: Sequence[str]) -> str:
    """The id that begins so. Raises UsageError when there is none, or more than one."""
    if not beginning.strip():
        raise UsageError("an id is empty; `llmfail queue list` shows them, --all means every request")
    found = [item_id for item_id in ids if item_id.startswith(beginning.upper())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no queued request is called {beginning}; `llmfail queue list` shows their ids")
    raise UsageError(f"{len(found)} requests begin with {beginning}; say more of the id, such as {found[0]}")


def _pause(client: Client) -> None:
    next_at = client.queue.next_at()
    wait = LOOKED_EVERY if next_at is None else next_at - time.time()
    time.sleep(min(max(wait, SHORTEST_PAUSE), LOOKED_EVERY))


def _sum_up(client: Client, done: Pass, *, quiet: bool) -> None:
    waiting, next_at = client.queue.pending(), client.queue.next_at()
    when = "" if next_at is None or not waiting else f" (next at {iso(next_at)})"
    say(f"{done.answered} answered, {waiting} still waiting{when}", quiet=quiet)
