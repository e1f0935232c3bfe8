"""``llmfail prices``: what targets cost, and where that is known from."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.command_group import CommandGroup
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import complete_targets
from llmfail.cli.io.output import emit, emit_json
from llmfail.cli.run.open_client import load_settings, open_catalogue
from llmfail.core.errors import UsageError

if TYPE_CHECKING:
    from llmfail.cli.render.prices_view import PriceRow
    from llmfail.settings.schema.settings import Settings

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print it as one line of JSON.")]


@app.command()
def show(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]",
            help="Any provider/model, with everything listed for it.",
            show_default=False,
            autocompletion=complete_targets,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the targets of the configuration cost, in USD per million tokens; with a TARGET, everything
    that is listed for it: steps, dates, hours, variants.

    Prices are those of the configuration over those of the catalogue, key by key.

    Examples:

      llmfail prices show

      llmfail prices show deepseek/deepseek-v4-pro

      llmfail prices show --json | jq -r '.prices[] | select(.input == null) | .target'
    """
    from llmfail.cli.render.prices_view import PriceRow, row_to_json, rows_to_json
    from llmfail.engine.planning.price_lookup import TargetPrices
    from llmfail.settings.reading.target_lookup import find_target

    options: GlobalOptions = ctx.obj
    settings, catalogue = load_settings(options), open_catalogue(options)
    prices, now = TargetPrices(settings, catalogue), time.time()
    targets = settings.list_targets() if target is None else (find_target(settings, target),)
    rows = [PriceRow(one, prices.find(one), prices.facts(one), now) for one in targets]
    if target is not None:
        _require_known(settings, rows[0])
    if as_json:
        emit_json(rows_to_json(rows, catalogue.index) if target is None else row_to_json(rows[0]))
        return
    from llmfail.cli.render.prices_view import render_list, render_target
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(
        screen,
        render_list(screen, rows, catalogue.index) if target is None else render_target(screen, rows[0]),
    )


@app.command()
def refresh(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="Another source of genai-prices' form.", show_default=False
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="From the installed genai-prices, without a network.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Get a newer price list, which is kept in the state directory and counts while it is the newest.

    Needs the package genai-prices: pip install 'llmfail[prices]'. Exits 3 when the source gives no prices;
    then nothing has changed.

    Examples:

      llmfail prices refresh

      pip install -U genai-prices && llmfail prices refresh --offline
    """
    from llmfail.prices import REFRESHED_DIRECTORY
    from llmfail.prices import refresh as source

    options: GlobalOptions = ctx.obj
    if url is not None and offline:
        raise UsageError("say --url or --offline, not both")
    directory, today = options.state_dir / REFRESHED_DIRECTORY, datetime.now(UTC).date()
    done = source.refresh_offline(directory, today) if offline else source.refresh(directory, url, today)
    index = done.index
    if as_json:
        as_of, kept = index.as_of.isoformat(), done.kept_as_of and done.kept_as_of.isoformat()
        emit_json({"as_of": as_of, "models": done.models, "sources": index.sources, "kept": kept})
    elif done.kept_as_of is not None:
        emit(f"nothing newer: the source is of {index.as_of}, the prices that count are of {done.kept_as_of}")
    else:
        emit(f"{done.models:,} models at {len(index.providers)} providers, prices as of {index.as_of}")


def _require_known(settings: Settings, row: PriceRow) -> None:
    """Raises UsageError for a target that neither the configuration nor the catalogue has."""
    from llmfail.settings.reading.target_lookup import suggest_targets

    if row.price is None and row.target not in settings.list_targets():
        settings.provider_of(row.target)
        near = suggest_targets(settings, str(row.target))
        raise UsageError(f"{row.target} is neither in the configuration nor in the catalogue{near}")
