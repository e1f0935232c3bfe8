"""``llmfail embed``: its help and its own options. Those of an ask stand in ``core/request/ask_options``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llmfail.cli.arguments.ask_values import read_options
from llmfail.cli.arguments.global_options import parse_path
from llmfail.cli.arguments.typer_options import with_ask_options
from llmfail.cli.run.run_embed import DEFAULT_CONCURRENCY, EmbedArgs, run_embed


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
    at_once: Annotated[
        int,
        typer.Option(
            "--concurrency", metavar="N", min=1, max=256, help="How many texts of --input are out at once."
        ),
    ] = DEFAULT_CONCURRENCY,
    **typed: Any,  # noqa: ANN401 - of any kind
) -> None:
    """Turn texts into vectors, through the chain of a feature.

    One text is the argument, standard input when it is piped, or both; its vector is a JSON array on standard
    output, and with --json a receipt with `embedding` and `dimensions`.

    Many are the lines of --input, each a JSON string or an object with `text` (or `prompt`) and maybe `id`.
    Each gives one line, in the same order: a receipt whose `ref` is the id or the number of the line, or
    without --json an array. A line that is malformed or cannot be answered gives a receipt with an error, or
    null, and the others go on; then the exit code is 3. Empty lines are skipped. Each text is a request of
    its own, so that each receipt says what that text cost.

    Vectors of two models do not mix: only the same model elsewhere is asked, and a fallback with other
    dimensions is refused, unless the feature says `allow_other_models: true`.

    Examples:

      llmfail embed "What is a circuit breaker?" -m openai/text-embedding-3-small

      llmfail embed -m openai/text-embedding-3-small <question.txt | jq length

      llmfail embed -m openai/text-embedding-3-small --input texts.jsonl --json -o vectors.jsonl

      jq -c '{id, text: .title}' books.jsonl | llmfail embed -m google/gemini-embedding-001 --input -
    """
    args = EmbedArgs(
        text,
        lines,
        at_once,
        parse_path("--output", ctx.params["output"]),
        typed["as_json"],
        read_options(ctx.params),
    )
    code = run_embed(ctx.obj, args)
    if code:
        raise typer.Exit(code)
