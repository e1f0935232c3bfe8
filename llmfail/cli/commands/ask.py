"""``llmfail ask``: its help. Its options stand in ``core/request/ask_options.py``."""

from __future__ import annotations

from typing import Any

import typer

from llmfail.cli.arguments.typer_options import Prompt, with_ask_options
from llmfail.cli.run.run_ask import run_ask


@with_ask_options("ask")
def command(ctx: typer.Context, prompt: Prompt = None, **_typed: Any) -> None:  # noqa: ANN401 - of any kind
    """Answer one prompt through the fallback chain of a feature.

    The prompt is the argument, standard input when it is piped, or both. Standard output carries the answer
    and nothing else.

    Examples:

      llmfail ask "Say hello"

      git diff | llmfail ask "Write a commit message"

      llmfail ask "Say hello" --drill anthropic=503,openai=hangx2 --json

      llmfail ask -f pii_detection --expect json <letter.txt

      llmfail ask -t vpr_prompt -p cv="$(cat cv.txt)" -p job=baker
    """
    code = run_ask(ctx.obj, ctx.params)
    if code:
        raise typer.Exit(code)
