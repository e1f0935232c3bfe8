"""Values <-> versioned JSON text, the only form in which anything is stored.

A damaged text counts as no record, and is overwritten. A text of a newer version counts as no record too, but
is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from llmfail.core.records.joint_write import RingSlot, Sum, join_sums

VERSION = 1
_CURRENT_PREFIX = f'{{"v":{VERSION},'
_DONE_TEXT = f'{{"v":{VERSION}}}'
_encoder = msgspec.json.Encoder()
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)

T = TypeVar("T")
R = TypeVar("R")
Values = Mapping[str, str | None]
"""Text per key; None where there is none."""


class Write(NamedTuple):
    """A value to store until ``expires_at`` (epoch seconds) or, with None, for ever. ``how`` allows a store
    that many hosts share to make it together with what others write.
    """

    text: str
    expires_at: float | None = None
    how: Sum | RingSlot | None = None


Writes = Mapping[str, Write | None]
"""What to write, per key; None deletes."""


class Record(Struct, frozen=True, tag_field="v", tag=VERSION):
    """A value that is stored: as a JSON object of its fields, with the version as ``v``."""


class NameSet(Record, frozen=True):
    """A set of names."""

    names: frozenset[str] = frozenset()


def dump(value: Record | Mapping[str, Any]) -> str:
    """A record, or fields without a type of their own."""
    fields = value if isinstance(value, Record) else {"v": VERSION, **value}
    return _encoder.encode(fields).decode()


def load(text: str | None, kind: type[T]) -> T | None:
    """The value, or None when there is no record that this version can use."""
    if text is None:
        return None
    try:
        return _decoder(kind).decode(text)
    except _DECODE_ERRORS:
        return None


def load_or_default(text: str | None, kind: type[T]) -> T:
    """The value, or a new one."""
    if text is None:
        return kind()
    try:
        return _decoder(kind).decode(text)
    except _DECODE_ERRORS:
        return kind()


def load_fields(text: str | None) -> dict[str, Any] | None:
    """The fields of a record without a type of its own."""
    fields = load(text, dict[str, Any])
    return fields if fields is not None and fields.pop("v", None) == VERSION else None


def is_newer(text: str | None) -> bool:
    """Whether a later version of llmfail wrote this, so that it must be left alone."""
    if text is None or text.startswith(_CURRENT_PREFIX):
        return False
    fields = load(text, dict[str, Any])
    version = fields.get("v") if fields else None
    return isinstance(version, int) and version > VERSION


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Made once for each kind: that takes two hundred times as long as to decode a record."""
    known = _decoders.get(kind)
    if known is None:
        known = _decoders[kind] = msgspec.json.Decoder(kind)
    return known


def without_newer(writes: Writes, values: Values) -> Writes:
    """The writes without those that would overwrite a record of a newer version."""
    for key in writes:
        text = values.get(key)
        if text is not None and not text.startswith(_CURRENT_PREFIX):
            return {key: write for key, write in writes.items() if not is_newer(values.get(key))}
    return writes


class StoreChange(NamedTuple):
    """A change of some records that a store makes: ``change(values, now)`` gives the writes."""

    keys: Sequence[str]
    change: Callable[[Values, float], Writes]


class SettlingChange(Struct, Generic[R], frozen=True):
    """A change for a store's ``update``, part of which has to be written also when the store cannot be used
    now: ``settlement`` is made once it can be used again.
    """

    change: Callable[[Values, float], tuple[Writes, R]]
    settlement: StoreChange

    def __call__(self, values: Values, now: float) -> tuple[Writes, R]:
        return self.change(values, now)


def settle_in_any_case(step: StoreChange) -> SettlingChange[None]:
    """All of the step, as a change without a result."""
    return SettlingChange(lambda values, now: (step.change(values, now), None), step)


def merge_writes(first: Writes, second: Writes) -> dict[str, Write | None]:
    """Both, the second after the first."""
    merged = {**first, **second}
    if len(merged) == len(first) + len(second):
        return merged
    for key in first.keys() & second.keys():
        before, after = first[key], second[key]
        if after is not None and isinstance(after.how, Sum):
            earlier = None if before is None else before.how
            how = join_sums(earlier, after.how) if isinstance(earlier, Sum) else None
            merged[key] = after._replace(how=how)
    return merged


class _Combined:
    """Several changes as one; those of one that is combined itself stand among them."""

    __slots__ = ("steps",)

    def __init__(self, changes: Sequence[StoreChange]) -> None:
        self.steps: list[StoreChange] = []
        for one in changes:
            self.steps += one.change.steps if isinstance(one.change, _Combined) else (one,)

    def __call__(self, values: Values, now: float) -> Writes:
        seen = dict(values)
        writes: Writes = {}
        for step in self.steps:
            step_writes = step.change(seen, now)
            if step_writes:
                seen.update(after_writes(step_writes))
                writes = merge_writes(writes, step_writes) if writes else step_writes
        return writes


def combine(changes: Sequence[StoreChange]) -> StoreChange:
    """Several changes as one. Each sees what those before it have written."""
    if len(changes) == 1:
        return changes[0]
    combined = _Combined(changes)
    return StoreChange(tuple(dict.fromkeys(key for step in combined.steps for key in step.keys)), combined)


def make_idempotent(name: str, store_change: StoreChange) -> StoreChange:
    """The change is made once under this name, however often it is asked for; for an hour at least."""
    key = f"done/{name}"

    def change(values: Values, now: float) -> Writes:
        if values[key] is not None:
            return {}
        return {**store_change.change(values, now), key: Write(_DONE_TEXT, hourly_expiry(now + 3600))}

    return StoreChange((*store_change.keys, key), change)


def hourly_expiry(moment: float) -> float:
    """When a record may expire that is needed until ``moment``: in whole hours, so that the index of these
    moments is seldom written.
    """
    return (moment // 3600 + 1) * 3600.0


def after_writes(writes: Writes) -> Values:
    """The values that a reader sees once this is written."""
    return {key: write.text if write else None for key, write in writes.items()}
