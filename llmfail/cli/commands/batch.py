"""``llmfail batch``: its help and its own options. Those of an ask stand in ``core/request/ask_options``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmfail.cli.arguments.ask_values import parse_dollars, read_options
from llmfail.cli.arguments.typer_options import with_ask_options
from llmfail.cli.run.batch_lines import BatchArgs
from llmfail.cli.run.open_client import with_whole_targets
from llmfail.cli.run.run_batch import run_batch
from llmfail.core.request.ask_options import LINE_OPTIONS
from llmfail.engine.bulk.batch import BatchLimits


@with_ask_options("batch")
def command(
    ctx: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="INPUT.jsonl", help="The lines; '-' reads standard input.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where the receipts go; '-': standard output."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, max=1000, help="So many at once.")
    ] = BatchLimits().concurrency,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.001, help="Start so many lines a minute.")
    ] = None,
    unordered: Annotated[
        bool, typer.Option("--unordered", help="Receipts as they come, not in the order of the input.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with FILE: no line that its last receipt is about is asked again."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="The same, and lines that only failed are asked again.")
    ] = False,
    max_cost: Annotated[
        str | None,
        typer.Option(
            "--max-cost", metavar="USD", help="Refuse lines beyond it; counts what FILE says was spent."
        ),
    ] = None,
    **_typed: Any,  # noqa: ANN401 - of any kind
) -> None:
    """Answer every line of a JSONL file, many at once.

    A line is a text, or an object such as {"prompt": "Say hello", "id": "greeting"} with any of LINE_OPTIONS.
    What a line says comes before the options here. Ids are unique.

    Each line has a receipt, as `ask --json` prints it, as soon as it is answered or has failed; its "ref" is
    the line's id or its number. A line that is none has one too (error.kind "malformed_line").

    Ctrl-C finishes what is under way; once more stops at once. Either way, and after a kill, --resume goes
    on: a line that is not what its receipt was about is asked again. FILE is never overwritten, receipts are
    added to it, and the last one of a ref counts.

    Exits 0 when every line is answered, 3 when some are not, 130 after Ctrl-C.

    Examples:

      llmfail batch prompts.jsonl -o answers.jsonl

      llmfail batch prompts.jsonl -o answers.jsonl --resume --max-cost 5

      llmfail batch letters.jsonl -f pii_detection --concurrency 32 --rate 600 -o found.jsonl

      jq -c '{id, prompt: .text}' notes.jsonl | llmfail batch - -s "Summarise." | jq -r .answer

      jq -s 'INDEX(.ref)[]' answers.jsonl     # the last receipt of each ref
    """
    # The limit here is that of the whole batch, and no option of each ask.
    each = {name: value for name, value in ctx.params.items() if name != "max_cost"}
    args = BatchArgs(
        source=source,
        output=output,
        limits=BatchLimits(concurrency, rate, not unordered),
        resume=resume or retry_failed,
        retry_failed=retry_failed,
        max_cost=None if max_cost is None else parse_dollars("--max-cost", max_cost),
        ask_options=read_options(with_whole_targets(ctx.obj, each)),
    )
    code = run_batch(ctx.obj, args)
    if code:
        raise typer.Exit(code)


command.__doc__ = (command.__doc__ or "").replace(
    "LINE_OPTIONS", ", ".join(option.name for option in LINE_OPTIONS)
)
