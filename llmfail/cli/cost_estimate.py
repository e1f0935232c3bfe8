"""``llmfail cost-estimate``: what features cost by the configured prices. Asks nobody, reads no history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from llmfail.cli.client import settings_of
from llmfail.cli.options import Globals
from llmfail.cli.output import emit_json
from llmfail.cli.prompt import prompt_of
from llmfail.core.errors import UsageError
from llmfail.core.estimate import USUAL, Estimate, Line, chain, month, offer, scenario
from llmfail.core.plan import Candidate, order_of
from llmfail.core.tokens import estimate
from llmfail.engine.route import Routes
from llmfail.settings.settings import Settings
from llmfail.settings.types import Feature

INPUT_TOKENS = 2000


def command(
    ctx: typer.Context,
    prompt: Annotated[
        str | None,
        typer.Argument(help="Count this prompt's tokens; '-' reads standard input.", show_default=False),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("-f", "--feature", metavar="NAME", help="Only this feature; repeatable."),
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
            help="all-primary, fallback:50%, aggressive, budget, outage:PROVIDER.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as one line of JSON.")] = False,
) -> None:
    """Show what features cost per request, per 1,000 requests and per month, on every target and scenario.

    Prices are those of the configuration; what rests on an unknown price is unknown. A month's requests are
    split evenly over the features shown. all-primary: everything on the primaries. fallback:50%: that
    share on the first fallbacks. aggressive: each feature on its cheapest target. budget: everything on the
    cheapest target of the configuration. outage:PROVIDER: each feature on its first target elsewhere.

    Examples:

      llmfail cost-estimate

      llmfail cost-estimate -f vpr --input-tokens 8000 --output-tokens 2000 --requests 300

      llmfail cost-estimate --scenario outage:anthropic --json

      llmfail cost-estimate - < prompt.txt
    """
    options: Globals = ctx.obj
    text = None if input_tokens is not None and prompt is None else prompt_of(prompt, quiet=options.quiet)
    if text is not None and input_tokens is not None:
        raise UsageError("say a prompt or --input-tokens, not both")
    settings = settings_of(options)
    routes = Routes(settings)
    lines = [
        _line(settings, routes, each, text, input_tokens, output_tokens)
        for each in _features(settings, feature or ())
    ]
    wanted = [scenario(name, tuple(settings.providers)) for name in scenarios or _usual(settings, lines)]
    pool = {target: routes[target].price for target in settings.targets()}
    result = Estimate(tuple(lines), tuple(month(each, lines, pool, requests) for each in wanted))
    if as_json:
        emit_json(result.to_json())
    else:
        _show(result)


def _features(settings: Settings, names: Sequence[str]) -> tuple[Feature, ...]:
    """Those that were named, each once, in their order; else all."""
    found = {feature.name: feature for feature in map(settings.feature, names)}
    return tuple(found.values() or settings.features.values())


def _line(
    settings: Settings,
    routes: Routes,
    feature: Feature,
    prompt: str | None,
    input_tokens: int | None,
    output_tokens: int,
) -> Line:
    """A feature with its chain; a prompt comes with the feature's system prompt."""
    if prompt is not None:
        input_tokens = estimate(feature.system or "") + estimate(prompt)
    tokens = (INPUT_TOKENS if input_tokens is None else input_tokens, output_tokens)
    chained = _chained(settings, routes, feature)
    if not chained:
        raise UsageError(
            f"feature {feature.name} has no target: give it a primary, or models with room for it"
        )
    return Line(feature.name, *tokens, tuple(offer(each.target, each.price, *tokens) for each in chained))


def _chained(settings: Settings, routes: Routes, feature: Feature) -> tuple[Candidate, ...]:
    """The chain as it is tried; without a list, everything that is usable, or would be with a key."""
    if feature.primary is not None:
        return chain(routes.chain(feature), feature.order or "listed")
    room = settings.resolved(feature).max_tokens
    roomy = [one for one in routes.chain(feature) if one.max_output is None or one.max_output >= room]
    ready = [one for one in roomy if one.missing_key is None]
    return chain(ready or roomy, feature.order or order_of(feature.priority))


def _usual(settings: Settings, lines: Sequence[Line]) -> tuple[str, ...]:
    """The usual scenarios, and the outage of each provider that a primary is at."""
    primaries = {line.primary.target.provider for line in lines}
    return (*USUAL, *(f"outage:{name}" for name in settings.providers if name in primaries))


def _show(result: Estimate) -> None:
    from llmfail.cli.costs import drawn  # noqa: PLC0415 - start-up
    from llmfail.cli.tables import console, show  # noqa: PLC0415 - start-up

    screen = console()
    show(screen, drawn(screen, result))
