"""What an earlier run left in the output of a batch: who has an answer, who has failed, and what was paid."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Struct

from llmfail.cli.io.jsonl_files import Receipts
from llmfail.core.receipt import PICO
from llmfail.core.request.batch_line import MALFORMED, Ref
from llmfail.store.batch_refs import Known, Refs


class _Error(Struct):
    kind: str


class _Entry(Struct):
    cost_usd: str | None = None


class _Receipt(Struct):
    """What matters of a receipt."""

    ref: Ref
    ok: bool
    error: _Error | None = None
    cost_usd: str | None = None
    trail: list[_Entry] = []

    @property
    def known(self) -> Known:
        if self.ok:
            return Known.ANSWERED
        is_malformed = self.error is not None and self.error.kind == MALFORMED
        return Known.MALFORMED if is_malformed else Known.FAILED


class Past(Struct):
    """``spent`` in pico-dollars: what the receipts say, of which so many ``unpriced`` do not say everything.
    ``damaged``: lines that are no receipts.
    """

    spent: int = 0
    unpriced: int = 0
    damaged: int = 0


def past_of(receipts: Receipts, refs: Refs) -> Past:
    """Reads what is there and notes it. A last line that was written by halves is cut off."""
    past, size, line = Past(), 0, b"\n"
    for line in receipts.kept():
        receipt = _read(line)
        if receipt is None and not line.endswith(b"\n"):
            receipts.cut(size)
            return past
        size += len(line)
        _note(receipt, past, refs)
    if not line.endswith(b"\n"):
        receipts.finish()
    return past


def _note(receipt: _Receipt | None, past: Past, refs: Refs) -> None:
    if receipt is None:
        past.damaged += 1
        return
    refs.add(receipt.ref, receipt.known)
    past.unpriced += receipt.cost_usd is None
    told = [receipt.cost_usd] if receipt.cost_usd is not None else [one.cost_usd for one in receipt.trail]
    past.spent += sum(map(_pico, told))


_RECEIPT = msgspec.json.Decoder(_Receipt)


def _read(line: bytes) -> _Receipt | None:
    try:
        return _RECEIPT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _pico(usd: str | None) -> int:
    try:
        return int(Decimal(usd or 0) * PICO)
    except (InvalidOperation, ValueError, OverflowError):
        return 0
