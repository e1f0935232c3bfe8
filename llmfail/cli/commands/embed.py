"""``llmfail embed``: its help and its own options. Those of an ask stand in ``core/request/ask_options``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmfail.cli.arguments.ask_values import parse_dollars, read_options
from llmfail.cli.arguments.global_options import parse_path
from llmfail.cli.arguments.typer_options import with_ask_options
from llmfail.cli.run.batch_lines import BatchArgs
from llmfail.cli.run.open_client import with_whole_targets
from llmfail.cli.run.run_batch import run_batch
from llmfail.cli.run.run_embed import run_embed
from llmfail.core.errors import UsageError
from llmfail.engine.bulk.batch import BatchLimits

DEFAULT_CONCURRENCY = 4


@with_ask_options("embed")
def command(
    ctx: typer.Context,
    text: Annotated[
        str | None, typer.Argument(help="The text; '-' reads standard input.", show_default=False)
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="Texts as JSON lines; '-': of standard input."),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", metavar="N", min=1, max=256, help="So many calls of --input at once."),
    ] = DEFAULT_CONCURRENCY,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the FILE of -o: no text that its last receipt is about again."
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="The same, and texts that only failed are asked again.")
    ] = False,
    **typed: Any,  # noqa: ANN401 - of any kind
) -> None:
    """Turn texts into vectors, through the chain of a feature.

    One text is the argument, standard input when it is piped, or both; its vector is a JSON array on standard
    output, and with --json a receipt with `embedding` and `dimensions`.

    Many are the lines of --input, each a JSON string or an object with `text` (or `prompt`) and maybe `id`
    and options. They run as a `batch` does: with --json each gives a receipt whose `ref` is its id or number,
    without it an array, or null where there is none, in the order of the lines. Ctrl-C, --resume, FILE,
    --max-cost and the exit code are those of `batch`. Several texts go in one call, and what it cost is
    divided among them by their length.

    A text that the same target has embedded lately is not sent again and costs nothing (`source: cache`), and
    equal lines are sent once, unless --no-cache, --refresh or `cache: {enabled: false}` says otherwise.

    Vectors of two models do not mix: only the same model elsewhere is asked, and a fallback with other
    dimensions is refused, unless the feature says `allow_other_models: true`.

    Examples:

      llmfail embed "What is a circuit breaker?" -m openai/text-embedding-3-small

      llmfail embed -m openai/text-embedding-3-small <question.txt | jq length

      llmfail embed -m openai/text-embedding-3-small --input texts.jsonl --json -o vectors.jsonl

      jq -c '{id, text: .title}' books.jsonl | llmfail embed -m google/gemini-embedding-001 --input -
    """
    output, as_json = parse_path("--output", ctx.params["output"]), typed["as_json"]
    if lines is None:
        if resume or retry_failed:
            raise UsageError("--resume and --retry-failed go on with the lines of --input")
        ask_options = read_options(with_whole_targets(ctx.obj, ctx.params))
        code = run_embed(ctx.obj, text, ask_options, output, as_json=as_json)
    elif text is not None:
        raise UsageError("say a TEXT or --input, not both")
    else:
        # The limit is that of all lines together, and no option of each ask.
        limit = ctx.params["max_cost"]
        each = {name: value for name, value in ctx.params.items() if name != "max_cost"}
        code = run_batch(
            ctx.obj,
            BatchArgs(
                source=lines,
                output=output,
                limits=BatchLimits(concurrency, gapless=not as_json),
                resume=resume or retry_failed,
                retry_failed=retry_failed,
                max_cost=None if limit is None else parse_dollars("--max-cost", limit),
                ask_options=read_options(with_whole_targets(ctx.obj, each)),
                vectors=True,
                arrays=not as_json,
            ),
        )
    if code:
        raise typer.Exit(code)
