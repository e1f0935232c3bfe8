"""A ring of the last receipts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llmfail.core.records.joint_write import ADDITION, RingSlot
from llmfail.core.records.record import (
    Record,
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    load_or_default,
    without_newer,
)

LOG_KEY = "log"
SLOT_PREFIX = "log/"
LOG_LENGTH = 2000
LOG_LIFETIME = 30 * 24 * 3600.0
_SLOT = RingSlot(SLOT_PREFIX, LOG_KEY, "next", LOG_LENGTH)


class NextIndex(Record, frozen=True):
    """The number of the next receipt."""

    next: int = 0


def append(entries: Sequence[str]) -> StoreChange:
    """Keep these receipts, each the text of a record."""
    return StoreChange([LOG_KEY], partial(_append, entries))


def slot_keys(values: Values, most: int) -> list[str]:
    """The keys of the last receipts, the newest first; ``values`` must have that of the log."""
    following = _next_index(values)
    numbers = range(following - 1, max(following - 1 - min(most, LOG_LENGTH), -1), -1)
    return [_slot_key(number) for number in numbers]


def _append(entries: Sequence[str], values: Values, now: float) -> Writes:
    number, expires_at = _next_index(values), hourly_expiry(now + LOG_LIFETIME)
    writes: dict[str, Write | None] = {LOG_KEY: Write(dump(NextIndex(number + len(entries))), how=ADDITION)}
    for place, text in enumerate(entries):
        writes[_slot_key(number + place)] = Write(text, expires_at, _SLOT)
    return without_newer(writes, values)


def _next_index(values: Values) -> int:
    return load_or_default(values[LOG_KEY], NextIndex).next


def _slot_key(number: int) -> str:
    return f"{SLOT_PREFIX}{number % LOG_LENGTH}"
