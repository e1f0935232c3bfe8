"""The lines of a file as they were typed: lines to asks, receipts to lines, and what a signal does to both.

Of prompts (``batch``) and of texts that are to be embedded (``embed --input``) alike.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator, Sequence

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.io.files import STANDARD_INPUT, STANDARD_OUTPUT
from llmfail.cli.io.jsonl_files import (
    BatchInput,
    OutputStream,
    ReceiptFile,
    open_batch_input,
    open_batch_output,
)
from llmfail.cli.io.output import say
from llmfail.cli.io.stdout_lines import exit_on_broken_pipe
from llmfail.cli.render.batch_progress import BatchTally, describe_failure, show_progress_bar
from llmfail.cli.render.embedding_line import format_array, format_embedding_receipt
from llmfail.cli.run.batch_lines import BatchArgs, BatchLines
from llmfail.cli.run.batch_resume import EarlierRun, read_earlier_run
from llmfail.cli.run.bulk_run import BulkRun
from llmfail.client.aio_receipts import AsyncReceiptClient
from llmfail.client.options import ask_of
from llmfail.core.errors import UsageError
from llmfail.core.receipt import PICO_PER_DOLLAR, Receipt, format_time, format_usd, to_json_line
from llmfail.core.reports.figures import duration
from llmfail.core.request.ask import Ask
from llmfail.engine.bulk.batch import Batch
from llmfail.engine.bulk.run_pauses import RunPause
from llmfail.store.batch_refs import BatchRefs

TOLD_PAUSE_SECONDS = 5.0
"""A pause is told that ends so much later than the last one that was told."""


def run_batch(options: GlobalOptions, args: BatchArgs) -> int:
    """Ask, tell, and the exit code. Raises UsageError."""
    if args.resume and args.output in {None, STANDARD_OUTPUT}:
        raise UsageError("--resume and --retry-failed need -o FILE: the receipts of the run that goes on")
    if args.resume and args.arrays:
        raise UsageError("--resume and --retry-failed need --json: an array does not say of which text it is")
    ask_of("", **args.ask_options)
    with (
        exit_on_broken_pipe(),
        open_batch_input(args.source) as source,
        open_batch_output(args.output, source, resume=args.resume) as output,
    ):
        return BatchRun(options, args, source, output).run()


class BatchRun:
    """One run over open files."""

    def __init__(
        self, options: GlobalOptions, args: BatchArgs, source: BatchInput, output: OutputStream | ReceiptFile
    ) -> None:
        self._options = options
        self._args = args
        self._blank = ask_of("", **args.ask_options)
        self._source = source
        self._output = output
        self._tally = BatchTally(verb="embedded" if args.vectors else "answered")
        self._refs = BatchRefs()
        self._bulk = BulkRun(options, output)
        self._format = to_json_line
        if args.vectors:
            self._format = format_array if args.arrays else format_embedding_receipt
        self._client: AsyncReceiptClient | None = None
        self._shown_warnings: set[str] = set()
        self._told_until = 0.0

    def run(self) -> int:
        past = self._read_earlier_run()
        with show_progress_bar(self._tally, self._source.count_lines(), shown=self._can_show_bar):
            self._bulk.run(lambda client: self._begin(client, past.spent), self._read_asks())
        for line in self._tally.summary_lines:
            self._say(line)
        if self._bulk.stopped_by is not None and not self._bulk.is_whole:
            say(self._describe_resume())
        return self._bulk.end(has_failures=bool(self._tally.unanswered))

    def _begin(self, client: AsyncReceiptClient, spent: int) -> Batch:
        """Raises UsageError for what would fail every line: that is a wrong command."""
        self._client = client
        client.check(self._blank, vectors=self._args.vectors)
        limit = None if self._args.max_cost is None else int(self._args.max_cost * PICO_PER_DOLLAR)
        return client.begin_batch(
            self._write_receipts,
            self._args.limits,
            max_cost=limit,
            spent=spent,
            on_pause=self._report_pause,
            vectors=self._args.vectors,
        )

    def _report_pause(self, pause: RunPause) -> None:
        """Short pauses are told once: a provider that asks for one second may do so hundreds of times."""
        is_new = pause.until - pause.seconds >= self._tally.paused_until
        is_first = not self._tally.pauses
        self._tally.pauses += is_new
        self._tally.paused_until = max(self._tally.paused_until, pause.until)
        if is_first or pause.until >= self._told_until + TOLD_PAUSE_SECONDS:
            self._told_until = pause.until
            until = f"{format_time(pause.until)} ({duration(pause.seconds)})"
            self._say(f"no target of {pause.feature} can be asked now: the run pauses until {until}")

    @property
    def _can_show_bar(self) -> bool:
        """Whether the receipts leave the terminal to a bar."""
        on_screen = isinstance(self._output, OutputStream) and self._output.is_terminal
        return not self._options.quiet and not on_screen

    def _say(self, text: str) -> None:
        say(text, quiet=self._options.quiet)

    def _read_earlier_run(self) -> EarlierRun:
        if not isinstance(self._output, ReceiptFile):
            return EarlierRun()
        past, name = read_earlier_run(self._output, self._refs), self._args.output
        if past.damaged:
            self._say(f"warning: {past.damaged} lines of {name} are no receipts; they stay there")
        if past.unnamed:
            text = f"warning: {past.unnamed} receipts of {name} do not say what was asked;"
            self._say(f"{text} their lines are known by id or number alone")
        if past.unpriced and self._args.max_cost is not None:
            text = f"warning: {past.unpriced} receipts of {name} do not say what they cost;"
            self._say(f"{text} ${format_usd(past.spent)} of --max-cost are taken for spent")
        return past

    async def _read_asks(self) -> AsyncIterator[Ask | Receipt]:
        assert self._client is not None, "the run has begun"
        lines = BatchLines(self._args, self._client, self._refs, self._tally, self._say)
        async for raw in self._source.read_lines():
            found = lines.prepare(raw)
            if found is not None:
                yield found

    async def _write_receipts(self, receipts: Sequence[Receipt]) -> None:
        await self._bulk.write(map(self._format, receipts))
        for receipt in receipts:
            self._tally.count(receipt)
            if self._args.arrays and receipt.error is not None:
                self._say(describe_failure(receipt))
            for warning in receipt.warnings:
                self._warn_once(warning)

    def _warn_once(self, warning: str) -> None:
        if warning not in self._shown_warnings:
            self._shown_warnings.add(warning)
            self._say(f"warning: {warning}")

    def _describe_resume(self) -> str:
        if not isinstance(self._output, ReceiptFile) or self._args.arrays:
            needed = "--json and -o FILE" if self._args.arrays else "-o FILE"
            return f"stopped; with {needed} a run can be resumed"
        if self._args.source == STANDARD_INPUT:
            return f"stopped; the same lines again with -o {self._args.output} --resume go on"
        typed = ["llmfail", *sys.argv[1:]]
        resume = [] if self._args.resume else ["--resume"]
        return f"stopped; this goes on: {shlex.join([*typed, *resume])}"
