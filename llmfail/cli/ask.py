"""``llmfail ask``: options to an Ask, a receipt to standard output and standard error."""

from __future__ import annotations

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import msgspec
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
from llmfail.core.receipt import Entry, Receipt, usd

LARGEST_ATTACHMENT = 20 * MEBI
"""Bytes; the providers take no larger requests."""
LARGEST_SCHEMA = MEBI
DEEPEST_SCHEMA = 100
"""Levels; the providers take five to ten."""
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
    attach: Annotated[
        list[Path] | None,
        typer.Option("-a", "--attach", metavar="FILE", help="An image or a text file; repeatable."),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="JSON Schema for the answer.")
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
    no_fallback: Annotated[bool, typer.Option("--no-fallback", help="Ask the first target only.")] = False,
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
    """
    options: Globals = ctx.obj
    question = ask_of(
        _prompt(prompt, quiet=options.quiet),
        feature=feature,
        model=model or (),
        attachments=[_attachment(path) for path in attach or ()],
        system=None if system is None else text_of("--system", system),
        schema=_schema(schema),
        max_tokens=max_tokens,
        temperature=_temperature(temperature),
        stop=tuple(text_of("--stop", text) for text in stop or ()),
        timeout=seconds_from("--timeout", timeout),
        deadline=seconds_from("--deadline", deadline),
        fallback=not no_fallback,
        max_cost=_dollars(max_cost),
        user=None if user is None else text_of("--user", user),
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


def _prompt(argument: str | None, *, quiet: bool) -> str:
    prompt = prompt_of(argument, quiet=quiet)
    if prompt is None:
        raise UsageError('there is no prompt: llmfail ask "…", or pipe one to standard input')
    return prompt


def _attachment(path: Path) -> Attachment:
    name = text_of("the name of an attachment", path.name)
    data = bytes_of(path, LARGEST_ATTACHMENT)
    return Attachment(name, IMAGES.get(path.suffix.lower(), "text/plain"), data)


def _schema(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    data = bytes_of(path, LARGEST_SCHEMA).removeprefix(BOM_UTF8)
    try:
        schema = msgspec.json.decode(data)  # strict: NaN, 1e400 and half surrogates are no JSON
    except RecursionError:
        raise UsageError(f"{path} is not a JSON Schema: it is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{path} is not a JSON Schema: it must be an object")
    if _is_deeper(schema, DEEPEST_SCHEMA):
        raise UsageError(f"{path} is not a JSON Schema: it is nested too deeply")
    return schema


def _is_deeper(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _parts(outer)]
    return bool(level)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
        with client_of(options) as client, spinner("asking …", quiet=options.quiet):
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
        for entry in receipt.trail[:-1]:
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
    return f"{receipt.target} answered (tier {receipt.tier}, {receipt.latency_ms} ms, {spent})"
