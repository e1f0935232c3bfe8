"""A batch as it was typed: lines to asks, receipts to lines, and what a signal does to both."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

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
from llmfail.cli.render.batch_progress import BatchTally, show_progress_bar
from llmfail.cli.run.batch_resume import EarlierRun, read_earlier_run
from llmfail.cli.run.bulk_run import BulkRun
from llmfail.client.aio_receipts import AsyncReceiptClient
from llmfail.client.options import ask_of
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import PICO_PER_DOLLAR, Failure, Receipt, format_usd, to_json_line
from llmfail.core.request.ask import Ask
from llmfail.core.request.ask_options import DEFAULT_FEATURE, Options
from llmfail.core.request.batch_line import (
    MALFORMED_LINE_KIND,
    BatchLine,
    MalformedLine,
    RawLine,
    parse_line,
    reject_line,
)
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.ports.ids import new_id
from llmfail.store.batch_refs import BatchRefs, LineState


class BatchArgs(Struct, frozen=True, kw_only=True):
    """The options of a batch. ``feature`` and ``ask_options`` are what each of its asks says by default."""

    source: Path
    output: Path | None
    limits: BatchLimits
    resume: bool
    retry_failed: bool
    max_cost: Decimal | None
    feature: str
    ask_options: Options


def run_batch(options: GlobalOptions, args: BatchArgs) -> int:
    """Ask, tell, and the exit code. Raises UsageError."""
    if args.resume and args.output in {None, STANDARD_OUTPUT}:
        raise UsageError("--resume and --retry-failed need -o FILE: the receipts of the run that goes on")
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
        self._source = source
        self._output = output
        self._tally = BatchTally()
        self._refs = BatchRefs()
        self._bulk = BulkRun(options, output)

    def run(self) -> int:
        past = self._read_earlier_run()
        with show_progress_bar(self._tally, self._source.count_lines(), shown=self._can_show_bar):
            self._bulk.run(lambda client: self._begin(client, past.spent), self._read_asks())
        for line in self._tally.summary_lines:
            say(line, quiet=self._options.quiet)
        if self._bulk.stopped_by is not None and not self._bulk.is_whole:
            say(self._describe_resume())
        return self._bulk.end(has_failures=bool(self._tally.unanswered))

    def _begin(self, client: AsyncReceiptClient, spent: int) -> Batch:
        """Raises UsageError for a feature that would fail every line: that is a wrong command."""
        if self._args.feature != DEFAULT_FEATURE:
            client.settings.find_feature(self._args.feature)
        limit = None if self._args.max_cost is None else int(self._args.max_cost * PICO_PER_DOLLAR)
        return client.begin_batch(self._write_receipts, self._args.limits, max_cost=limit, spent=spent)

    @property
    def _can_show_bar(self) -> bool:
        """Whether the receipts leave the terminal to a bar."""
        on_screen = isinstance(self._output, OutputStream) and self._output.is_terminal
        return not self._options.quiet and not on_screen

    def _read_earlier_run(self) -> EarlierRun:
        if not isinstance(self._output, ReceiptFile):
            return EarlierRun()
        past = read_earlier_run(self._output, self._refs)
        if past.damaged:
            text = f"warning: {past.damaged} lines of {self._args.output} are no receipts; they stay there"
            say(text, quiet=self._options.quiet)
        if past.unpriced and self._args.max_cost is not None:
            text = f"warning: {past.unpriced} receipts of {self._args.output} do not say what they cost;"
            say(
                f"{text} ${format_usd(past.spent)} of --max-cost are taken for spent",
                quiet=self._options.quiet,
            )
        return past

    async def _read_asks(self) -> AsyncIterator[Ask | Receipt]:
        async for raw in self._source.read_lines():
            found = self._prepare_line(raw)
            if found is not None:
                yield found

    def _prepare_line(self, raw: RawLine) -> Ask | Receipt | None:
        """None for a line that needs no receipt."""
        line = parse_line(raw)
        if line is None:
            return None
        asked = _build_ask(line, self._args.ask_options) if isinstance(line, BatchLine) else line
        if isinstance(asked, MalformedLine):
            return self._reject_line(asked)
        known = self._refs.add(line.ref, LineState.ASKED)
        if LineState.ASKED in known:
            why = f"{json.dumps(line.ref)} is the id or the number of an earlier line"
            return self._reject_line(reject_line(raw.number, raw.number, why))
        return None if self._skip_if_done(known) else asked

    def _skip_if_done(self, known: LineState) -> bool:
        if LineState.ANSWERED not in known and (LineState.FAILED not in known or self._args.retry_failed):
            return False
        self._tally.skipped += 1
        self._tally.given_up += LineState.ANSWERED not in known
        return True

    def _reject_line(self, line: MalformedLine) -> Receipt | None:
        if LineState.MALFORMED in self._refs.add(line.ref, LineState.MALFORMED):
            self._tally.skipped += 1
            self._tally.still_malformed += 1
            return None
        failure = Failure(ExitCode.USAGE, MALFORMED_LINE_KIND, line.error)
        return Receipt(new_id(), self._args.feature, ref=line.ref, error=failure)

    async def _write_receipts(self, receipts: Sequence[Receipt]) -> None:
        await self._bulk.write(map(to_json_line, receipts))
        for receipt in receipts:
            self._tally.count(receipt)

    def _describe_resume(self) -> str:
        if not isinstance(self._output, ReceiptFile):
            return "stopped; with -o FILE a run can be resumed"
        if self._args.source == STANDARD_INPUT:
            return f"stopped; the same lines again with -o {self._args.output} --resume go on"
        typed = ["llmfail", *sys.argv[1:]]
        resume = [] if self._args.resume else ["--resume"]
        return f"stopped; this goes on: {shlex.join([*typed, *resume])}"


def _build_ask(line: BatchLine, defaults: Options) -> Ask | MalformedLine:
    """A line over the defaults of the command line."""
    params = {**defaults.get("params", {}), **line.options.get("params", {})}
    try:
        options = {**defaults, **line.options, "params": params, "ref": line.ref}
        return ask_of(line.prompt, **options)
    except UsageError as error:
        return reject_line(line.number, line.ref, str(error))
