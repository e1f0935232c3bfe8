"""A numbered list of names in the store: it is read without a scan, and a new name costs two small writes
however long the list is.
"""

from __future__ import annotations

from llmfail.core.records.record import (
    Record,
    Values,
    Write,
    Writes,
    dump,
    load,
    load_or_default,
)

MAX_NAMES = 100_000
"""Names that are read at most, so that a damaged length does no harm."""


class NameCount(Record, frozen=True):
    """How many names are in a list."""

    length: int = 0


class NameRow(Record, frozen=True):
    """One name in a list."""

    name: str = ""


def append(list_key: str, name: str, values: Values, expires_at: float | None) -> Writes:
    """The writes that put a new name at the end; ``values`` must have the key of the list."""
    length = load_or_default(values[list_key], NameCount).length
    return {
        list_key: Write(dump(NameCount(length + 1)), expires_at),
        _row_key(list_key, length): Write(dump(NameRow(name)), expires_at),
    }


def row_keys(list_key: str, values: Values) -> tuple[str, ...]:
    """The keys of the names, the oldest first; ``values`` must have the key of the list."""
    length = min(load_or_default(values[list_key], NameCount).length, MAX_NAMES)
    return tuple(_row_key(list_key, number) for number in range(length))


def read_name(text: str | None) -> str | None:
    """The name in the text of a row; None for a damaged one."""
    row = load(text, NameRow)
    return None if row is None else row.name


def _row_key(list_key: str, number: int) -> str:
    return f"{list_key}#{number}"
