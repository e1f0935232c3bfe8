"""Values <-> versioned JSON text, the only form in which anything is stored.

A damaged text counts as no record at all, and is overwritten. A text of a newer version is not ours to
judge: decisions are made as if there were none, and it is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

VERSION = 1
_OURS = f'{{"v":{VERSION},'

T = TypeVar("T")
Values = Mapping[str, str | None]
"""Text per key; None where there is none."""


class Write(NamedTuple):
    """A value to keep, until ``expires_at`` (epoch seconds) or for ever."""

    text: str
    expires_at: float | None = None


Writes = Mapping[str, Write | None]
"""What to write, per key; None deletes."""


def dump(fields: Mapping[str, Any]) -> str:
    return json.dumps({"v": VERSION, **fields}, separators=(",", ":"))


def load(text: str | None, read: Callable[[dict[str, Any]], T]) -> T | None:
    """The value, or None when there is no record that this version can use."""
    if text is None:
        return None
    try:
        fields = json.loads(text)
        return read(fields) if fields["v"] == VERSION else None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError):
        return None


def newer(text: str | None) -> bool:
    """Whether a later version of llmfail wrote this, so that it must be left alone."""
    if text is None or text.startswith(_OURS):
        return False
    try:
        return bool(json.loads(text)["v"] > VERSION)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def ours(writes: Writes, values: Values) -> Writes:
    """The writes without those that would overwrite a record of a newer version."""
    return {key: write for key, write in writes.items() if not newer(values.get(key))}


class Step(NamedTuple):
    """A change of some records, to be made by a store: ``change(values, now)`` gives the writes."""

    keys: Sequence[str]
    change: Callable[[Values, float], Writes]


def together(steps: Sequence[Step]) -> Step:
    """Several changes as one, each seeing what those before it have written."""

    def change(values: Values, now: float) -> Writes:
        seen = dict(values)
        writes: dict[str, Write | None] = {}
        for step in steps:
            made = step.change(seen, now)
            seen.update({key: write.text if write else None for key, write in made.items()})
            writes.update(made)
        return writes

    return Step(tuple(dict.fromkeys(key for step in steps for key in step.keys)), change)
