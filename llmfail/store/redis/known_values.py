"""What was last seen of the server's values, how it is compared with what the server has now, and how writes
are said to it. No I/O.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from llmfail.core.records.record import RingSlot, Sum, Values, Write, Writes
from llmfail.store.redis.record_leaves import add_up, build_text, compare, flatten
from llmfail.store.redis.resp import Reply

REMEMBERED_SECONDS = 10.0
MAX_REMEMBERED = 2000
MAX_REMEMBERED_CHARS = 16_384
MAX_COMPARED_BYTES = 4096
"""A longer text begins with a version, so that it need not be sent to be compared."""
_MARK = b"\x01"
_VERSION_BYTES = 17
_LAST_MS = 10**15
_ANY = b"*"

Arguments = tuple[bytes | str, ...]


class KnownValue(Struct, frozen=True):
    """A value as it was last seen. ``guard`` is what the server compares with its own; None where it cannot.
    ``is_record``: the server has it as leaves.
    """

    text: str | None
    guard: bytes | None
    is_record: bool = False


class EncodedWrite(Struct, frozen=True):
    """A write as arguments of the script, and what is known once it is made; None: nothing. ``adds``: it is
    made together with those of others, whatever they have added meanwhile.
    """

    arguments: Arguments
    known: KnownValue | None
    adds: bool = False


NO_VALUE = KnownValue(None, b"-")


class KnownValues:
    """Of one process. ``remembers``: also between two verbs."""

    def __init__(self, *, remembers: bool) -> None:
        self._remembers = remembers
        self._values: dict[str, KnownValue] = {}
        self._large: set[str] = set()
        self._micros = 0
        self._answered_at = -math.inf

    def recall(self, keys: Sequence[str]) -> tuple[Values, float] | None:
        """All of these, and a moment that is not after the server's clock; None where one is not known."""
        while self._large:
            self._values.pop(self._large.pop(), None)
        passed = time.monotonic() - self._answered_at
        if not self._remembers or passed > REMEMBERED_SECONDS or any(key not in self._values for key in keys):
            return None
        return self._texts_of(keys), (self._micros + int(passed * 1e6)) / 1e6

    def learn(self, keys: Sequence[str], micros: int, replies: Sequence[Reply]) -> tuple[Values, float]:
        """What the server has of these keys, at this moment of its clock."""
        if not self._remembers or len(self._values) > MAX_REMEMBERED:
            self._values.clear()
        self._values.update(zip(keys, map(_read_value, replies), strict=True))
        texts = self._texts_of(keys)
        self._large.update(key for key, text in texts.items() if len(text or "") > MAX_REMEMBERED_CHARS)
        self._tick(micros)
        return texts, micros / 1e6

    def learn_writes(self, writes: Mapping[str, EncodedWrite], micros: int) -> None:
        """That these were made, at this moment of its clock."""
        for key, write in writes.items():
            if write.known is None or len(write.known.text or "") > MAX_REMEMBERED_CHARS:
                self._values.pop(key, None)
            elif write.known.is_record and not write.adds:
                self._values[key] = KnownValue(write.known.text, b"#%d" % micros, is_record=True)
            else:
                self._values[key] = write.known
        self._tick(micros)

    def get(self, key: str) -> KnownValue | None:
        return self._values.get(key)

    def _texts_of(self, keys: Sequence[str]) -> Values:
        return {key: self._values[key].text for key in keys}

    def _tick(self, micros: int) -> None:
        self._micros, self._answered_at = micros, time.monotonic()


def encode_guards(
    keys: Sequence[str], known: KnownValues, writes: Mapping[str, EncodedWrite]
) -> list[bytes] | None:
    """What the server compares for each key; None where it must be read again first."""
    guards = []
    for key in keys:
        write, value = writes.get(key), known.get(key)
        adds = write is not None and write.adds
        guard = _ANY if adds else value.guard if value is not None else None
        if guard is None:
            return None
        guards.append(guard)
    return guards


def encode_writes(writes: Writes, known: KnownValues, prefix: str) -> dict[str, EncodedWrite]:
    """Slots of rings come last, after the index that they go by."""
    encoded = {key: _encode_write(write, known.get(key), prefix) for key, write in writes.items()}
    is_slot = {key: write is not None and isinstance(write.how, RingSlot) for key, write in writes.items()}
    return {key: encoded[key] for key in sorted(encoded, key=is_slot.__getitem__)}


def _encode_write(write: Write | None, before: KnownValue | None, prefix: str) -> EncodedWrite:
    if write is None:
        return EncodedWrite(("D",), NO_VALUE)
    ends = _encode_end(write.expires_at)
    how = write.how
    if isinstance(how, RingSlot):
        index = prefix + how.index_key
        return EncodedWrite(
            (
                "L",
                prefix + how.prefix,
                _encode_text(write.text),
                index,
                f"/{how.leaf}",
                str(how.length),
                ends,
            ),
            None,
        )
    if isinstance(how, Sum) and before is not None:
        found = _encode_sum(write.text, ends, how, before)
        if found is not None:
            return found
    data = _encode_text(write.text)
    return EncodedWrite(("W", data, ends), KnownValue(write.text, _guard_of(data)))


def _encode_sum(text: str, ends: str, how: Sum, before: KnownValue) -> EncodedWrite | None:
    """None for a text that is no record."""
    if before.is_record and before.text is not None:
        found = compare(before.text, text, how)
        if found is None:
            return None
        leaves = [part for one in found.changes for part in (one.operation, one.path, one.value, one.before)]
        total = "" if found.total is None else str(found.total)
        limit = str(how.limit) if how.limit is not None and (found.total or 0) > 0 else ""
        return EncodedWrite(
            ("A", ends, total, limit, str(len(found.changes)), *leaves),
            KnownValue(text, None, is_record=True),
            adds=True,
        )
    whole = flatten(text)
    if whole is None:
        return None
    fields = dict(whole)
    if how.limited:
        fields["*"] = b"%d" % add_up(whole, how)
    parts = [part for leaf in fields.items() for part in leaf]
    return EncodedWrite(("P", ends, str(len(fields)), *parts), KnownValue(text, b"", is_record=True))


def _encode_end(moment: float | None) -> str:
    """Milliseconds; empty for ever. Raises ValueError before anything is written."""
    if moment is None or moment * 1000 >= _LAST_MS:
        return ""
    if math.isnan(moment):
        raise ValueError("a value cannot end at a moment that is no number")
    return str(int(max(moment * 1000, 1)))


def _encode_text(text: str) -> bytes:
    """A long text gets a version, and so does one that looks as if it had one."""
    data = text.encode()
    if len(data) > MAX_COMPARED_BYTES or data[:1] == _MARK:
        return _MARK + os.urandom(8).hex().encode() + data
    return data


def _guard_of(data: bytes) -> bytes:
    return b"^" + data[:_VERSION_BYTES] if data[:1] == _MARK else b"=" + data


def _read_value(reply: Reply) -> KnownValue:
    match reply:
        case bytes():
            data = reply[_VERSION_BYTES:] if reply[:1] == _MARK else reply
            return KnownValue(data.decode("utf-8", "replace"), _guard_of(reply))
        case [*fields] if fields:
            names = [field for field in fields if isinstance(field, bytes)]
            version = next(
                (value for name, value in zip(names[::2], names[1::2], strict=True) if not name), None
            )
            guard = None if version is None else b"#" + version
            return KnownValue(build_text(names), guard, is_record=True)
        case _:
            return NO_VALUE
