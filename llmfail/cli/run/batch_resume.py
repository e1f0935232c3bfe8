"""What an earlier run left in the output of a batch: who has an answer, who has failed, and what was paid.

The file may have been through other programs, so it is read as far as it goes: as UTF-8 or nearly so, one
receipt a line or over several, with numbers in place of texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from msgspec import Struct

from llmfail.cli.io.jsonl_files import ReceiptFile
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.request.batch_line import MALFORMED_LINE_KIND, Ref
from llmfail.store.batch_refs import HAS_RECEIPT, BatchRefs, LineState

MAX_RECEIPT_LINES = 10_000
"""Lines over which a program may have spread one receipt."""


class EarlierRun(Struct):
    """``spent`` in pico-dollars: what the receipts say, of which so many ``unpriced`` do not say everything.
    ``damaged``: lines that are no receipts; ``unnamed``: receipts that do not say what was asked.
    """

    spent: int = 0
    unpriced: int = 0
    damaged: int = 0
    unnamed: int = 0


class _Receipt(Struct, frozen=True):
    """What matters of a receipt."""

    ref: Ref
    state: LineState
    request: str | None
    costs: tuple[Any, ...]
    is_priced: bool


def read_earlier_run(receipts: ReceiptFile, refs: BatchRefs) -> EarlierRun:
    """Reads what is there and notes it. A last line that was written by halves is cut off."""
    past, size, last = EarlierRun(), 0, b"\n"
    for text in _join_lines(receipts.read_lines()):
        receipt = _parse_receipt(text)
        if receipt is None and not text.endswith(b"\n"):
            receipts.truncate(size)
            return past
        size, last = size + len(text), text
        if receipt is not None:
            _count_receipt(receipt, past, refs)
        elif text.strip():
            past.damaged += text.count(b"\n")
    if not last.endswith(b"\n"):
        receipts.end_last_line()
    return past


def _join_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines as they are, but those of an object that begins on one and ends on another as one."""
    begun: list[bytes] = []
    for line in lines:
        if line.startswith(b"{"):
            yield from begun
            begun = []
        begun.append(line)
        is_open = begun[0].rstrip() == b"{" and line.rstrip() != b"}" and len(begun) < MAX_RECEIPT_LINES
        if not is_open:
            yield b"".join(begun)
            begun = []
    yield from begun


def _count_receipt(receipt: _Receipt, earlier: EarlierRun, refs: BatchRefs) -> None:
    refs.add(receipt.ref, receipt.state, receipt.request)
    earlier.unnamed += bool(receipt.state & HAS_RECEIPT) and receipt.request is None
    earlier.unpriced += not receipt.is_priced
    earlier.spent += sum(map(_parse_pico, receipt.costs))


def _parse_receipt(line: bytes) -> _Receipt | None:
    try:
        fields = msgspec.json.decode(line.decode("utf-8-sig", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None
    ref = _read_ref(fields.get("ref")) if isinstance(fields, dict) else None
    if ref is None or "ok" not in fields:
        return None
    cost, request = fields.get("cost_usd"), fields.get("request")
    trail = fields.get("trail")
    calls = trail if isinstance(trail, list) else []
    costs = [entry.get("cost_usd") for entry in calls if isinstance(entry, dict)] if cost is None else [cost]
    return _Receipt(
        ref,
        _read_state(fields),
        request if isinstance(request, str) else None,
        tuple(costs),
        is_priced=cost is not None,
    )


def _read_state(fields: dict[str, Any]) -> LineState:
    error = fields.get("error")
    if fields["ok"]:
        return LineState.ANSWERED
    is_malformed = isinstance(error, dict) and error.get("kind") == MALFORMED_LINE_KIND
    return LineState.MALFORMED if is_malformed else LineState.FAILED


def _read_ref(said: object) -> Ref | None:
    """Programs for tables make 7.0 of 7."""
    if isinstance(said, float) and said.is_integer():
        return int(said)
    return said if isinstance(said, str | int) and not isinstance(said, bool) else None


def _parse_pico(usd: object) -> int:
    try:
        return int(Decimal(str(usd or 0)) * PICO_PER_DOLLAR)
    except (InvalidOperation, ValueError, OverflowError):
        return 0
