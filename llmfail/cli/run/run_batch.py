"""A batch as it was typed: lines to asks, receipts to lines, and what a signal does to both."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from llmfail.cli.arguments.global_options import Globals, seconds_from
from llmfail.cli.io.files import STANDARD_INPUT, STANDARD_OUTPUT
from llmfail.cli.io.jsonl_files import (
    Input,
    Receipts,
    Stream,
    opened_input,
    opened_output,
)
from llmfail.cli.io.output import say
from llmfail.cli.io.stdout_lines import quietly_ended
from llmfail.cli.render.batch_progress import Tally, bar
from llmfail.cli.run.batch_resume import Past, past_of
from llmfail.cli.run.open_client import async_client_of
from llmfail.cli.run.run_ask import (
    Said,
    dollars_from,
    hedge_from,
    options_of,
)
from llmfail.cli.signals import stop_signals
from llmfail.client.aio import AsyncClient
from llmfail.client.options import ask_of
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import PICO, Failure, Receipt, line_of, usd
from llmfail.core.request.ask import Ask
from llmfail.core.request.batch_line import (
    MALFORMED,
    Line,
    Malformed,
    Raw,
    malformed,
    read,
)
from llmfail.engine.bulk.batch import Batch, Limits
from llmfail.engine.ports.ports import STOPS, new_id
from llmfail.store.batch_refs import Known, Refs

DURATIONS = ("timeout", "deadline", "wait")


class Typed(Struct, frozen=True, kw_only=True):
    """The options of a batch; ``said`` are those of each of its asks."""

    source: Path
    output: Path | None
    limits: Limits
    resume: bool
    retry_failed: bool
    max_cost: str | None
    said: Said


def answered(options: Globals, typed: Typed) -> int:
    """Ask, tell, and the exit code. Raises UsageError."""
    defaults: dict[str, Any] = dict(options_of(typed.said))
    max_cost = dollars_from(typed.max_cost)
    if typed.resume and typed.output in {None, STANDARD_OUTPUT}:
        raise UsageError("--resume and --retry-failed need -o FILE: the receipts of the run that goes on")
    ask_of("", **defaults)
    with (
        quietly_ended(),
        opened_input(typed.source) as source,
        opened_output(typed.output, source, resume=typed.resume) as output,
    ):
        limit = None if max_cost is None else int(max_cost * PICO)
        return Run(options, typed, source, output).run(defaults, limit)


class Run:
    """One run over open files."""

    def __init__(self, options: Globals, typed: Typed, source: Input, output: Stream | Receipts) -> None:
        self._options = options
        self._typed = typed
        self._source = source
        self._output = output
        self._tally = Tally()
        self._refs = Refs()
        self._stopped_by: int | None = None

    def run(self, defaults: dict[str, Any], limit: int | None) -> int:
        past = self._past()
        with _handlers_kept(), bar(self._tally, self._source.count(), shown=self._has_room):
            code = self._driven(defaults, limit, past.spent)
        for line in self._tally.lines:
            say(line, quiet=self._options.quiet)
        if self._stopped_by is not None and code > 128:
            say(self._how_to_go_on())
        if isinstance(self._output, Receipts) and self._output.trouble is not None:
            raise self._output.trouble
        return code

    @property
    def _has_room(self) -> bool:
        """Whether the receipts leave the terminal to a bar."""
        on_screen = isinstance(self._output, Stream) and self._output.for_people
        return not self._options.quiet and not on_screen

    def _past(self) -> Past:
        if not isinstance(self._output, Receipts):
            return Past()
        past = past_of(self._output, self._refs)
        if past.damaged:
            text = f"warning: {past.damaged} lines of {self._typed.output} are no receipts; they stay there"
            say(text, quiet=self._options.quiet)
        if past.unpriced and self._typed.max_cost is not None:
            text = f"warning: {past.unpriced} receipts of {self._typed.output} do not say what they cost;"
            say(f"{text} ${usd(past.spent)} of --max-cost are taken for spent", quiet=self._options.quiet)
        return past

    def _driven(self, defaults: dict[str, Any], limit: int | None, spent: int) -> int:
        try:
            whole = asyncio.run(self._asked(defaults, limit, spent))
        except asyncio.CancelledError:
            whole = False
        if not whole:
            return 128 + (self._stopped_by or signal.SIGINT)
        return ExitCode.UNAVAILABLE if self._tally.unanswered else ExitCode.ANSWERED

    async def _asked(self, defaults: dict[str, Any], limit: int | None, spent: int) -> bool:
        async with async_client_of(self._options) as client:
            _check(client, self._typed.said)
            batch = client.batch(self._write, self._typed.limits, max_cost=limit, spent=spent)
            self._batch = batch
            with self._stoppable(batch):
                return await batch.run(self._asks(defaults))

    @contextmanager
    def _stoppable(self, batch: Batch) -> Iterator[None]:
        """The first signal finishes what is under way, the second does not."""
        loop, whole = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            if self._stopped_by is None:
                self._stopped_by = number
                batch.stop()
                if batch.under_way:
                    say(f"finishing {batch.under_way} under way; once more stops at once")
            elif whole is not None:
                whole.cancel()

        for number in stop_signals():
            loop.add_signal_handler(number, stop, number)
        yield

    async def _asks(self, defaults: dict[str, Any]) -> AsyncIterator[Ask | Receipt]:
        async for raw in self._source.lines():
            found = self._next(raw, defaults)
            if found is not None:
                yield found

    def _next(self, raw: Raw, defaults: dict[str, Any]) -> Ask | Receipt | None:
        """None for a line that needs no receipt."""
        line = read(raw)
        if line is None:
            return None
        asked = _ask(line, defaults) if isinstance(line, Line) else line
        if isinstance(asked, Malformed):
            return self._malformed(asked)
        known = self._refs.add(line.ref, Known.ASKED)
        if Known.ASKED in known:
            why = f"{json.dumps(line.ref)} is the id or the number of an earlier line"
            return self._malformed(malformed(raw.number, raw.number, why))
        return None if self._is_done(known) else asked

    def _is_done(self, known: Known) -> bool:
        if Known.ANSWERED not in known and (Known.FAILED not in known or self._typed.retry_failed):
            return False
        self._tally.skipped += 1
        self._tally.given_up += Known.ANSWERED not in known
        return True

    def _malformed(self, line: Malformed) -> Receipt | None:
        if Known.MALFORMED in self._refs.add(line.ref, Known.MALFORMED):
            self._tally.skipped += 1
            self._tally.still_malformed += 1
            return None
        failure = Failure(ExitCode.USAGE, MALFORMED, line.why)
        return Receipt(new_id(), self._typed.said.feature, ref=line.ref, error=failure)

    async def _write(self, receipts: Sequence[Receipt]) -> None:
        lines = [line_of(receipt) + "\n" for receipt in receipts]
        await self._output.write("".join(lines).encode("utf-8", "replace"))
        for receipt in receipts:
            self._tally.count(receipt)
        if isinstance(self._output, Receipts) and self._output.trouble is not None:
            self._batch.stop()

    def _how_to_go_on(self) -> str:
        if not isinstance(self._output, Receipts):
            return "stopped; with -o FILE a run can be resumed"
        if self._typed.source == STANDARD_INPUT:
            return f"stopped; the same lines again with -o {self._typed.output} --resume go on"
        typed = ["llmfail", *sys.argv[1:]]
        resume = [] if self._typed.resume else ["--resume"]
        return f"stopped; this goes on: {shlex.join([*typed, *resume])}"


def _check(client: AsyncClient, said: Said) -> None:
    """A name that would fail every line is a wrong command. Raises UsageError."""
    if said.feature != Said().feature:
        client.settings.feature(said.feature)


def _ask(line: Line, defaults: dict[str, Any]) -> Ask | Malformed:
    """A line over the defaults of the command line."""
    options = {**defaults, **line.options, "ref": line.ref}
    options["parameters"] = {**defaults["parameters"], **line.options.get("parameters", {})}
    try:
        for name in DURATIONS:
            if isinstance(options[name], str):
                options[name] = seconds_from(name, options[name])
        if isinstance(options["hedge"], str):
            options["hedge"] = hedge_from(options["hedge"])
        return ask_of(line.prompt, **options)
    except UsageError as error:
        return malformed(line.number, line.ref, str(error))


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """The event loop leaves the default behind, which a signal at the very end must not meet."""
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
