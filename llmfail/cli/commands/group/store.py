"""``llmfail store``: try the store, and move its state: circuits, budgets, rate limits and counters."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import emit, emit_json, say
from llmfail.cli.run.open_client import load_settings
from llmfail.client.state_transfer import check_state, export_state, import_state, migrate_state
from llmfail.core.errors import UsageError
from llmfail.core.reports.figures import count_of
from llmfail.core.reports.store_server import StoreCheck

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
StateFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, a record each.")]
Force = Annotated[bool, typer.Option("--force", help="Write over the records that are there.")]


@app.command()
def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Try to read and write the store, and those of answers and the queue where they are on servers; tell
    what each server says of itself. Exits 2 where that fails.

    Examples:

      llmfail store check

      llmfail store check --json | jq .server.role
    """
    options: GlobalOptions = ctx.obj
    checks = check_state(load_settings(options), options.state_dir)
    problems = [problem for one in checks for problem in one.problems]
    if as_json:
        servers = {".".join(one.setting): one.server.to_json() for one in checks if one.server is not None}
        warnings = [warning for one in checks for warning in one.warnings]
        emit_json(
            {
                "ok": not problems,
                "problems": problems,
                "warnings": warnings,
                "server": servers.get("store"),
                "servers": servers,
            }
        )
    else:
        for one in checks:
            _tell_check(one)
    if problems:
        raise typer.Exit(UsageError.exit_code)


def _tell_check(found: StoreCheck) -> None:
    for text in (*found.problems, *(f"warning: {warning}" for warning in found.warnings)):
        say(text)
    if found.server is not None:
        emit(f"{'.'.join(found.setting)}: {found.server.description}")
    elif not found.problems and not found.warnings:
        emit("it can be read and written")


@app.command()
def migrate(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="disk, or the URL of a Redis.")],
    destination: Annotated[str, typer.Argument(metavar="TO", help="The same.")],
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Copy the state from one store to another. Nothing should ask meanwhile, or some of it stays behind.

    Stored answers and the queue are not touched. Afterwards name the new store as `store:`.

    Examples:

      llmfail store migrate disk redis://cache:6379/0

      llmfail store migrate redis://old/0 rediss://new/0?name=prod
    """
    count = migrate_state(load_settings(ctx.obj), ctx.obj.state_dir, source, destination, force=force)
    _tell(count, "copied", as_json=as_json, quiet=ctx.obj.quiet)


@app.command(name="export")
def export_file(ctx: typer.Context, file: StateFile, as_json: AsJson = False) -> None:
    """Write the state to a file that is new, a record a line.

    Example:

      llmfail store export state.jsonl
    """
    lines = (
        msgspec.json.encode(record) + b"\n"
        for record in export_state(load_settings(ctx.obj), ctx.obj.state_dir)
    )
    try:
        with file.open("xb") as output:
            file.chmod(0o600)
            count = sum(bool(output.write(line)) for line in lines)
    except FileExistsError:
        raise UsageError(f"{file} is there already") from None
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None
    _tell(count, "written", as_json=as_json, quiet=ctx.obj.quiet)


@app.command(name="import")
def import_file(ctx: typer.Context, file: StateFile, force: Force = False, as_json: AsJson = False) -> None:
    """Read the state from a file that `export` has written.

    Example:

      llmfail store import state.jsonl
    """
    try:
        with closing(file.open("rb")) as lines:
            count = import_state(load_settings(ctx.obj), ctx.obj.state_dir, lines, force=force)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise UsageError(f"{file} is not what `llmfail store export` writes: {error}") from None
    _tell(count, "read", as_json=as_json, quiet=ctx.obj.quiet)


def _tell(count: int, what: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        emit_json({"records": count})
    else:
        say(f"{count_of(count, 'record')} {what}", quiet=quiet)
