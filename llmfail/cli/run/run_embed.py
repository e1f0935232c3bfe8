"""``llmfail embed`` as it was typed: one text, or the lines of a file; receipts to where they go.

A text is a request of its own. Providers would take several in one, but tell tokens only for all of them,
take different numbers (some one), and refuse all of them for one that is too long: receipts would be guesses.
Several requests at once make up for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.prompt import read_prompt
from llmfail.cli.io.files import open_line_writer, open_text_writer, read_lines
from llmfail.cli.io.output import say, show_spinner
from llmfail.cli.io.stdout_lines import exit_on_broken_pipe
from llmfail.cli.run.open_client import open_client
from llmfail.cli.run.run_ask import report_receipt
from llmfail.client.options import ask_of
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import Failure, Receipt, format_usd
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.ask_options import Options
from llmfail.core.request.batch_line import RawLine
from llmfail.core.request.embed_line import EmbedLine, parse_embed_line
from llmfail.engine.ports.ids import new_id

if TYPE_CHECKING:
    from llmfail.client.blocking import Client

DEFAULT_CONCURRENCY = 8


class EmbedArgs(Struct, frozen=True):
    """One ``text``, or the ``lines`` of a file, so many ``at_once``; where the vectors go; and what each ask
    says besides its text.
    """

    text: str | None
    lines: Path | None
    at_once: int
    output: Path | None
    as_json: bool
    ask_options: Options


def run_embed(options: GlobalOptions, args: EmbedArgs) -> int:
    """Embed, tell, and the exit code. Raises UsageError."""
    if args.lines is None:
        text = read_prompt(args.text, quiet=options.quiet) or ""
        return _embed_one(options, args, ask_of(text, **args.ask_options))
    if args.text is not None:
        raise UsageError("say a TEXT or --input, not both")
    return _embed_lines(options, args, args.lines)


def _embed_one(options: GlobalOptions, args: EmbedArgs, ask: Ask) -> int:
    with open_text_writer(args.output) as write:
        with (
            show_spinner("embedding …", quiet=options.quiet) as spinning,
            open_client(options, spinning.pause) as client,
        ):
            receipt = client.embed_ask(ask)
        report_receipt(options, receipt)
        if args.as_json or receipt.error is None:
            write(_format_line(receipt, as_json=args.as_json))
    return receipt.exit_code


def _embed_lines(options: GlobalOptions, args: EmbedArgs, path: Path) -> int:
    from llmfail.cli.run.ordered_pool import map_in_order

    blank, lines = ask_of("", **args.ask_options), read_lines(path)
    summary = _RunSummary(options)
    with (
        exit_on_broken_pipe(),
        open_client(options) as client,
        open_line_writer(args.output, path) as write,
    ):
        for row, receipt in map_in_order(partial(_embed_row, client, blank), _read_rows(lines), args.at_once):
            write(_format_line(receipt, as_json=args.as_json))
            summary.add(row, receipt, report_failure=not args.as_json)
        summary.report()
    return ExitCode.UNAVAILABLE if summary.failed else ExitCode.ANSWERED


def _read_rows(lines: Iterator[RawLine]) -> Iterator[EmbedLine]:
    """Lines with nothing in them are left out."""
    for number, line in lines:
        if line is None or line.strip():
            yield parse_embed_line(number, line)


def _embed_row(client: Client, empty_ask: Ask, row: EmbedLine) -> tuple[EmbedLine, Receipt]:
    if row.error:
        failure = Failure(ExitCode.USAGE, "usage", f"line {row.number}: {row.error}")
        return row, Receipt(new_id(), empty_ask.feature, ref=row.ref, error=failure)
    return row, client.embed_ask(replace(empty_ask, messages=to_messages(row.text), ref=row.ref))


def _format_line(receipt: Receipt, *, as_json: bool) -> str:
    answer = receipt.embedding
    vector = None if answer is None else answer.vectors[0]
    if not as_json:
        return json.dumps(vector)
    told: dict[str, Any] = {
        **receipt.to_json(),
        "embedding": vector,
        "dimensions": None if answer is None else answer.dimensions,
    }
    return json.dumps(told, ensure_ascii=False)


class _RunSummary:
    """What the lines of one run came to, for people."""

    def __init__(self, options: GlobalOptions) -> None:
        self._quiet = options.quiet
        self._shown_warnings: set[str] = set()
        self._embedded = self._by_fallback = 0
        self._cost: int | None = 0
        self.failed = 0

    def add(self, row: EmbedLine, receipt: Receipt, *, report_failure: bool) -> None:
        """``alone``: the line that is printed does not say what went wrong. A warning is told once."""
        known = self._cost is not None and receipt.cost is not None
        self._cost = (self._cost or 0) + (receipt.cost or 0) if known else None
        if receipt.error is None:
            self._embedded += 1
            self._by_fallback += receipt.tier != 0
        else:
            self.failed += 1
            if report_failure:
                say(receipt.error.message if row.error else f"line {row.number}: {receipt.error.message}")
        for warning in dict.fromkeys(receipt.warnings):
            if warning not in self._shown_warnings:
                self._shown_warnings.add(warning)
                say(f"warning: {warning}", quiet=self._quiet)

    def report(self) -> None:
        elsewhere = f" ({self._by_fallback} by a fallback)" if self._by_fallback else ""
        cost = format_usd(self._cost)
        spent = "cost unknown" if cost is None else f"${cost}"
        say(f"{self._embedded} embedded{elsewhere}, {self.failed} failed, {spent}", quiet=self._quiet)
