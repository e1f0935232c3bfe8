"""``llmfail models``: the targets of the configuration, what is known of them, and who has a key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import emit_json
from llmfail.cli.run.open_client import load_settings, open_catalogue

if TYPE_CHECKING:
    from llmfail.cli.render.prices_view import PriceRow
    from llmfail.settings.schema.settings import Settings


def command(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as one line of JSON.")] = False,
) -> None:
    """Show the targets of the configuration: context, longest answer, prices in USD per million tokens, and
    whether their key is there.

    Examples:

      llmfail models

      llmfail models --json | jq -r '.models[] | select(.key) | .target'
    """
    from llmfail.cli.render.prices_view import PriceRow
    from llmfail.engine.planning.price_lookup import TargetPrices

    options: GlobalOptions = ctx.obj
    settings = load_settings(options)
    prices, now = TargetPrices(settings, open_catalogue(options)), time.time()
    rows = [PriceRow(one, prices.find(one), prices.facts(one), now) for one in settings.list_targets()]
    if as_json:
        emit_json({"models": [_row_to_json(settings, row) for row in rows]})
    else:
        _show(settings, rows)


def _find_missing_key(settings: Settings, row: PriceRow) -> str | None:
    return settings.provider_of(row.target).missing_credential_hint


def _row_to_json(settings: Settings, row: PriceRow) -> dict[str, Any]:
    from llmfail.cli.render.prices_view import row_to_json

    known, own = row_to_json(row), settings.model_of(row.target)
    return {
        "target": known["target"],
        "provider": row.target.provider,
        "model": row.target.model,
        "context": own.context or known["context"],
        "max_output": own.max_output or known["max_output"],
        "input": known["input"],
        "output": known["output"],
        "key": _find_missing_key(settings, row) is None,
        "missing_key": _find_missing_key(settings, row),
    }


def _show(settings: Settings, rows: list[PriceRow]) -> None:
    from llmfail.cli.render.tables import Column, cell, draw_rows, open_console, print_drawing

    screen, found = open_console(), [_row_to_json(settings, row) for row in rows]

    def count(name: str) -> list[str]:
        return [f"{one[name]:,}" if one[name] else "-" for one in found]

    columns = (
        Column("target", [cell(one["target"]) for one in found]),
        Column("context", count("context"), right=True),
        Column("answer", count("max_output"), right=True),
        Column("input", [one["input"] or "-" for one in found], right=True),
        Column("output", [one["output"] or "-" for one in found], right=True),
        Column("key", [cell(one["missing_key"] or "there") for one in found], folds=True),
    )
    print_drawing(screen, draw_rows(screen, columns, [None if one["key"] else "dim" for one in found]))
