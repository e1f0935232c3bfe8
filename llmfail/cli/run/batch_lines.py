"""Each line of a batch as what is to be done with it: an ask, a receipt that says what is wrong, or nothing,
because a receipt of an earlier run answers it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from llmfail.cli.render.batch_progress import BatchTally
from llmfail.client.aio_receipts import AsyncReceiptClient
from llmfail.client.options import ask_of
from llmfail.core.cache.cache_key import are_comparable
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.receipt import Failure, Receipt
from llmfail.core.request.ask import Ask
from llmfail.core.request.ask_options import DEFAULT_FEATURE, Options
from llmfail.core.request.batch_line import (
    MALFORMED_LINE_KIND,
    PROMPT_LINES,
    TEXT_LINES,
    BatchLine,
    MalformedLine,
    parse_line,
    reject_line,
)
from llmfail.core.request.line_splitter import RawLine
from llmfail.engine.bulk.batch import BatchLimits
from llmfail.engine.ports.ids import new_id
from llmfail.store.batch_refs import HAS_RECEIPT, BatchRefs, KnownLine, LineState


class BatchArgs(Struct, frozen=True, kw_only=True):
    """The options of a run. ``ask_options`` are what each of its asks says by default; ``vectors``: the lines
    are texts of which vectors are wanted; ``arrays``: a line is printed as its vector, not as its receipt.
    """

    source: Path
    output: Path | None
    limits: BatchLimits
    resume: bool = False
    retry_failed: bool = False
    max_cost: Decimal | None = None
    ask_options: Options
    vectors: bool = False
    arrays: bool = False


class BatchLines:
    """The lines of one run, in their order. ``refs`` knows the receipts of earlier runs; ``say`` tells people
    what they should know at once.
    """

    def __init__(
        self,
        args: BatchArgs,
        client: AsyncReceiptClient,
        refs: BatchRefs,
        tally: BatchTally,
        say: Callable[[str], None],
    ) -> None:
        self._args = args
        self._client = client
        self._refs = refs
        self._tally = tally
        self._say = say
        self._form = TEXT_LINES if args.vectors else PROMPT_LINES
        self._is_first = True

    def prepare(self, raw: RawLine) -> Ask | Receipt | None:
        """None for a line that needs no receipt. Raises UsageError for an input that is not JSON Lines."""
        line = parse_line(raw, self._form)
        if line is None:
            return None
        self._require_json_lines(raw, line)
        if isinstance(line, MalformedLine):
            return self._reject(line)
        ask = self._build_ask(line)
        if isinstance(ask, MalformedLine):
            return self._reject(ask)
        known = self._refs.add(line.ref, LineState.ASKED)
        if LineState.ASKED in known.state:
            why = f"{json.dumps(line.ref)} is the id or the number of an earlier line"
            return self._reject(reject_line(raw.number, raw.number, why))
        return None if self._has_receipt(line, ask, known) else ask

    def _require_json_lines(self, raw: RawLine, line: BatchLine | MalformedLine) -> None:
        """An input whose first line says that it is something else is refused before anybody is paid."""
        is_first, self._is_first = self._is_first, False
        if not is_first or isinstance(line, BatchLine) or not line.is_foreign:
            return
        is_array = (raw.text or b"").lstrip().startswith(b"[")
        advice = f"; `jq -c '.[]' {self._args.source}` makes lines of an array" if is_array else ""
        raise UsageError(f"{self._args.source} is not JSON Lines: {line.error}{advice}")

    def _build_ask(self, line: BatchLine) -> Ask | MalformedLine:
        """A line over the defaults of the command line."""
        defaults = self._args.ask_options
        if self._args.vectors and not str(line.prompt).strip():
            return reject_line(line.number, line.ref, "the text is empty")
        params = {**defaults.get("params", {}), **line.options.get("params", {})}
        try:
            options = {**defaults, **line.options, "params": params, "ref": line.ref}
            return ask_of(line.prompt, **options)
        except UsageError as error:
            return reject_line(line.number, line.ref, str(error))

    def _has_receipt(self, line: BatchLine, ask: Ask, known: KnownLine) -> bool:
        """Whether its last receipt answers it, or fails it and nobody wants it to be asked again."""
        if not known.state & HAS_RECEIPT:
            return False
        if self._has_changed(ask, known):
            self._report_change(line)
            return False
        is_failed = LineState.FAILED in known.state
        if is_failed and self._args.retry_failed:
            return False
        self._tally.skipped += 1
        self._tally.given_up += is_failed
        return True

    def _has_changed(self, ask: Ask, known: KnownLine) -> bool:
        if known.request is None:
            return False
        try:
            asked = self._client.describe_asked(ask, vectors=self._args.vectors)
        except UsageError:
            return False
        return are_comparable(asked, known.request) and asked != known.request

    def _report_change(self, line: BatchLine) -> None:
        """The first that has changed is told at once: more may have than somebody meant to pay for."""
        self._tally.changed += 1
        if self._tally.changed > 1:
            return
        text = f"{json.dumps(line.ref)} is not what its receipt answers, and is asked again"
        if not line.has_id:
            text += "; a line without an id is known by its number: one more or less moves all behind it"
        self._say(f"warning: {text}")

    def _reject(self, line: MalformedLine) -> Receipt | None:
        if LineState.MALFORMED in self._refs.add(line.ref, LineState.MALFORMED).state:
            self._tally.skipped += 1
            self._tally.still_malformed += 1
            return None
        failure = Failure(ExitCode.USAGE, MALFORMED_LINE_KIND, line.error)
        feature = self._args.ask_options.get("feature", DEFAULT_FEATURE)
        return Receipt(new_id(), feature, ref=line.ref, error=failure)
