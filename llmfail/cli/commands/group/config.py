"""``llmfail config``: write, check and show the configuration, and give it trust."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions, current_directory
from llmfail.cli.io.output import emit, emit_json, say
from llmfail.core.errors import Problem, SettingsError, UsageError
from llmfail.core.reports.store_places import StorePlaces
from llmfail.core.reports.store_server import StoreCheck
from llmfail.settings.reading import find
from llmfail.settings.reading.load import ExaminedConfig, examine
from llmfail.settings.trust import trust

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@app.command()
def init(
    ctx: typer.Context,
    path: Annotated[
        Path, typer.Option("--path", metavar="FILE", help="Where to write.", show_default="./llmfail.yaml")
    ] = Path(find.FILE_NAME),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a configuration with every setting, its default, and a comment.

    Examples:

      llmfail config init

      llmfail config init --path ~/.config/llmfail/llmfail.yaml
    """
    from llmfail.settings.advice.init_text import build_init_text

    text, there = build_init_text(), path.exists()
    try:
        if path.absolute().parent == find.user_config_directory():
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; --force overwrites it") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    # Who asks for this text trusts it; without a state directory consent can wait.
    with suppress(UsageError):
        trust.accept(path, text, ctx.obj.state_dir)
    if as_json:
        emit_json({"path": str(path), "overwritten": there})
    else:
        emit(str(path))


@app.command()
def check(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Find every mistake in the configuration at once, and what is likely to be one.

    Exits 2 when there is a mistake, 0 when there are only warnings.

    Examples:

      llmfail config check

      llmfail --config staging.yaml config check --json
    """
    options: GlobalOptions = ctx.obj
    try:
        examination = _examine(options)
    except SettingsError as error:
        _report(error.problems, (), StorePlaces(), as_json=as_json, quiet=options.quiet)
        raise typer.Exit(error.exit_code) from None
    objections = _list_objections(examination, options)
    stores = [] if objections else _check_stores(examination)
    found = ((one.setting, problem) for one in stores for problem in one.problems)
    problems = (*examination.problems, *objections, *examination.locate(found))
    found = ((one.setting, warning) for one in stores for warning in one.warnings)
    warnings = (*_list_warnings(examination, options), *examination.locate(found))
    places = _find_places(examination)
    _report(problems, warnings, places, as_json=as_json, quiet=options.quiet)
    for one in stores if not as_json else ():
        if one.server is not None:
            say(f"{'.'.join(one.setting)}: {one.server.description}", quiet=options.quiet)
    if not places.are_local and not as_json:
        say(places.description, quiet=options.quiet)
    if problems:
        raise typer.Exit(SettingsError.exit_code)
    if not as_json:
        say(f"{examination.source.path} is valid", quiet=options.quiet)


@app.command()
def show(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print the configuration in force: with every default, overrides applied, secrets masked.

    Each line says where its value is from.

    Examples:

      llmfail config show

      llmfail config show --json | jq .breaker
    """
    from llmfail.settings.advice.show import collect_effective_values, format_yaml

    examination = _examine(ctx.obj)
    if examination.problems:
        raise SettingsError(examination.problems)
    if as_json:
        emit_json(collect_effective_values(examination))
    else:
        emit(format_yaml(examination))


@app.command()
def path(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print which file is the configuration.

    Examples:

      llmfail config path

      llmfail config path --json
    """
    options: GlobalOptions = ctx.obj
    source = find.find(options.config, os.environ, current_directory())
    if as_json:
        emit_json({"path": str(source.path), "why": str(source.origin), "exists": source.path.exists()})
        return
    emit(str(source.path))
    say(str(source.origin), quiet=options.quiet)


@app.command()
def schema(_as_json: AsJson = False) -> None:
    """Print the JSON Schema of llmfail.yaml, for editors.

    Example:

      llmfail config schema > llmfail.schema.json
    """
    import json

    from llmfail.settings.schema.config_schema import build_schema as made

    emit(json.dumps(made(), indent=2))


@app.command(name="trust")
def accept_trust(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Accept the configuration of the current directory as it is now.

    A file that was found there is refused when it would run a command or send a key to a host that is not
    its owner's. Accepting covers each command with the files of the directory that it names, and each
    variable with the host that gets it: when one of these changes, the file is refused again, and the message
    names it. What these files read or run themselves is not looked at. Any other edit keeps it.

    Example:

      llmfail config check && llmfail config trust
    """
    options: GlobalOptions = ctx.obj
    examination = _examine(options)
    source = examination.source
    is_needed = source.origin is find.Origin.DIRECTORY
    found = ((finding.place, finding.message) for finding in examination.trust_findings)
    accepted = examination.locate(found) if is_needed else ()
    if is_needed:
        overridden = examination.result.overriding_variables
        trust.accept(source.path, examination.text, options.state_dir, overridden)
    if as_json:
        emit_json({"path": str(source.path), "needed": is_needed, "accepted": _problems_to_json(accepted)})
        return
    if not is_needed:
        say(f"{source.path} needs no trust: {source.origin}", quiet=options.quiet)
        return
    for objection in accepted:
        say(f"accepted: {objection}", quiet=options.quiet)
    until = "until one of these changes" if accepted else "until it does something that needs trust"
    say(f"{source.path} is trusted {until}", quiet=options.quiet)


def _examine(options: GlobalOptions) -> ExaminedConfig:
    return examine(options.config, os.environ, current_directory())


def _list_objections(examination: ExaminedConfig, options: GlobalOptions) -> tuple[Problem, ...]:
    path, findings = examination.source.path, examination.trust_findings
    objections = trust.list_objections(path, examination.text, findings, options.state_dir)
    return examination.locate(
        (place, f"{what}; `llmfail config trust` accepts it") for place, what in objections
    )


def _check_stores(examination: ExaminedConfig) -> Sequence[StoreCheck]:
    """Only of a configuration that is right otherwise: nothing is sent anywhere on behalf of another."""
    settings = examination.result.settings
    if settings is None or examination.problems:
        return ()
    from llmfail.client.shared_store import check_stores

    return check_stores(settings)


def _find_places(examination: ExaminedConfig) -> StorePlaces:
    from llmfail.client.shared_store import places_of

    settings = examination.result.settings
    return StorePlaces() if settings is None else places_of(settings)


def _list_warnings(examination: ExaminedConfig, options: GlobalOptions) -> tuple[Problem, ...]:
    from llmfail.cli.run.open_client import open_catalogue
    from llmfail.engine.planning.price_lookup import TargetPrices
    from llmfail.settings.advice.lint import lint

    settings = examination.result.settings
    if settings is None or examination.problems:
        return ()
    known = TargetPrices(settings, open_catalogue(options))
    return examination.locate(lint(settings, datetime.now(UTC).date(), known))


def _report(
    problems: tuple[Problem, ...],
    warnings: tuple[Problem, ...],
    places: StorePlaces,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    if as_json:
        emit_json(
            {
                "ok": not problems,
                "problems": _problems_to_json(problems),
                "warnings": _problems_to_json(warnings),
                "stores": places.to_json(),
            },
        )
        return
    for problem in problems:
        say(str(problem))
    for warning in warnings:
        say(f"warning: {warning}", quiet=quiet)


def _problems_to_json(problems: tuple[Problem, ...]) -> list[dict[str, object]]:
    return [
        {"file": each.file, "line": each.line, "path": each.path, "message": each.message}
        for each in problems
    ]
