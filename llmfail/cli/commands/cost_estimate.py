"""``llmfail cost-estimate``: what features cost per request and per month. Only --exact sends anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.prompt import read_prompt
from llmfail.cli.arguments.shell_completion import complete_estimate_scenarios, complete_features
from llmfail.cli.io.output import emit_json, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.reports.scenario import EstimateRequest

if TYPE_CHECKING:
    from llmfail.core.reports.cost_estimate import Estimate


def command(
    ctx: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(help="Count this prompt's tokens; '-' reads standard input.", show_default=False),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--feature",
            metavar="NAME",
            help="Only this feature; repeatable.",
            autocompletion=complete_features,
        ),
    ] = None,
    input_tokens: Annotated[
        int | None,
        typer.Option(
            "--input-tokens", metavar="N", min=0, help="Of one request; else 2000, or the prompt's."
        ),
    ] = None,
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", metavar="N", min=0, help="Of one answer.")
    ] = 1000,
    requests: Annotated[
        int, typer.Option("--requests", metavar="N", min=1, help="A month, over all features shown.")
    ] = 10_000,
    scenarios: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario",
            metavar="NAME",
            autocompletion=complete_estimate_scenarios,
            help="all-primary, fallback:50%, aggressive, budget, outage:PROVIDER, actual; repeatable.",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Let the providers count the prompt; that costs nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as one line of JSON.")] = False,
) -> None:
    """Show what features cost per request, per 1,000 requests and per month, on every target and scenario.

    Prices are those of the configuration, else of the catalogue; what rests on an unknown price is unknown. A
    prompt counts with the feature's system prompt, as each target has counted so far. A month's requests are
    split evenly over the features shown.

    all-primary: everything on the primaries. fallback:50%: that share on the first fallbacks. aggressive:
    each feature on its cheapest target. budget: everything on the cheapest target of the configuration.
    outage:PROVIDER: each feature on its first target elsewhere. actual: as in the last 30 days, with their
    tokens, features and fallbacks.

    Examples:

      llmfail cost-estimate

      llmfail cost-estimate -f vpr --input-tokens 8000 --output-tokens 2000 --requests 300

      llmfail cost-estimate --scenario outage:anthropic --json

      llmfail cost-estimate --scenario actual --requests 50000

      llmfail cost-estimate -f vpr --exact - < prompt.txt
    """
    options: GlobalOptions = ctx.obj
    text = None if input_tokens is not None and prompt is None else read_prompt(prompt, quiet=options.quiet)
    wanted = EstimateRequest(
        features=feature or (),
        prompt=text,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        requests=requests,
        scenarios=scenarios or (),
        exact=exact,
    )
    with open_client(options) as client:
        result = client.estimate(wanted)
    for warning in result.warnings:
        say(warning, quiet=options.quiet)
    if as_json:
        emit_json(result.to_json())
    else:
        _show(result)


def _show(result: Estimate) -> None:
    from llmfail.cli.render.estimate_view import render
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, render(screen, result))
