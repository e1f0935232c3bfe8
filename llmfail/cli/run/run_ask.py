"""An ask as it was typed: options to an Ask, a receipt to standard output and standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from llmfail.cli.arguments.global_options import Globals, path_from, seconds_from
from llmfail.cli.arguments.prompt import prompt_of, text_of
from llmfail.cli.io.files import (
    MEBI,
    STANDARD_OUTPUT,
    bytes_of,
    destination,
)
from llmfail.cli.io.live_answer import Screen
from llmfail.cli.io.output import (
    Spinner,
    Still,
    say,
    spinner,
)
from llmfail.cli.run.open_client import client_of, settings_of
from llmfail.client.options import MOST_USD, Options, ask_of
from llmfail.core.errors import AskError, UsageError
from llmfail.core.model import Attachment
from llmfail.core.receipt import DEGRADED, Entry, Receipt, line_of, usd
from llmfail.core.request.ask import DEFAULT_FEATURE, Ask

if TYPE_CHECKING:
    from llmfail.client.blocking import Client

LARGEST_ATTACHMENT = 20 * MEBI
"""Bytes; the providers take no larger requests."""
HOTTEST = 2.0
"""As in the configuration."""
IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


class Said(Struct, frozen=True, kw_only=True):
    """The options of an ask, with the names and defaults that its command has; files by their names."""

    prompt: str | None = None
    feature: str = DEFAULT_FEATURE
    model: tuple[str, ...] = ()
    system: str | None = None
    template: str | None = None
    param: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    schema: str | None = None
    expect: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    timeout: str | None = None
    deadline: str | None = None
    max_cost: str | None = None
    user: str | None = None
    as_json: bool = False
    output: str | None = None
    no_cache: bool = False
    refresh: bool = False
    no_fallback: bool = False
    strict: bool = False
    wait: str | None = None
    queue: bool = False
    stream: bool | None = None
    hedge: str | None = None
    drill: str | None = None


def answered(options: Globals, said: Said) -> int:
    """Ask, tell, and the exit code. Raises UsageError."""
    question = _question(said, quiet=options.quiet)
    place = path_from("--output", said.output)
    with destination(place) as write:
        if _is_watched(said, place):
            receipt = _shown(options, question, said.drill)
            report(options, receipt)
        else:
            receipt = _receipt(options, question, said.drill)
            report(options, receipt)
            if said.as_json:
                write(line_of(receipt))
            elif receipt.answer is not None:
                write(receipt.answer)
    return receipt.exit_code


def _question(said: Said, *, quiet: bool) -> Ask:
    return ask_of(prompt_of(said.prompt, quiet=quiet) or "", **options_of(said))


def options_of(said: Said) -> Options:
    """Everything but the prompt. Reads the files that are named. Raises UsageError."""
    return Options(
        feature=said.feature,
        model=said.model,
        attachments=[_attachment(Path(name)) for name in said.attach],
        system=None if said.system is None else text_of("--system", said.system),
        schema=_schema(said.schema),
        template=said.template,
        parameters=_parameters(said.param),
        expect=[text_of("--expect", text) for text in said.expect],
        max_tokens=said.max_tokens,
        temperature=_temperature(said.temperature),
        stop=tuple(text_of("--stop", text) for text in said.stop),
        timeout=seconds_from("--timeout", said.timeout),
        deadline=seconds_from("--deadline", said.deadline),
        fallback=not said.no_fallback,
        max_cost=dollars_from(said.max_cost),
        user=None if said.user is None else text_of("--user", said.user),
        cache=_cache(no_cache=said.no_cache, refresh=said.refresh),
        strict=said.strict,
        wait=seconds_from("--wait", said.wait, zero=True) or 0.0,
        queue=said.queue,
        stream=said.stream is True,
        hedge=hedge_from(said.hedge),
    )


def _schema(name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    from llmfail.settings.reading.schema_files import schema_of

    return schema_of(Path(name), bytes_of)


def _parameters(written: Sequence[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for one in written:
        name, equals, value = text_of("--param", one).partition("=")
        if not equals or not name:
            raise UsageError(f"--param is written NAME=VALUE, got {one!r}")
        if name in parameters:
            raise UsageError(f"--param {name} is given twice")
        parameters[name] = value
    return parameters


def _cache(*, no_cache: bool, refresh: bool) -> Literal["use", "refresh", "off"]:
    if no_cache and refresh:
        raise UsageError("--no-cache stores nothing and --refresh stores a new answer; say one of them")
    return "off" if no_cache else "refresh" if refresh else "use"


def _attachment(path: Path) -> Attachment:
    name = text_of("the name of an attachment", path.name)
    data = bytes_of(path, LARGEST_ATTACHMENT)
    return Attachment(name, IMAGES.get(path.suffix.lower(), "text/plain"), data)


def _temperature(value: float | None) -> float | None:
    if value is None or 0 <= value <= HOTTEST:
        return value
    raise UsageError(f"--temperature is a number from 0 to {HOTTEST:g}, got {value:g}")


def dollars_from(text: str | None) -> Decimal | None:
    """What ``--max-cost`` says. Raises UsageError."""
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if amount.is_finite() and 0 <= amount <= MOST_USD:
        return amount
    raise UsageError(f"--max-cost is an amount of 0 to {MOST_USD:,} US dollars such as 0.05, got {text!r}")


def hedge_from(text: str | None) -> float | Literal["p95"] | None:
    """What ``--hedge`` says. Raises UsageError."""
    try:
        return "p95" if text == "p95" else seconds_from("--hedge", text)
    except UsageError as error:
        raise UsageError(f"{error}; or p95") from None


def _is_watched(said: Said, place: Path | None) -> bool:
    """Whether somebody sees the answer as it comes."""
    piped = said.as_json or (place is not None and place != STANDARD_OUTPUT) or not sys.stdout.isatty()
    return said.stream is not False and not piped


def _receipt(options: Globals, question: Ask, drill: str | None) -> Receipt:
    with _client(options, drill) as (client, _):
        return client.receipt(question)


def _shown(options: Globals, question: Ask, drill: str | None) -> Receipt:
    """Its answer is on the terminal by then, or what there was of it."""
    screen = Screen()
    try:
        with (
            _client(options, drill) as (client, spinning),
            client.answering(question) as answering,
            suppress(AskError),
        ):
            for piece in answering:
                spinning.stop()
                screen.show(piece)
    except BaseException:
        screen.leave()
        raise
    screen.end()
    assert answering.receipt is not None, "the loop is over"
    return answering.receipt


@contextmanager
def _client(options: Globals, drill: str | None) -> Iterator[tuple[Client, Spinner | Still]]:
    if drill is None:
        with (
            spinner("asking …", quiet=options.quiet) as spinning,
            client_of(options, spinning.pause) as client,
        ):
            yield client, spinning
        return
    from llmfail.drill import rehearsal

    with (
        rehearsal(settings_of(options), drill) as stage,
        spinner("asking the simulator …", quiet=options.quiet) as spinning,
    ):
        yield stage.client, spinning


def report(options: Globals, receipt: Receipt) -> None:
    """Who failed, who answered, what to know. A primary that answers is worth a line only to a person."""
    if receipt.error is not None:
        say(receipt.error.message)
    else:
        _tell(options, receipt)
    for warning in receipt.warnings:
        say(f"warning: {warning}", quiet=options.quiet)


def _tell(options: Globals, receipt: Receipt) -> None:
    curious = options.verbose > 0 or (sys.stderr is not None and sys.stderr.isatty())
    if curious or receipt.tier != 0:
        for entry in receipt.trail:
            if entry.outcome != "ok":
                say(_line(entry), quiet=options.quiet)
        say(_answered(receipt), quiet=options.quiet)


def _line(entry: Entry) -> str:
    verb = "failed" if entry.action == "called" else "skipped"
    status = f" {entry.status}" if entry.status else ""
    note = f": {entry.note}" if entry.note else ""
    return f"{entry.target} {verb} ({entry.outcome}{status}){note}"


def _answered(receipt: Receipt) -> str:
    cost = usd(receipt.cost)
    spent = "cost unknown" if cost is None else f"${cost}"
    return f"{_who(receipt)} (tier {receipt.tier}, {receipt.latency_ms} ms, {spent})"


def _who(receipt: Receipt) -> str:
    match receipt.source:
        case "model" if receipt.tier == DEGRADED:
            return f"{receipt.target} answered a simplified prompt"
        case "model":
            return f"{receipt.target} answered"
        case "cache":
            return f"{receipt.target} answered this before"
        case "stale_cache":
            return f"no model answered; this is what {receipt.target} said before"
        case source:
            return f"no model answered; this is the feature's {source}"
