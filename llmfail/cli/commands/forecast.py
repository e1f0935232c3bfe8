"""``llmfail forecast``: the availability of the chains, by simulation. Asks nobody and records nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.output import emit_json, show_spinner
from llmfail.cli.run.forecast_setup import (
    parse_days,
    parse_rate,
    read_latencies,
    read_outages,
    require_bounded,
)
from llmfail.cli.run.open_client import open_catalogue, open_client

if TYPE_CHECKING:
    from llmfail.forecast.report import Forecast


def command(
    ctx: typer.Context,
    feature: Annotated[
        list[str] | None,
        typer.Option("-f", "--feature", metavar="NAME", help="Only this feature; repeatable."),
    ] = None,
    days: Annotated[
        str, typer.Option("--days", metavar="N", help="How long to play; 12h is half a day.")
    ] = "30",
    rate: Annotated[
        str, typer.Option("--rate", metavar="N/h", help="Asks of all features together: 1000/h, 5/s.")
    ] = "1000/h",
    outages: Annotated[
        str | None,
        typer.Option("--outages", metavar="FILE", help="YAML with outages; else as in the log."),
    ] = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Play other settings of the breaker, and recommend one.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed, the same figures.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the forecast as one line of JSON.")] = False,
) -> None:
    """Forecast availability, latency and cost: the real chains and circuits on a simulated clock.

    Outages are as frequent and as long as in the log, or as a file says. An entry of its list `outages` is
    drawn by chance, `{target: openai, availability: 0.99, mttr: 20m}`, or stands where it was,
    `{target: openai, from: 2026-11-01T10:00Z, until: 2026-11-01T11:00Z, kind: slow}`. A target is a
    provider, whose models go down together, or one target; a kind is down, hang, slow or rate_limited.

    Latencies are those of the last 24 hours, else 1 s (95 %: 3 s). Budgets, rate limits of your own and the
    cache take no part.

    Examples:

      llmfail forecast --outages outages.yaml

      llmfail forecast -f vpr --days 7 --rate 200/h --outages outages.yaml --sweep

      llmfail forecast --json | jq '.features.vpr.availability'
    """
    from llmfail.drill.runner import select_features
    from llmfail.forecast.outages import require_known_names
    from llmfail.forecast.report import make_forecast
    from llmfail.forecast.simulation import Simulation

    options: GlobalOptions = ctx.obj
    seconds, per_second = parse_days(days), parse_rate(rate)
    require_bounded(seconds, per_second)
    with open_client(options) as client:
        settings, plan = client.settings, read_outages(outages, client)
        features = select_features(settings, feature or ())
        chains = (settings.chain_of(one) for one in features)
        require_known_names(plan, [link.target for chain in chains for link in chain])
        simulation = Simulation(features, plan, seconds, per_second, seed, read_latencies(client))
        with show_spinner(f"simulating {seconds * per_second:,.0f} asks …", quiet=options.quiet):
            found = make_forecast(settings, open_catalogue(options), simulation, is_swept=sweep)
    if as_json:
        emit_json(
            {"days": seconds / 86400, "rate_per_hour": per_second * 3600, "seed": seed, **found.to_json()}
        )
    else:
        _show(found)


def _show(found: Forecast) -> None:
    from llmfail.cli.render.forecast_view import render
    from llmfail.cli.render.tables import open_console, print_drawing

    screen = open_console()
    print_drawing(screen, render(screen, found))
