"""``llmfail probe``: ask providers or targets something tiny now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.shell_completion import complete_providers_and_targets
from llmfail.cli.io.output import (
    emit,
    emit_json,
    require_output,
    say,
)
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import ExitCode
from llmfail.core.receipt import Receipt


def command(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A provider or a target; else one target of each.",
            show_default=False,
            autocompletion=complete_providers_and_targets,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is open, paused or disabled; it stays so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Ask providers or targets something tiny now, and record the result.

    Without a name, one target of each provider that has a key. What is open, paused or disabled is asked only
    with --force, which forgets nothing that is known of it; `llmfail reset` does. Exits 0 when everybody who
    was asked answered, 3 when somebody did not, 6 when only credentials stood in the way.

    Examples:

      llmfail probe

      llmfail probe openai/gpt-6.1-terra --json

      llmfail probe openai --force
    """
    options: GlobalOptions = ctx.obj
    require_output()
    with open_client(options) as client:
        receipts = [client.probe(target, force=force) for target in client.probe_targets(name)]
    if as_json:
        emit_json({"probes": [_result_to_json(receipt) for receipt in receipts]})
    else:
        for receipt in receipts:
            emit(_format_line(receipt))
    if not receipts:
        say("no provider has a key: nothing was asked", quiet=options.quiet)
        raise typer.Exit(ExitCode.CREDENTIALS_MISSING)
    failed = [receipt for receipt in receipts if not _has_answered(receipt)]
    if failed:
        codes = {receipt.exit_code for receipt in failed}
        missing = ExitCode.CREDENTIALS_MISSING
        raise typer.Exit(missing if codes == {missing} else ExitCode.UNAVAILABLE)


def _has_answered(receipt: Receipt) -> bool:
    """A model that had no room to say anything answered all the same."""
    last = receipt.trail[-1]
    return receipt.ok or last.outcome == "rejected_answer"


def _result_to_json(receipt: Receipt) -> dict[str, Any]:
    return {**receipt.trail[-1].to_json(), "ok": _has_answered(receipt)}


def _format_line(receipt: Receipt) -> str:
    last = receipt.trail[-1]
    took = f" in {last.latency_ms} ms" if last.latency_ms is not None else ""
    note = f": {last.note}" if last.note else ""
    outcome = "" if last.outcome == "ok" else f" {last.outcome}"
    return f"{'ok  ' if _has_answered(receipt) else 'FAIL'} {last.target}{outcome}{took}{note}"
