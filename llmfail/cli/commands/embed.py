"""The options of ``llmfail embed``, their help and their defaults. What they come to: ``embedding``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmfail.cli.arguments.shared_options import (
    Models,
    NoFallback,
    Timeout,
    User,
    Wait,
)
from llmfail.cli.run.run_embed import DEFAULT_CONCURRENCY, EmbedArgs, run_embed
from llmfail.core.request.ask import DEFAULT_FEATURE


def command(
    ctx: typer.Context,
    text: Annotated[
        str | None, typer.Argument(help="The text; '-' reads standard input.", show_default=False)
    ] = None,
    feature: Annotated[
        str, typer.Option("-f", "--feature", metavar="NAME", help="What the vectors are for.")
    ] = DEFAULT_FEATURE,
    model: Models = None,
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
    timeout: Timeout = None,
    deadline: Annotated[
        str | None,
        typer.Option("--deadline", metavar="DURATION", help="The same for all attempts on one text."),
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", metavar="USD", help="Refuse a text that may cost more, all attempts."),
    ] = None,
    user: User = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print receipts, one line of JSON for each text.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the vectors there; '-': standard output."),
    ] = None,
    no_fallback: NoFallback = False,
    wait: Wait = None,
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

      llmfail embed -f search <question.txt | jq length

      llmfail embed -f search --input texts.jsonl --json -o vectors.jsonl

      jq -c '{id, text: .title}' books.jsonl | llmfail embed -f search --input - >vectors.jsonl
    """
    # The parameters above declare the options; what was typed is handed on as one.
    code = run_embed(ctx.obj, EmbedArgs(**ctx.params))
    if code:
        raise typer.Exit(code)
