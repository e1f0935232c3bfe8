"""``llmfail trip``: force a provider or target open."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import Annotated

import typer

from llmfail.cli.arguments.global_options import GlobalOptions, parse_seconds
from llmfail.cli.arguments.shell_completion import complete_providers_and_targets
from llmfail.cli.io.output import emit_json, say
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import UsageError
from llmfail.core.receipt import format_time

_CLOCK_PATTERN = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def command(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(help="A provider or a target.", autocompletion=complete_providers_and_targets)
    ],
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long: 90, 30m, 2h, 1d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Until when: 2026-12-01T08:00, 08:00.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was tripped as JSON.")] = False,
) -> None:
    """Force a provider or target open, so that nothing is sent to it. `llmfail reset` releases it.

    Examples:

      llmfail trip openai --for 30m

      llmfail trip anthropic/claude-sonnet-5-5 --until 08:00
    """
    if for_ is not None and until is not None:
        raise UsageError("say --for or --until, not both")
    options: GlobalOptions = ctx.obj
    wait = _seconds_until(until) if for_ is None else parse_seconds("--for", for_)
    with open_client(options) as client:
        forced_open = client.trip(name, wait)
    end = None if wait is None else round(time.time() + wait)
    if as_json:
        emit_json({"tripped": list(forced_open), "until": format_time(end)})
    shown = "you reset it" if end is None else f"{datetime.fromtimestamp(end).astimezone():%Y-%m-%d %H:%M:%S}"
    for target in forced_open:
        say(f"{target} is forced open until {shown}", quiet=options.quiet)


def _seconds_until(text: str | None) -> float | None:
    """Seconds until a moment; a time of day is the next one to come, a moment without a zone is local."""
    if text is None:
        return None
    now = datetime.now().astimezone()
    try:
        moment = (
            _find_next(text, now)
            if _CLOCK_PATTERN.fullmatch(text)
            else datetime.fromisoformat(text).astimezone()
        )
    except (ValueError, OverflowError):
        raise UsageError(f"--until takes a time such as 08:00 or 2026-12-01T08:00, got {text!r}") from None
    if moment <= now:
        raise UsageError(f"--until {text} has passed")
    return (moment - now).total_seconds()


def _find_next(text: str, now: datetime) -> datetime:
    """The next time that a clock on the wall here shows this."""
    clock = time_of_day.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.zfill(8))
    today = datetime.combine(now.date(), clock)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), clock)
    return next(moment for moment in (today.astimezone(), tomorrow.astimezone()) if moment > now)
