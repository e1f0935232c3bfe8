"""``llmfail embed`` as it was typed: one text, or the lines of a file; receipts to where they go.

A text is a request of its own. Providers would take several in one, but tell tokens only for all of them,
take different numbers (some one), and refuse all of them for one that is too long: receipts would be guesses.
Several requests at once make up for it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.arguments.prompt import read_prompt
from llmfail.cli.io.files import open_text_writer
from llmfail.cli.io.jsonl_files import (
    BatchInput,
    OutputStream,
    ReceiptFile,
    open_batch_input,
    open_batch_output,
)
from llmfail.cli.io.output import say, show_spinner
from llmfail.cli.io.stdout_lines import exit_on_broken_pipe
from llmfail.cli.run.bulk_run import BulkRun
from llmfail.cli.run.open_client import open_client
from llmfail.cli.run.run_ask import report_receipt
from llmfail.cli.signals import SETTLE_TIMEOUT
from llmfail.client.options import ask_of
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import Failure, Receipt, format_usd
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.ask_options import Options
from llmfail.core.request.embed_line import EmbedLine, parse_embed_line
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.ports.ids import new_id

if TYPE_CHECKING:
    from llmfail.client.aio_receipts import AsyncReceiptClient

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
    with (
        exit_on_broken_pipe(),
        open_batch_input(args.lines) as source,
        open_batch_output(args.output, source, resume=True) as output,
    ):
        return _LinesRun(options, args, source, output).run()


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


class _LinesRun:
    """One run over the lines of --input: each line becomes a line of the output, in the same order."""

    def __init__(
        self, options: GlobalOptions, args: EmbedArgs, source: BatchInput, output: OutputStream | ReceiptFile
    ) -> None:
        self._args = args
        self._blank = ask_of("", **args.ask_options)
        self._source = source
        self._output = output
        self._summary = _RunSummary(options)
        self._bulk = BulkRun(options, output, SETTLE_TIMEOUT)
        self._unwritten: deque[EmbedLine] = deque()

    def run(self) -> int:
        self._bulk.run(self._begin, self._read_asks())
        code = self._bulk.end(has_failures=bool(self._summary.failed))
        if self._bulk.is_whole:
            self._summary.report()
        return code

    def _begin(self, client: AsyncReceiptClient) -> Batch:
        if isinstance(self._output, ReceiptFile):
            self._output.truncate(0)
        return client.begin_embed_batch(
            self._write_receipts, BatchLimits(self._args.at_once, first_alone=True)
        )

    async def _read_asks(self) -> AsyncIterator[Ask | Receipt]:
        async for raw in self._source.read_lines():
            line = parse_embed_line(raw)
            if line is None:
                continue
            self._unwritten.append(line)
            if line.error:
                failure = Failure(ExitCode.USAGE, "usage", f"line {line.number}: {line.error}")
                yield Receipt(new_id(), self._blank.feature, ref=line.ref, error=failure)
            else:
                yield replace(self._blank, messages=to_messages(line.text), ref=line.ref)

    async def _write_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Raises UsageError for what is wrong with every line."""
        lines = self._take_lines(receipts)
        written = receipts[: len(lines)]
        for line, receipt in zip(lines, written, strict=True):
            if receipt.error is not None and receipt.error.kind == "usage" and not line.error:
                raise UsageError(receipt.error.message)
        await self._bulk.write(_format_line(receipt, as_json=self._args.as_json) for receipt in written)
        for line, receipt in zip(lines, written, strict=True):
            self._summary.add(line, receipt, report_failure=not self._args.as_json)

    def _take_lines(self, receipts: Sequence[Receipt]) -> list[EmbedLine]:
        """The lines of the receipts, which come in the same order, up to the first line that a signal made
        the run give up: behind it an array would stand in the place of another.
        """
        lines: list[EmbedLine] = []
        for receipt in receipts:
            if self._unwritten[0].ref != receipt.ref:
                break
            lines.append(self._unwritten.popleft())
        return lines


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
        """``report_failure``: the printed line does not say what went wrong. A warning is given once."""
        known = self._cost is not None and receipt.cost_pico_usd is not None
        self._cost = (self._cost or 0) + (receipt.cost_pico_usd or 0) if known else None
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
