"""The options of ``llmfail batch``, their help and defaults. What they come to stands in ``batching``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmfail.cli.arguments.shared_options import (
    MaxTokens,
    Models,
    NoFallback,
    Params,
    Refresh,
    System,
    Temperature,
    Template,
    Timeout,
    User,
)
from llmfail.cli.run.run_ask import AskArgs
from llmfail.cli.run.run_batch import BatchArgs, run_batch
from llmfail.core.request.ask import DEFAULT_FEATURE
from llmfail.engine.bulk.batch import BatchLimits


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
        bool, typer.Option("--resume", help="Go on with FILE: no line that has a receipt is asked again.")
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
    feature: Annotated[
        str, typer.Option("-f", "--feature", metavar="NAME", help="What the answers are for.")
    ] = DEFAULT_FEATURE,
    model: Models = None,
    system: System = None,
    template: Template = None,
    param: Params = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema for the answers.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="WHAT", help="json, nonempty, complete or regex:RE; repeatable."),
    ] = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    timeout: Timeout = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="DURATION", help="How long one line may take.")
    ] = None,
    user: User = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use stored answers nor store these.")
    ] = False,
    refresh: Refresh = False,
    no_fallback: NoFallback = False,
    strict: Annotated[bool, typer.Option("--strict", help="Only a model's answer will do.")] = False,
) -> None:
    """Answer every line of a JSONL file, many at once.

    A line is a text, or an object such as {"prompt": "Say hello", "id": "greeting"} with any of feature,
    model, system, template, params, max_tokens, temperature, stop, schema, expect, timeout, deadline, wait,
    hedge, max_cost, user, strict, queue, stream, no_cache, refresh and no_fallback. What a line says comes
    before the options here. Ids are unique.

    Each line has a receipt, as `ask --json` prints it, as soon as it is answered or has failed; its "ref" is
    the line's id or its number. A line that is none has one too (error.kind "malformed_line").

    Ctrl-C finishes what is under way; once more stops at once. Either way, and after a kill, --resume goes
    on. FILE is never overwritten.

    Exits 0 when every line is answered, 3 when some are not, 130 after Ctrl-C.

    Examples:

      llmfail batch prompts.jsonl -o answers.jsonl

      llmfail batch prompts.jsonl -o answers.jsonl --resume --max-cost 5

      llmfail batch letters.jsonl -f pii_detection --concurrency 32 --rate 600 -o found.jsonl

      jq -c '{id, prompt: .text}' notes.jsonl | llmfail batch - -s "Summarise." | jq -r .answer
    """
    said = AskArgs(
        feature=feature,
        model=tuple(model or ()),
        system=system,
        template=template,
        param=tuple(param or ()),
        schema=None if schema is None else str(schema),
        expect=tuple(expect or ()),
        max_tokens=max_tokens,
        temperature=temperature,
        timeout=timeout,
        deadline=deadline,
        user=user,
        no_cache=no_cache,
        refresh=refresh,
        no_fallback=no_fallback,
        strict=strict,
    )
    typed = BatchArgs(
        source=source,
        output=output,
        limits=BatchLimits(concurrency, rate, not unordered),
        resume=resume or retry_failed,
        retry_failed=retry_failed,
        max_cost=max_cost,
        ask_args=said,
    )
    code = run_batch(ctx.obj, typed)
    if code:
        raise typer.Exit(code)
