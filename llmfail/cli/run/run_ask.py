"""An ask as it was typed: options to an Ask, a receipt to standard output and standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from llmfail.cli.arguments.global_options import GlobalOptions, parse_path, parse_seconds
from llmfail.cli.arguments.prompt import read_prompt, require_utf8
from llmfail.cli.io.files import (
    MEBIBYTE,
    STANDARD_OUTPUT,
    open_text_writer,
    read_bytes,
)
from llmfail.cli.io.live_answer import TerminalAnswer
from llmfail.cli.io.output import (
    NoSpinner,
    Spinner,
    say,
    show_spinner,
)
from llmfail.cli.run.open_client import load_settings, open_client
from llmfail.client.options import MAX_COST_USD, Options, ask_of
from llmfail.core.errors import AskError, UsageError
from llmfail.core.model import Attachment
from llmfail.core.receipt import DEGRADED_TIER, Receipt, TrailEntry, format_usd, to_json_line
from llmfail.core.request.ask import DEFAULT_FEATURE, Ask

if TYPE_CHECKING:
    from llmfail.client.blocking import Client

MAX_ATTACHMENT_BYTES = 20 * MEBIBYTE
"""Bytes; the providers take no larger requests."""
MAX_TEMPERATURE = 2.0
"""As in the configuration."""
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


class AskArgs(Struct, frozen=True, kw_only=True):
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


def run_ask(options: GlobalOptions, args: AskArgs) -> int:
    """Ask, tell, and the exit code. Raises UsageError."""
    question = _build_ask(args, quiet=options.quiet)
    place = parse_path("--output", args.output)
    with open_text_writer(place) as write:
        if _is_shown_live(args, place):
            receipt = _stream_to_terminal(options, question, args.drill)
            report_receipt(options, receipt)
        else:
            receipt = _fetch_receipt(options, question, args.drill)
            report_receipt(options, receipt)
            if args.as_json:
                write(to_json_line(receipt))
            elif receipt.answer is not None:
                write(receipt.answer)
    return receipt.exit_code


def _build_ask(args: AskArgs, *, quiet: bool) -> Ask:
    return ask_of(read_prompt(args.prompt, quiet=quiet) or "", **read_options(args))


def read_options(args: AskArgs) -> Options:
    """Everything but the prompt. Reads the files that are named. Raises UsageError."""
    return Options(
        feature=args.feature,
        model=args.model,
        attachments=[_read_attachment(Path(name)) for name in args.attach],
        system=None if args.system is None else require_utf8("--system", args.system),
        schema=_read_schema(args.schema),
        template=args.template,
        parameters=_parse_parameters(args.param),
        expect=[require_utf8("--expect", text) for text in args.expect],
        max_tokens=args.max_tokens,
        temperature=_check_temperature(args.temperature),
        stop=tuple(require_utf8("--stop", text) for text in args.stop),
        timeout=parse_seconds("--timeout", args.timeout),
        deadline=parse_seconds("--deadline", args.deadline),
        fallback=not args.no_fallback,
        max_cost=parse_dollars(args.max_cost),
        user=None if args.user is None else require_utf8("--user", args.user),
        cache=_choose_cache_mode(no_cache=args.no_cache, refresh=args.refresh),
        strict=args.strict,
        wait=parse_seconds("--wait", args.wait, allow_zero=True) or 0.0,
        queue=args.queue,
        stream=args.stream is True,
        hedge=parse_hedge(args.hedge),
    )


def _read_schema(name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    from llmfail.settings.reading.schema_files import load_schema

    return load_schema(Path(name), read_bytes)


def _parse_parameters(written: Sequence[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for one in written:
        name, equals, value = require_utf8("--param", one).partition("=")
        if not equals or not name:
            raise UsageError(f"--param is written NAME=VALUE, got {one!r}")
        if name in parameters:
            raise UsageError(f"--param {name} is given twice")
        parameters[name] = value
    return parameters


def _choose_cache_mode(*, no_cache: bool, refresh: bool) -> Literal["use", "refresh", "off"]:
    if no_cache and refresh:
        raise UsageError("--no-cache stores nothing and --refresh stores a new answer; say one of them")
    return "off" if no_cache else "refresh" if refresh else "use"


def _read_attachment(path: Path) -> Attachment:
    name = require_utf8("the name of an attachment", path.name)
    data = read_bytes(path, MAX_ATTACHMENT_BYTES)
    return Attachment(name, IMAGE_TYPES.get(path.suffix.lower(), "text/plain"), data)


def _check_temperature(value: float | None) -> float | None:
    if value is None or 0 <= value <= MAX_TEMPERATURE:
        return value
    raise UsageError(f"--temperature is a number from 0 to {MAX_TEMPERATURE:g}, got {value:g}")


def parse_dollars(text: str | None) -> Decimal | None:
    """What ``--max-cost`` says. Raises UsageError."""
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if amount.is_finite() and 0 <= amount <= MAX_COST_USD:
        return amount
    raise UsageError(
        f"--max-cost is an amount of 0 to {MAX_COST_USD:,} US dollars such as 0.05, got {text!r}"
    )


def parse_hedge(text: str | None) -> float | Literal["p95"] | None:
    """What ``--hedge`` says. Raises UsageError."""
    try:
        return "p95" if text == "p95" else parse_seconds("--hedge", text)
    except UsageError as error:
        raise UsageError(f"{error}; or p95") from None


def _is_shown_live(args: AskArgs, output: Path | None) -> bool:
    """Whether somebody sees the answer as it comes."""
    piped = args.as_json or (output is not None and output != STANDARD_OUTPUT) or not sys.stdout.isatty()
    return args.stream is not False and not piped


def _fetch_receipt(options: GlobalOptions, ask: Ask, drill: str | None) -> Receipt:
    with _open_ask_client(options, drill) as (client, _):
        return client.ask_receipt(ask)


def _stream_to_terminal(options: GlobalOptions, ask: Ask, drill: str | None) -> Receipt:
    """Its answer is on the terminal by then, or what there was of it."""
    screen = TerminalAnswer()
    try:
        with (
            _open_ask_client(options, drill) as (client, spinning),
            client.stream_ask(ask) as answering,
            suppress(AskError),
        ):
            for piece in answering:
                spinning.stop()
                screen.show(piece)
    except BaseException:
        screen.end_if_writable()
        raise
    screen.end()
    assert answering.receipt is not None, "the loop is over"
    return answering.receipt


@contextmanager
def _open_ask_client(
    options: GlobalOptions, drill: str | None
) -> Iterator[tuple[Client, Spinner | NoSpinner]]:
    if drill is None:
        with (
            show_spinner("asking …", quiet=options.quiet) as spinning,
            open_client(options, spinning.pause) as client,
        ):
            yield client, spinning
        return
    from llmfail.drill import open_simulated_client

    with (
        open_simulated_client(load_settings(options), drill) as stage,
        show_spinner("asking the simulator …", quiet=options.quiet) as spinning,
    ):
        yield stage.client, spinning


def report_receipt(options: GlobalOptions, receipt: Receipt) -> None:
    """Who failed, who answered, what to know. A primary that answers is worth a line only to a person."""
    if receipt.error is not None:
        say(receipt.error.message)
    else:
        _report_trail(options, receipt)
    for warning in receipt.warnings:
        say(f"warning: {warning}", quiet=options.quiet)


def _report_trail(options: GlobalOptions, receipt: Receipt) -> None:
    curious = options.verbose > 0 or (sys.stderr is not None and sys.stderr.isatty())
    if curious or receipt.tier != 0:
        for entry in receipt.trail:
            if entry.outcome != "ok":
                say(_describe_entry(entry), quiet=options.quiet)
        say(_describe_answer(receipt), quiet=options.quiet)


def _describe_entry(entry: TrailEntry) -> str:
    verb = "failed" if entry.action == "called" else "skipped"
    status = f" {entry.status}" if entry.status else ""
    note = f": {entry.note}" if entry.note else ""
    return f"{entry.target} {verb} ({entry.outcome}{status}){note}"


def _describe_answer(receipt: Receipt) -> str:
    cost = format_usd(receipt.cost)
    spent = "cost unknown" if cost is None else f"${cost}"
    return f"{_describe_answerer(receipt)} (tier {receipt.tier}, {receipt.latency_ms} ms, {spent})"


def _describe_answerer(receipt: Receipt) -> str:
    match receipt.source:
        case "model" if receipt.tier == DEGRADED_TIER:
            return f"{receipt.target} answered a simplified prompt"
        case "model":
            return f"{receipt.target} answered"
        case "cache":
            return f"{receipt.target} answered this before"
        case "stale_cache":
            return f"no model answered; this is what {receipt.target} said before"
        case source:
            return f"no model answered; this is the feature's {source}"
