"""``llmfail plan``: what ask would do now, and why. Nothing is sent, nothing is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmfail.cli.arguments.ask_values import read_options
from llmfail.cli.arguments.conversation_file import read_conversation, with_system_file
from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.typer_options import Prompt, with_ask_options
from llmfail.cli.io.output import emit_json
from llmfail.cli.run.open_client import open_client, with_whole_targets
from llmfail.core.routing.plan import Plan, PlanStep

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


@with_ask_options("plan")
def command(
    ctx: typer.Context,
    prompt: Prompt = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one line of JSON.")] = False,
    **_typed: Any,  # noqa: ANN401 - of any kind
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
    options: GlobalOptions = ctx.obj
    typed = with_whole_targets(options, with_system_file(ctx.params))
    asked = read_conversation({**typed, "prompt": prompt}, quiet=options.quiet)
    with open_client(options) as client:
        preview = client.plan(asked, **read_options(typed))
    if as_json:
        emit_json(preview.to_json())
    else:
        _show(preview, prompted=bool(asked))


def _show(preview: Plan, *, prompted: bool) -> None:
    from llmfail.cli.render.tables import open_console, print_drawing, stack_sections

    screen = open_console()
    drawn = _render_steps(screen, preview.steps)
    print_drawing(
        screen,
        stack_sections(screen, [_summarize(preview)], [drawn], _list_footnotes(preview, prompted=prompted)),
    )


def _summarize(preview: Plan) -> str:
    called = [step.target for step in preview.steps if step.decision == "call"]
    if not called:
        return f"{preview.feature}: nobody would be asked"
    more = f", {len(called) - 1} more behind it" if len(called) > 1 else ""
    if preview.cache == "hit":
        return f"{preview.feature}: a stored answer would do; else {called[0]} would be asked first{more}"
    return f"{preview.feature}: {called[0]} would be asked first{more}"


def _list_footnotes(preview: Plan, *, prompted: bool) -> list[str]:
    notes = [f"when nobody answers: {', '.join(preview.degrade)}"] if preview.degrade else []
    if preview.arm is not None:
        whose = "" if preview.arm.is_sticky else " of this ask, and the next may have another"
        notes.append(f"experiment {preview.arm.experiment}: the arm is {preview.arm.target}{whose}")
    return notes if prompted else [*notes, "without a prompt: the costs are those of the answer"]


def _render_steps(screen: Console, steps: tuple[PlanStep, ...]) -> RenderableType:
    from llmfail.cli.render.tables import Column, cell, draw_rows
    from llmfail.core.reports.figures import rough_usd_column

    decisions = [cell(step.decision, "green" if step.decision == "call" else "yellow") for step in steps]
    columns = (
        Column("target", [cell(step.target) for step in steps]),
        Column("decision", decisions),
        Column("about", rough_usd_column([step.estimated_cost for step in steps]), right=True),
        Column("at most", rough_usd_column([step.max_cost for step in steps]), right=True),
        Column("why", [cell(_describe_reason(step)) for step in steps], folds=True),
    )
    return draw_rows(screen, columns, [None if step.decision == "call" else "dim" for step in steps])


def _describe_reason(step: PlanStep) -> str:
    reason = "paused" if step.open_reason == "pause" else step.reason
    return ": ".join(part for part in (reason, step.note) if part)
