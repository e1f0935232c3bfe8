"""``llmfail feedback``: what a user said of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.shell_completion import complete_log_ids
from llmfail.cli.io.output import say
from llmfail.cli.run.open_client import open_client

if TYPE_CHECKING:
    from llmfail.cli.arguments.global_options import GlobalOptions


def command(
    ctx: typer.Context,
    id_: Annotated[
        str,
        typer.Argument(metavar="ID", help="The id of its receipt.", autocompletion=complete_log_ids),
    ],
    score: Annotated[
        str, typer.Argument(metavar="good|bad|SCORE", help="How good it was; a number from 0 to 1.")
    ],
) -> None:
    """Say how good an answer was. It is kept under the id of the receipt (`ask --json`, `log`), is shown by
    `log`, and counts for the arm of an experiment. What is said again replaces what was said before.

    The last 65,000 asks of experiments are known, and all that are in the log.

    Examples:

      llmfail feedback 01KAB7Z3QXJ5R8T2M4N6P8Q0S2 good

      llmfail feedback 01KAB7Z3QX 0.7
    """
    options: GlobalOptions = ctx.obj
    with open_client(options) as client:
        kept = client.feedback(id_.strip().upper(), score)
    arm = "" if kept.experiment is None else f", for {kept.arm} in experiment {kept.experiment}"
    say(f"{kept.score:g} for {kept.id}{arm}", quiet=options.quiet)
