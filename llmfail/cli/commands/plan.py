"""``llmfail plan``: what ask would do now, and why. Nothing is sent, nothing is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.global_options import Globals
from llmfail.cli.arguments.prompt import prompt_of
from llmfail.cli.arguments.shared_options import (
    MaxTokens,
    Models,
    Prompt,
    System,
)
from llmfail.cli.io.output import emit_json
from llmfail.cli.run.open_client import client_of
from llmfail.core.request.ask import DEFAULT_FEATURE
from llmfail.core.routing.plan import Preview, Step

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def command(
    ctx: typer.Context,
    prompt: Prompt = None,
    feature: Annotated[
        str, typer.Option("-f", "--feature", metavar="NAME", help="What the answer would be for.")
    ] = DEFAULT_FEATURE,
    model: Models = None,
    system: System = None,
    max_tokens: MaxTokens = None,
    no_fallback: Annotated[bool, typer.Option("--no-fallback", help="The first target only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one line of JSON.")] = False,
) -> None:
    """Show what ask would do now, and why: whom it would call in which order, whom it would skip, what a call
    may cost. Nothing is sent, nothing is recorded.

    The prompt is that of ask: the argument, standard input when it is piped, or both. Without one, the costs
    are those of the answer. Exits 0 also when nobody would be asked; `llmfail status --check` has an
    exit code for that.

    Examples:

      llmfail plan

      llmfail plan -f vpr "Write my profile" --max-tokens 500

      git diff | llmfail plan -m openai/gpt-6.1-terra -m anthropic/claude-sonnet-5-5 --json
    """
    options: Globals = ctx.obj
    text = prompt_of(prompt, quiet=options.quiet)
    with client_of(options) as client:
        preview = client.plan(
            text or "",
            feature=feature,
            model=model or (),
            system=system,
            max_tokens=max_tokens,
            fallback=not no_fallback,
        )
    if as_json:
        emit_json(preview.to_json())
    else:
        _show(preview, prompted=text is not None)


def _show(preview: Preview, *, prompted: bool) -> None:
    from llmfail.cli.render.tables import console, sections, show

    screen = console()
    drawn = _drawn(screen, preview.steps)
    show(screen, sections(screen, [_summary(preview)], [drawn], _footnotes(preview, prompted=prompted)))


def _summary(preview: Preview) -> str:
    called = [step.target for step in preview.steps if step.decision == "call"]
    if not called:
        return f"{preview.feature}: nobody would be asked"
    more = f", {len(called) - 1} more behind it" if len(called) > 1 else ""
    if preview.cache == "hit":
        return f"{preview.feature}: a stored answer would do; else {called[0]} would be asked first{more}"
    return f"{preview.feature}: {called[0]} would be asked first{more}"


def _footnotes(preview: Preview, *, prompted: bool) -> list[str]:
    degrade = [f"when nobody answers: {', '.join(preview.degrade)}"] if preview.degrade else []
    return degrade if prompted else [*degrade, "without a prompt: the costs are those of the answer"]


def _drawn(screen: Console, steps: tuple[Step, ...]) -> Table:
    from llmfail.cli.render.tables import (
        Column,
        fitted,
        rough_usd,
        words,
    )

    decisions = [words(step.decision, "green" if step.decision == "call" else "yellow") for step in steps]
    columns = (
        Column("target", [words(step.target) for step in steps], name=True),
        Column("decision", decisions),
        Column("about", [rough_usd(step.estimated_cost) for step in steps], rank=3, right=True),
        Column("at most", [rough_usd(step.max_cost) for step in steps], rank=2, right=True),
        Column("why", [words(_why(step)) for step in steps], rank=1, wraps=True),
    )
    return fitted(screen, columns, [None if step.decision == "call" else "dim" for step in steps])


def _why(step: Step) -> str:
    return ": ".join(part for part in (step.reason, step.note) if part)
