"""``llmfail ask``: options to an Ask, a receipt to standard output and standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal

import typer

from llmfail.cli.client import client_of, settings_of
from llmfail.cli.files import MEBI, bytes_of, destination
from llmfail.cli.options import Globals, seconds_from
from llmfail.cli.output import say, spinner
from llmfail.cli.prompt import prompt_of, text_of
from llmfail.client import MOST_USD, ask_of
from llmfail.core.ask import DEFAULT_FEATURE, Ask
from llmfail.core.errors import UsageError
from llmfail.core.model import Attachment
from llmfail.core.receipt import DEGRADED, Entry, Receipt, usd
from llmfail.settings.schemas import schema_of

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


def command(
    ctx: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(help="The prompt; '-' reads standard input.", show_default=False)
    ] = None,
    feature: Annotated[
        str, typer.Option("-f", "--feature", metavar="NAME", help="What the answer is for.")
    ] = DEFAULT_FEATURE,
    model: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", metavar="TARGET", help="Instead of the chain; repeatable."),
    ] = None,
    system: Annotated[
        str | None, typer.Option("-s", "--system", metavar="TEXT", help="System prompt.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("-t", "--template", metavar="NAME", help="A prompt template of the configuration."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="K=V", help="What $K in the template is; repeatable."),
    ] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("-a", "--attach", metavar="FILE", help="An image or a text file; repeatable."),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema for the answer.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            "--expect",
            metavar="WHAT",
            help="json, nonempty, complete or regex:RE: another answer is none; repeatable.",
        ),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", metavar="N", min=1)] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", metavar="X")] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="S", help="End the answer before this text; repeatable."),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="How long one attempt may take: 30, 30s, 2m."),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="DURATION", help="The same for everything together.")
    ] = None,
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", metavar="USD", help="Refuse what may cost more, all attempts together."),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Whose budget it goes on.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as one line of JSON.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the answer there; '-': standard output."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use a stored answer nor store this one.")
    ] = False,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Ask a model although an answer is stored, and store the new one."),
    ] = False,
    no_fallback: Annotated[bool, typer.Option("--no-fallback", help="Ask the first target only.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Only a model's answer will do.")] = False,
    wait: Annotated[
        str | None,
        typer.Option(
            "--wait", metavar="DURATION", help="When every circuit is open, wait for the first trial."
        ),
    ] = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="When nothing can answer, keep the request for `queue run`.")
    ] = False,
    no_stream: Annotated[  # noqa: ARG001 - every answer is whole
        bool,
        typer.Option("--no-stream", help="Print the answer when it is whole (always so in this version)."),
    ] = False,
    drill: Annotated[
        str | None,
        typer.Option("--drill", metavar="FAULTS", help="Ask a simulator with faults, such as anthropic=503."),
    ] = None,
) -> None:
    """Answer one prompt through the fallback chain of a feature.

    The prompt is the argument, standard input when it is piped, or both. Standard output carries the answer
    and nothing else.

    Examples:

      llmfail ask "Say hello"

      git diff | llmfail ask "Write a commit message" -f cover_letter

      llmfail ask "Say hello" --drill anthropic=503,openai=hangx2 --json

      llmfail ask -f pii_detection --schema pii.json <letter.txt

      llmfail ask -t vpr_prompt -p cv="$(cat cv.txt)" -p job=baker
    """
    options: Globals = ctx.obj
    question = ask_of(
        prompt_of(prompt, quiet=options.quiet) or "",
        feature=feature,
        model=model or (),
        attachments=[_attachment(path) for path in attach or ()],
        system=None if system is None else text_of("--system", system),
        schema=None if schema is None else schema_of(schema),
        template=template,
        parameters=_parameters(param or ()),
        expect=[text_of("--expect", text) for text in expect or ()],
        max_tokens=max_tokens,
        temperature=_temperature(temperature),
        stop=tuple(text_of("--stop", text) for text in stop or ()),
        timeout=seconds_from("--timeout", timeout),
        deadline=seconds_from("--deadline", deadline),
        fallback=not no_fallback,
        max_cost=_dollars(max_cost),
        user=None if user is None else text_of("--user", user),
        cache=_cache(no_cache=no_cache, refresh=refresh),
        strict=strict,
        wait=seconds_from("--wait", wait) or 0.0,
        queue=queue,
    )
    with destination(output) as write:
        receipt = _receipt(options, question, drill)
        _report(options, receipt)
        if as_json:
            write(json.dumps(receipt.to_json(), ensure_ascii=False))
        elif receipt.answer is not None:
            write(receipt.answer)
    if receipt.error is not None:
        raise typer.Exit(receipt.error.code)


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


def _dollars(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if amount.is_finite() and 0 <= amount <= MOST_USD:
        return amount
    raise UsageError(f"--max-cost is an amount of 0 to {MOST_USD:,} US dollars such as 0.05, got {text!r}")


def _receipt(options: Globals, question: Ask, drill: str | None) -> Receipt:
    if drill is None:
        with spinner("asking …", quiet=options.quiet) as pause, client_of(options, pause) as client:
            return client.receipt(question)
    from llmfail.drill import rehearsal  # noqa: PLC0415 - start-up: only a drill needs it

    with (
        rehearsal(settings_of(options), drill) as stage,
        spinner("asking the simulator …", quiet=options.quiet),
    ):
        return stage.client.receipt(question)


def _report(options: Globals, receipt: Receipt) -> None:
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
    spent = "price unknown" if cost is None else f"${cost}"
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
