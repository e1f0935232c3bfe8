"""``llmfail trip``: hold a provider or target open."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Annotated

import typer

from llmfail.cli.client import client_of
from llmfail.cli.options import Globals
from llmfail.cli.output import emit_json, say
from llmfail.core.errors import UsageError
from llmfail.core.receipt import iso

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A provider or a target.")],
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long: 90, 30m, 2h, 1d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Until when: 2026-12-01T08:00, 08:00.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was tripped as JSON.")] = False,
) -> None:
    """Hold a provider or target open, so that nothing is sent to it. `llmfail reset` releases it.

    Examples:

      llmfail trip openai --for 30m

      llmfail trip anthropic/claude-sonnet-5-5 --until 08:00
    """
    if for_ is not None and until is not None:
        raise UsageError("say --for or --until, not both")
    options: Globals = ctx.obj
    wait = _duration(for_) if for_ is not None else _wait_until(until)
    with client_of(options) as client:
        held = client.trip(name, wait)
    end = iso(None if wait is None else time.time() + wait)
    if as_json:
        emit_json({"tripped": list(map(str, held)), "until": end})
    for target in held:
        say(f"{target} is held open until {end or 'you reset it'}", quiet=options.quiet)


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if seconds > 0:
        return seconds
    raise UsageError(f"--for takes a duration such as 90, 30m, 2h or 1d, got {text!r}")


def _wait_until(text: str | None) -> float | None:
    """Seconds until a moment; a time of day is the next one to come, a moment without a zone is local."""
    if text is None:
        return None
    now = datetime.now().astimezone()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            clock = datetime.strptime(text, "%H:%M:%S" if text.count(":") == 2 else "%H:%M")  # noqa: DTZ007
            moment = now.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0)
            return (moment - now).total_seconds() % 86400
        moment = datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise UsageError(f"--until takes a time such as 08:00 or 2026-12-01T08:00, got {text!r}") from None
    if moment <= now:
        raise UsageError(f"--until {text} has passed")
    return (moment - now).total_seconds()
