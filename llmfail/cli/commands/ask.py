"""The options of ``llmfail ask``, their help and their defaults. What they come to stands in ``asking``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmfail.cli.arguments.shared_options import (
    MaxTokens,
    Models,
    NoFallback,
    Params,
    Prompt,
    Refresh,
    System,
    Temperature,
    Template,
    Timeout,
    User,
    Wait,
)
from llmfail.cli.run.run_ask import AskArgs, run_ask
from llmfail.core.request.ask import DEFAULT_FEATURE


def command(
    ctx: typer.Context,
    prompt: Prompt = None,
    feature: Annotated[
        str, typer.Option("-f", "--feature", metavar="NAME", help="What the answer is for.")
    ] = DEFAULT_FEATURE,
    model: Models = None,
    system: System = None,
    template: Template = None,
    param: Params = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("-a", "--attach", metavar="FILE", help="An image or a text file; repeatable."),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema for the answer.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            metavar="WHAT",
            help="json, nonempty, complete or regex:RE: another answer is none; repeatable.",
        ),
    ] = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="S", help="End the answer before this text; repeatable."),
    ] = None,
    timeout: Timeout = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="DURATION", help="The same for everything together.")
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", metavar="USD", help="Refuse what may cost more, all attempts together."),
    ] = None,
    user: User = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as one line of JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the answer there; '-': standard output."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use a stored answer nor store this one.")
    ] = False,
    refresh: Refresh = False,
    no_fallback: NoFallback = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse degraded answers.")] = False,
    wait: Wait = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="When nothing can answer, keep the request for `queue run`.")
    ] = False,
    hedge: Annotated[
        str | None,
        typer.Option(
            "--hedge", metavar="DURATION", help="Ask the next target too when the answer is so late; or p95."
        ),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Ask for a stream, which a terminal shows as it comes; by default, on a terminal.",
            show_default=False,
        ),
    ] = None,
    drill: Annotated[
        str | None,
        typer.Option("--drill", metavar="FAULTS", help="Ask a simulator with faults, such as anthropic=503."),
    ] = None,
) -> None:
    """Answer one prompt through the fallback chain of a feature.

    The prompt is the argument, standard input when it is piped, or both. Standard output carries the answer
    and nothing else.

    Examples:

      llmfail ask "Say hello"

      git diff | llmfail ask "Write a commit message" -f cover_letter

      llmfail ask "Say hello" --drill anthropic=503,openai=hangx2 --json

      llmfail ask -f pii_detection --schema pii.json <letter.txt

      llmfail ask -t vpr_prompt -p cv="$(cat cv.txt)" -p job=baker
    """
    # The parameters above declare the options; what was typed is handed on as one, as ``swift`` does it too.
    code = run_ask(ctx.obj, AskArgs(**ctx.params))
    if code:
        raise typer.Exit(code)
