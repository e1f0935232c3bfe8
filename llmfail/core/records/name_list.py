"""A numbered list of names in the store: who is in it can be told without a scan, and a new name costs two
small writes however long the list is.
"""

from __future__ import annotations

from llmfail.core.records.record import (
    Record,
    Values,
    Write,
    Writes,
    dump,
    load,
    recall,
)

MOST = 100_000
"""Names that are read: what a damaged length claims is no reason to count to it."""


class Length(Record, frozen=True):
    """How many names are in a roll."""

    length: int = 0


class Line(Record, frozen=True):
    """One name in a roll."""

    name: str = ""


def enlist(roll: str, name: str, values: Values, expires_at: float | None) -> Writes:
    """The writes that put a new name at the end; ``values`` must have the roll's own key."""
    length = recall(values[roll], Length).length
    return {
        roll: Write(dump(Length(length + 1)), expires_at),
        _line(roll, length): Write(dump(Line(name)), expires_at),
    }


def lines(roll: str, values: Values) -> tuple[str, ...]:
    """The keys of the names, in the order in which they came; ``values`` must have the key ``roll``."""
    length = min(recall(values[roll], Length).length, MOST)
    return tuple(_line(roll, number) for number in range(length))


def name(text: str | None) -> str | None:
    """The name that a key of ``lines`` holds; None for a damaged one."""
    line = load(text, Line)
    return None if line is None else line.name


def _line(roll: str, number: int) -> str:
    return f"{roll}#{number}"
