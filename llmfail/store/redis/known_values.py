"""What was last seen of the server's values, how it is compared with what the server has now, and how writes
are said to it. No I/O.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.records.joint_write import RingSlot, Sum
from llmfail.core.records.record import Values, Write, Writes
from llmfail.store.redis.record_leaves import Fields, add_up, build_text, compare, flatten, load_record
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
SAME_END = "="
TOLD_SECONDS = 0.1
"""A sum that has a limit is told with a write when it was not told for so long."""

Arguments = tuple[bytes | str, ...]


class KnownValue(Struct, frozen=True):
    """A value as it was last seen. ``guard`` is what the server compares with its own; None where it cannot.
    ``is_record``: the server has it as leaves. ``ends`` is when it ends, as far as this process has said so,
    ``told_at`` the moment of the monotonic clock at which the server told it, and ``fields`` those of the
    text, where they are known.
    """

    text: str | None
    guard: bytes | None
    is_record: bool = False
    ends: str | None = None
    told_at: float = -math.inf
    fields: Fields | None = None


class EncodedWrite(Struct, frozen=True):
    """A write as arguments of the script, and what is known once it is made; None: nothing. ``adds``: it
    needs no comparison of the record, because it is made together with whatever others have changed.
    ``is_told``: the server answers with what the value is then.
    """

    arguments: Arguments
    known: KnownValue | None
    adds: bool = False
    is_told: bool = False


NO_VALUE = KnownValue(None, b"-")


class KnownValues:
    """Of one process. ``remembers``: also between two verbs."""

    def __init__(self, *, remembers: bool) -> None:
        self._remembers = remembers
        self._values: dict[str, KnownValue] = {}
        self._large: set[str] = set()
        self._micros = 0
        self.guessed: set[str] = set()
        """Keys of the last recall that are only taken to have no value."""
        self._answered_at = -math.inf

    def recall(self, keys: Sequence[str]) -> tuple[Values, float] | None:
        """What is known of these, and a moment that is not after the server's clock; a key that is not known
        is taken to have no value. None where the server has not been heard lately.
        """
        while self._large:
            self._values.pop(self._large.pop(), None)
        passed = time.monotonic() - self._answered_at
        if not self._remembers or passed > REMEMBERED_SECONDS:
            return None
        self.guessed = {key for key in keys if key not in self._values}
        self._values.update(dict.fromkeys(self.guessed, NO_VALUE))
        return self._texts_of(keys), (self._micros + int(passed * 1e6)) / 1e6

    def learn(self, keys: Sequence[str], micros: int, replies: Sequence[Reply]) -> tuple[Values, float]:
        """What the server has of these keys, at this moment of its clock."""
        if not self._remembers or len(self._values) > MAX_REMEMBERED:
            self._values.clear()
        self.guessed = set()
        self._values.update(zip(keys, map(_read_value, replies), strict=True))
        texts = self._texts_of(keys)
        self._large.update(key for key, text in texts.items() if len(text or "") > MAX_REMEMBERED_CHARS)
        self._tick(micros)
        return texts, micros / 1e6

    def learn_writes(self, writes: Mapping[str, EncodedWrite], micros: int, told: Sequence[Reply]) -> None:
        """That these were made, at this moment of its clock; ``told`` are the values of those it tells."""
        self.guessed = set()
        for key, write in writes.items():
            if write.known is None or len(write.known.text or "") > MAX_REMEMBERED_CHARS:
                self._values.pop(key, None)
            elif write.arguments[0] == "P":
                self._values[key] = replace(write.known, guard=b"#%d" % micros)
            else:
                self._values[key] = write.known
        keys = [key for key, write in writes.items() if write.is_told]
        if len(keys) == len(told):
            for key, reply in zip(keys, told, strict=True):
                value = replace(_read_value(reply), told_at=time.monotonic())
                self._values[key] = replace(value, ends=self._values[key].ends)
        else:  # the reply to this attempt was lost: what is there now is not known
            for key in keys:
                self._values.pop(key, None)
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
    slots = {
        key: write for key, write in writes.items() if write is not None and isinstance(write.how, RingSlot)
    }
    encoded = {key: _encode_write(write, known.get(key)) for key, write in writes.items() if key not in slots}
    for place, (key, write) in enumerate(slots.items()):
        encoded[key] = _encode_slot(write, prefix, len(slots) - 1 - place)
    return encoded


def _encode_slot(write: Write, prefix: str, later: int) -> EncodedWrite:
    """``later``: how many more slots the update takes of the same ring."""
    how = write.how
    assert isinstance(how, RingSlot)
    ring = (prefix + how.prefix, prefix + how.index_key, f"/{how.leaf}", str(how.length), str(later))
    return EncodedWrite(("L", _encode_text(write.text), _encode_end(write.expires_at), *ring), None)


def _encode_write(write: Write | None, before: KnownValue | None) -> EncodedWrite:
    if write is None:
        return EncodedWrite(("D",), NO_VALUE)
    ends = _encode_end(write.expires_at)
    if isinstance(write.how, Sum) and before is not None:
        found = _encode_sum(write.text, ends, write.how, before)
        if found is not None:
            return found
    data = _encode_text(write.text)
    return EncodedWrite(("W", data, ends), KnownValue(write.text, _guard_of(data)))


def _encode_sum(text: str, ends: str, how: Sum, before: KnownValue) -> EncodedWrite | None:
    """None for a text that is no record."""
    fields = load_record(text)
    if fields is None:
        return None
    if not before.is_record or before.text is None:
        return _encode_whole(text, fields, ends, how)
    found = compare(before.fields or load_record(before.text) or {}, fields, how)
    total = "" if found.total is None else str(found.total)
    limit = str(how.limit) if how.limit is not None and (found.total or 0) > 0 else ""
    tells = bool(total) and time.monotonic() - before.told_at > TOLD_SECONDS
    end = SAME_END if before.ends == ends else ends
    flags = ("" if found.adds_only else "1", "1" if tells else "")
    head = ("A", end, total, limit, *flags, str(len(found.changes)))
    leaves = [part for one in found.changes for part in one]
    guard = before.guard if found.adds_only else None
    known = KnownValue(text, guard, is_record=True, ends=ends, told_at=before.told_at, fields=fields)
    return EncodedWrite((*head, *leaves), known, adds=not how.fixed, is_told=tells)


def _encode_whole(text: str, fields: Fields, ends: str, how: Sum) -> EncodedWrite:
    leaves = dict(flatten(fields))
    if how.limited:
        leaves["*"] = b"%d" % add_up(fields, how)
    parts = [part for leaf in leaves.items() for part in leaf]
    known = KnownValue(text, b"", is_record=True, ends=ends, fields=fields)
    return EncodedWrite(("P", ends, str(len(leaves)), *parts), known)


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
