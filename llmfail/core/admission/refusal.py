"""Why a target was not called."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from llmfail.core.admission.circuit import CircuitRefusal
from llmfail.core.admission.credential import Block
from llmfail.core.classification.outcome import Kind
from llmfail.core.receipt import SkipReason, format_time

_CIRCUIT_NOTES = {
    "circuit_open": "its circuit is open",
    "probing": "its circuit is half open, and other calls are testing the target",
    "held": "forced open by the operator",
    "ramping": "its circuit has just closed, and other calls are its share for now",
}


class OpenReason(StrEnum):
    """Why no call is admitted for a while."""

    FAILURES = "failures"
    """The circuit opened because calls failed."""
    PAUSE = "pause"
    """The provider asked for it, with a Retry-After."""


class Refusal(Struct, frozen=True):
    """No call may be made, and nothing is reserved."""

    reason: SkipReason
    retry_at: float | None
    note: str
    cause: Kind | None = None
    """The outcome that disabled the target, or made it ask for a pause."""
    open_reason: OpenReason | None = None
    """With ``CIRCUIT_OPEN`` only."""


def refuse_for_circuit(refusal: CircuitRefusal) -> Refusal:
    until = f" until {format_time(refusal.retry_at)}" if refusal.retry_at is not None else ""
    return Refusal(
        SkipReason(refusal.reason),
        refusal.retry_at,
        _CIRCUIT_NOTES[refusal.reason] + until,
        open_reason=OpenReason.FAILURES if refusal.reason == "circuit_open" else None,
    )


def refuse_for_pause(ends_at: float, *, is_rate_limit: bool = False) -> Refusal:
    note = f"its Retry-After holds until {format_time(ends_at)}"
    cause = Kind.RATE_LIMITED if is_rate_limit else None
    return Refusal(SkipReason.CIRCUIT_OPEN, ends_at, note, cause, OpenReason.PAUSE)


def refuse_for_block(block: Block) -> Refusal:
    note = f"{block.kind}: {block.note}" if block.note else str(block.kind)
    return Refusal(SkipReason.DISABLED, block.until, note, block.kind)
