"""``llmfail usage``: what was used and paid for, by whose it was or by day. Reads what every call leaves."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, cast

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import complete_groupings
from llmfail.cli.io.output import emit, emit_json, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import UsageError
from llmfail.core.pricing.usage_record import UsageTotals
from llmfail.core.pricing.usage_report import DEFAULT_DAYS, DayRange, UsageRow

if TYPE_CHECKING:
    from llmfail.core.pricing.usage_report import GroupBy, UsageReport

FORMULA_STARTS = tuple("=+-@\t\r")
"""What a spreadsheet takes for the beginning of a formula."""


def command(
    ctx: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="feature, target, provider, user or day.",
            autocompletion=complete_groupings,
        ),
    ] = "feature",
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="DAYS", help="7d, today included, or a date; else 30d.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="The last day; else today.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one line of JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV with a header.")] = False,
) -> None:
    """Show what was used and paid for: requests, tokens and costs, the dearest first.

    Calls that answered count, and those that failed and may have been charged. Days are those of `timezone`
    in the configuration, and are kept for 400 days. A cost that is not known is none: unpriced_requests says
    how many are missing from the sum. In CSV an apostrophe precedes a key that a spreadsheet would take for a
    formula.

    Examples:

      llmfail usage

      llmfail usage --by user --since 7d

      llmfail usage --by day --since 2026-11-01 --until 2026-11-30 --csv > november.csv

      llmfail usage --since 1d --json | jq -r .total.cost_usd
    """
    options: GlobalOptions = ctx.obj
    if as_json and as_csv:
        raise UsageError("say --json or --csv, not both")
    wanted = _parse_days(since, until)
    with open_client(options) as client:
        report = client.usage(cast("GroupBy", by), wanted)
    if as_json:
        emit_json(report.to_json())
    elif as_csv:
        emit(_format_csv(report))
    elif report.rows:
        _show(report)
    else:
        say(f"nothing was used from {report.since} to {report.until}", quiet=options.quiet)


def _parse_days(since: str | None, until: str | None) -> DayRange:
    last = _parse_date("--until", until)
    number = re.fullmatch(r"([1-9][0-9]{0,3})d", f"{DEFAULT_DAYS}d" if since is None else since)
    if number:
        return DayRange(until=last, count=int(number[1]))
    return DayRange(_parse_date("--since", since), last)


def _parse_date(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        # The ISO calendar has more ways to write a date than people expect.
        return date.fromisoformat(text if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else "")
    except ValueError:
        days = "days such as 7d, or " if option == "--since" else ""
        raise UsageError(f"{option} takes {days}a date such as 2026-11-01, got {text!r}") from None


def _format_csv(report: UsageReport) -> str:
    import csv
    from io import StringIO

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # What the first column holds is what the rows are by.
    writer.writerow([report.by, *list(UsageRow(None, UsageTotals()).to_json())[1:]])
    writer.writerows(map(_escape_formula, row.to_json().values()) for row in report.rows)
    return text.getvalue()


def _escape_formula(value: str | int | None) -> str | int | None:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _show(report: UsageReport) -> None:
    from llmfail.cli.render.tables import open_console, print_drawing
    from llmfail.cli.render.usage_view import render

    screen = open_console()
    print_drawing(screen, render(screen, report))
