"""What an earlier run left in the output of a batch: who has an answer, who has failed, and what was paid."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Struct

from llmfail.cli.io.jsonl_files import ReceiptFile
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.request.batch_line import MALFORMED_LINE_KIND, Ref
from llmfail.store.batch_refs import BatchRefs, LineState


class _EarlierError(Struct):
    kind: str


class _EarlierAttempt(Struct):
    cost_usd: str | None = None


class _EarlierReceipt(Struct):
    """What matters of a receipt."""

    ref: Ref
    ok: bool
    error: _EarlierError | None = None
    cost_usd: str | None = None
    trail: list[_EarlierAttempt] = []

    @property
    def line_state(self) -> LineState:
        if self.ok:
            return LineState.ANSWERED
        is_malformed = self.error is not None and self.error.kind == MALFORMED_LINE_KIND
        return LineState.MALFORMED if is_malformed else LineState.FAILED


class EarlierRun(Struct):
    """``spent`` in pico-dollars: what the receipts say, of which so many ``unpriced`` do not say everything.
    ``damaged``: lines that are no receipts.
    """

    spent: int = 0
    unpriced: int = 0
    damaged: int = 0


def read_earlier_run(receipts: ReceiptFile, refs: BatchRefs) -> EarlierRun:
    """Reads what is there and notes it. A last line that was written by halves is cut off."""
    past, size, line = EarlierRun(), 0, b"\n"
    for line in receipts.read_lines():
        receipt = _decode(line)
        if receipt is None and not line.endswith(b"\n"):
            receipts.truncate(size)
            return past
        size += len(line)
        _count_receipt(receipt, past, refs)
    if not line.endswith(b"\n"):
        receipts.end_last_line()
    return past


def _count_receipt(receipt: _EarlierReceipt | None, earlier: EarlierRun, refs: BatchRefs) -> None:
    if receipt is None:
        earlier.damaged += 1
        return
    refs.add(receipt.ref, receipt.line_state)
    earlier.unpriced += receipt.cost_usd is None
    told = [receipt.cost_usd] if receipt.cost_usd is not None else [one.cost_usd for one in receipt.trail]
    earlier.spent += sum(map(_parse_pico, told))


_RECEIPT_DECODER = msgspec.json.Decoder(_EarlierReceipt)


def _decode(line: bytes) -> _EarlierReceipt | None:
    try:
        return _RECEIPT_DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _parse_pico(usd: str | None) -> int:
    try:
        return int(Decimal(usd or 0) * PICO_PER_DOLLAR)
    except (InvalidOperation, ValueError, OverflowError):
        return 0
