"""``llmfail queue``: the requests that are kept for later, because nothing could answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import complete_queue_ids
from llmfail.cli.io.output import emit_json, require_output, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import ExitCode, StoreError, UsageError
from llmfail.core.receipt import format_time

if TYPE_CHECKING:
    from llmfail.client.receipts import ReceiptClient
    from llmfail.core.degrade.queue_item import QueueItem
    from llmfail.engine.bulk.queue_runner import PassResult
    from llmfail.settings.schema.settings import Settings

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, no_args_is_help=True)

WATCH_INTERVAL = 2.0
"""Seconds between two passes of ``--watch`` at most: a request that comes in meanwhile is seen."""
MIN_PAUSE = 0.2


class QueueRow(NamedTuple):
    """A request without its texts, and what there is to say of it."""

    item: QueueItem
    note: str
    configuration: str
    is_of_this: bool
    """Whether ``queue run`` would ask it under the configuration in force."""

    def to_json(self) -> dict[str, object]:
        return {**self.item.to_json(), "runs_here": self.is_of_this}


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
    options: GlobalOptions = ctx.obj
    with _open_queue_client(options) as client:
        now = time.time()
        found = [_build_row(client.settings, item) for item in client.queue.items()]
    waiting = [listed for listed in found if listed.item.expires_at > now]
    if as_json:
        emit_json([listed.to_json() for listed in waiting])
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
    everything: Annotated[
        bool,
        typer.Option("--all", help="Ask also those of other configurations, with the targets of this one."),
    ] = False,
    _as_json: Annotated[
        bool, typer.Option("--json", help="Print receipts, a line of JSON for each; this is what it does.")
    ] = False,
) -> None:
    """Ask again what is due, the oldest first, and print a receipt for each as a line of JSON.

    A request is due when the time is over that was named when it failed, or as soon as a target would be
    called. It leaves the queue once its answer is printed. One that fails again stays, and rests for 30
    seconds, then twice as long each time, up to an hour. Several may run at once. A receipt that is printed
    a second time, because its first printer was killed at that moment, has the same id.

    A request waits for the configuration that it was asked under, and for a chain without a server that it
    might not have gone to then. --all asks the others too: their prompts go to the targets of this one.

    Exits 0 when everything that was due is answered, else 3.

    Examples:

      llmfail queue run >> answers.jsonl

      llmfail queue run | jq -r 'select(.ok) | .answer'

      llmfail queue run --watch >> answers.jsonl
    """
    from llmfail.cli.io.stdout_lines import StdoutLines, exit_on_broken_pipe

    options: GlobalOptions = ctx.obj
    require_output()
    lines = StdoutLines()
    with exit_on_broken_pipe(), _open_queue_client(options) as client:
        ask_again = client.queue_runner(lines, say, everything=everything)
        done = ask_again()
        _report_pass(client, done, quiet=options.quiet)
        while watch:
            _pause(client)
            lines.ready(0)
            done = ask_again()
            if done.answered or done.failed:
                _report_pass(client, done, quiet=options.quiet)
    if done.failed or done.passed_over:
        raise typer.Exit(ExitCode.UNAVAILABLE)


@app.command()
def drop(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Their first characters will do.",
            show_default=False,
            autocompletion=complete_queue_ids,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print how many as JSON.")] = False,
) -> None:
    """Forget requests, by their ids or all of them.

    Examples:

      llmfail queue drop 01KAB7Z3QX

      llmfail queue drop --all
    """
    options: GlobalOptions = ctx.obj
    if everything == bool(ids):
        raise UsageError("say which: llmfail queue drop ID..., or --all; `llmfail queue list` shows the ids")
    with _open_queue_client(options) as client:
        if everything:
            dropped = client.queue.drop_all()
        else:
            known = [item.id for item in client.queue.items()]
            dropped = len(client.queue.drop([_find_id(beginning, known) for beginning in ids or ()]))
    if as_json:
        emit_json({"dropped": dropped})
    else:
        say(f"{dropped} dropped", quiet=options.quiet)


@contextmanager
def _open_queue_client(options: GlobalOptions) -> Iterator[ReceiptClient]:
    """A queue that cannot be used is not a bug: the error says what to do."""
    with open_client(options) as client:
        queue = client.queue
        try:
            yield client
        except StoreError as error:
            raise UsageError(str(error)) from error
        finally:
            queue.close()


def _build_row(settings: Settings, item: QueueItem) -> QueueRow:
    """Without its texts, which may be large."""
    from msgspec.structs import replace

    from llmfail.engine.planning.queue_origin import is_of_configuration

    is_of_this = is_of_configuration(settings, item)

    if item.receipt is not None:
        note = "answered, to be printed"
    elif item.ask is None:
        note = "of a newer llmfail" if item.is_newer else "damaged"
    else:
        note = item.error
    return QueueRow(
        replace(item, ask=None, receipt=None),
        note,
        _name_configuration(settings, item, is_of_this=is_of_this),
        is_of_this,
    )


def _name_configuration(settings: Settings, item: QueueItem, *, is_of_this: bool) -> str:
    if item.origin is None:
        return "unknown: of version 0.1"
    if is_of_this:
        return "this one"
    name = item.origin.configuration or "none: settings of a program"
    is_changed = item.origin.configuration == settings.configuration_name
    return f"{name}, whose chain has changed" if is_changed else name


def _show(waiting: Sequence[QueueRow], now: float) -> None:
    from llmfail.cli.render.tables import Column, cell, draw_rows, open_console, print_drawing
    from llmfail.core.reports.figures import duration

    items = [listed.item for listed in waiting]
    again = [item.next_try_at or now for item in items]
    screen = open_console()
    columns = [
        Column("id", [cell(item.id) for item in items], style="cyan"),
        Column("waiting for", [duration(max(now - item.created_at, 0)) for item in items], right=True),
        Column("feature", [cell(item.feature) for item in items], folds=True),
        Column("attempts", [str(item.attempts) for item in items], right=True),
        Column("again in", [duration(at - now) if at > now else "now" for at in again], right=True),
        Column("given up in", [duration(item.expires_at - now) for item in items], right=True),
        Column("configuration", [cell(listed.configuration) for listed in waiting], folds=True),
        Column("why", [cell(listed.note or "-") for listed in waiting], folds=True),
    ]
    print_drawing(screen, draw_rows(screen, columns))


def _find_id(prefix: str, ids: Sequence[str]) -> str:
    """The id that begins so. Raises UsageError when there is none, or more than one."""
    if not prefix.strip():
        raise UsageError("an id is empty; `llmfail queue list` shows them, --all means every request")
    found = [item_id for item_id in ids if item_id.startswith(prefix.upper())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no queued request is called {prefix}; `llmfail queue list` shows their ids")
    raise UsageError(f"{len(found)} requests begin with {prefix}; say more of the id, such as {found[0]}")


def _pause(client: ReceiptClient) -> None:
    next_at = client.queue.find_next_time()
    wait = WATCH_INTERVAL if next_at is None else next_at - time.time()
    time.sleep(min(max(wait, MIN_PAUSE), WATCH_INTERVAL))


def _report_pass(client: ReceiptClient, result: PassResult, *, quiet: bool) -> None:
    waiting, next_at = client.queue.count_pending() - result.others, client.queue.find_next_time()
    when = "" if next_at is None or waiting <= 0 else f" (next at {format_time(next_at)})"
    say(f"{result.answered} answered, {max(waiting, 0)} still waiting{when}", quiet=quiet)
    if result.others:
        say(f"{result.others} wait for another configuration; `llmfail queue list` names it", quiet=quiet)
