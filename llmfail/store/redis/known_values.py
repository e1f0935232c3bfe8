"""What was last seen of the server's values, how it is compared with what the server has now, and how writes
are said to it. No I/O.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.records.joint_write import RingSlot, Sum
from llmfail.core.records.record import Values, Write, Writes
from llmfail.store.redis.record_leaves import Fields, add_up, build_text, compare, flatten, load_record
from llmfail.store.redis.resp import Reply
from llmfail.store.redis.text_version import (
    MARK,
    VERSION_CHARS,
    add_version,
    has_version,
    text_of,
    version_of,
)

REMEMBERED_SECONDS = 10.0
MAX_RECENT_VALUES = 1000
"""At so many, the recent values become the earlier ones, and the earlier ones are forgotten."""
MAX_REMEMBERED_CHARS = 16_384
MAX_COMPARED_CHARS = 4096
"""A longer text begins with a version, so that it need not be sent to be compared."""
_LAST_MS = 10**15
SAME_END = "="
TOLD_SECONDS = 0.1
"""A sum that has a limit is told with a write when it was not told for so long."""


class KnownValue(Struct, frozen=True):
    """A value as it was last seen. ``kind`` says what of it the server can compare with its own: = the text,
    ^ its first characters, # the version of a record, - that there is none; empty for nothing. ``guard`` is
    that. ``is_record``: the server has it as leaves. ``ends`` is when it ends, as far as this process has
    said so, ``told_at`` the moment of the monotonic clock at which the server told it, and ``fields`` those
    of the text, where they are known.
    """

    text: str | None
    kind: str
    guard: bytes | str = ""
    is_record: bool = False
    ends: str | None = None
    told_at: float = -math.inf
    fields: Fields | None = None


class EncodedWrite(Struct, frozen=True):
    """A write as arguments of the script, the first of which is its kind, and what is known once it is made;
    None: nothing. ``adds``: it needs no comparison of the record, because it is made together with whatever
    others have changed. ``is_told``: the server answers with what the value is then.
    """

    arguments: tuple[Any, ...]
    known: KnownValue | None
    adds: bool = False
    is_told: bool = False


class Guards(NamedTuple):
    """The places of the keys that are compared, by what is compared, and with what: first those of ``texts``,
    then of ``heads``, then of ``versions``.
    """

    absent: list[int]
    texts: list[int]
    heads: list[int]
    versions: list[int]
    wanted: list[bytes | str]


NO_VALUE = KnownValue(None, "-")


class KnownValues:
    """Of one process. ``remembers``: also between two verbs."""

    def __init__(self, *, remembers: bool) -> None:
        self._remembers = remembers
        self.seen: dict[str, KnownValue] = {}
        """What the verb under way has read."""
        self._is_recalled = False
        self._recent: dict[str, KnownValue] = {}
        self._earlier: dict[str, KnownValue] = {}
        self._micros = 0
        self._answered_at = -math.inf

    def recall(self, keys: Sequence[str]) -> tuple[Values, float] | None:
        """What is known of these, and a moment that is not after the server's clock; a key that is not known
        is taken to have no value. None where the server has not been heard lately.
        """
        passed = time.monotonic() - self._answered_at
        if not self._remembers or passed > REMEMBERED_SECONDS:
            return None
        recent, earlier = self._recent.get, self._earlier.get
        self.seen = {key: recent(key) or earlier(key) or NO_VALUE for key in keys}
        self._is_recalled = True
        return self._texts(), (self._micros + int(passed * 1e6)) / 1e6

    def is_guessed(self, key: str) -> bool:
        """Whether it was only taken to have no value."""
        return self._is_recalled and self.seen.get(key) is NO_VALUE

    def learn(self, keys: Sequence[str], micros: int, replies: Sequence[Reply]) -> tuple[Values, float]:
        """What the server has of these keys, at this moment of its clock."""
        self.seen = dict(zip(keys, map(_read_value, replies), strict=True))
        self._is_recalled = False
        for key, value in self.seen.items():
            self._keep(key, value)
        self._tick(micros)
        return self._texts(), micros / 1e6

    def learn_writes(self, writes: Mapping[str, EncodedWrite], micros: int, told: Sequence[Reply]) -> None:
        """That these were made, at this moment of its clock; ``told`` are the values of those it tells."""
        keys = [key for key, write in writes.items() if write.is_told]
        values = dict(zip(keys, map(_read_value, told), strict=True)) if len(keys) == len(told) else {}
        for key, write in writes.items():
            known = write.known
            if write.is_told:  # without a value the reply to this attempt was lost: who knows what is there
                value = values.get(key)
                known = value and replace(value, told_at=time.monotonic(), ends=known and known.ends)
            elif known is not None and write.arguments[0] == "P":
                known = replace(known, kind="#", guard=str(micros))
            self._keep(key, known)
        self._tick(micros)

    def _keep(self, key: str, value: KnownValue | None) -> None:
        if value is None or value.text is None or len(value.text) > MAX_REMEMBERED_CHARS:
            self._recent.pop(key, None)
            self._earlier.pop(key, None)
        elif self._remembers:
            self._recent[key] = value

    def _texts(self) -> Values:
        return {key: value.text for key, value in self.seen.items()}

    def _tick(self, micros: int) -> None:
        self._micros, self._answered_at = micros, time.monotonic()
        if len(self._recent) > MAX_RECENT_VALUES:
            self._earlier, self._recent = self._recent, {}


def encode_guards(
    keys: Sequence[str], known: KnownValues, writes: Mapping[str, EncodedWrite]
) -> Guards | None:
    """What the server compares; None where it must be read again first."""
    guards = Guards([], [], [], [], [])
    heads: list[bytes | str] = []
    versions: list[bytes | str] = []
    for place, key in enumerate(keys, 1):
        write = writes.get(key)
        if write is not None and write.adds:
            continue
        value = known.seen[key]
        kind = value.kind
        if not kind:
            return None
        if kind == "-":
            guards.absent.append(place)
        elif kind == "=":
            guards.texts.append(place)
            guards.wanted.append(value.guard)
        elif kind == "^":
            guards.heads.append(place)
            heads.append(value.guard)
        else:
            guards.versions.append(place)
            versions.append(value.guard)
    guards.wanted.extend((*heads, *versions))
    return guards


def encode_writes(writes: Writes, known: KnownValues, prefix: str) -> dict[str, EncodedWrite]:
    """Slots of rings come last, after the index that they go by."""
    slots = {
        key: write for key, write in writes.items() if write is not None and isinstance(write.how, RingSlot)
    }
    encoded = {
        key: _encode_write(write, known.seen.get(key)) for key, write in writes.items() if key not in slots
    }
    for place, (key, write) in enumerate(slots.items()):
        encoded[key] = _encode_slot(write, prefix, len(slots) - 1 - place)
    return encoded


def _encode_slot(write: Write, prefix: str, later: int) -> EncodedWrite:
    """``later``: how many more slots the update takes of the same ring."""
    how = write.how
    assert isinstance(how, RingSlot)
    ring = (prefix + how.prefix, prefix + how.index_key, f"/{how.leaf}", how.length, later)
    return EncodedWrite(("L", _mark_text(write.text), encode_end(write.expires_at), *ring), None)


def _encode_write(write: Write | None, before: KnownValue | None) -> EncodedWrite:
    if write is None:
        return EncodedWrite(("D",), NO_VALUE)
    ends = encode_end(write.expires_at)
    if isinstance(write.how, Sum) and before is not None:
        found = _encode_sum(write.text, ends, write.how, before)
        if found is not None:
            return found
    text = _mark_text(write.text)
    return EncodedWrite(("W", text, ends), KnownValue(write.text, *_guard_of(text)))


def _encode_sum(text: str, ends: str, how: Sum, before: KnownValue) -> EncodedWrite | None:
    """None for a text that is no record."""
    fields = load_record(text)
    if fields is None:
        return None
    if not before.is_record or before.text is None:
        return _encode_whole(text, fields, ends, how)
    found = compare(before.fields or load_record(before.text) or {}, fields, how)
    names = ["", *found.added_paths, *found.other_paths]
    total = limit = ""
    tells = False
    if how.limited:
        names.append("*")
        total = str(found.total)
        limit = str(how.limit) if how.limit is not None and found.total > 0 else ""
        tells = time.monotonic() - before.told_at > TOLD_SECONDS
    end = SAME_END if before.ends == ends else ends
    arguments = ("A", end, total, limit, not found.adds_only, tells, names, found.added, found.others)
    kind, guard = (before.kind, before.guard) if found.adds_only else ("", "")
    known = KnownValue(text, kind, guard, is_record=True, ends=ends, told_at=before.told_at, fields=fields)
    return EncodedWrite(arguments, known, adds=not how.fixed, is_told=tells)


def _encode_whole(text: str, fields: Fields, ends: str, how: Sum) -> EncodedWrite:
    leaves = dict(flatten(fields))
    if how.limited:
        leaves["*"] = str(add_up(fields, how))
    parts = [part for leaf in leaves.items() for part in leaf]
    known = KnownValue(text, "", is_record=True, ends=ends, fields=fields)
    return EncodedWrite(("P", ends, parts), known)


def encode_end(moment: float | None) -> str:
    """Milliseconds; empty for ever. Raises ValueError before anything is written."""
    if moment is None or moment * 1000 >= _LAST_MS:
        return ""
    if math.isnan(moment):
        raise ValueError("a value cannot end at a moment that is no number")
    return str(int(max(moment * 1000, 1)))


def _mark_text(text: str) -> str:
    """A long text gets a version, and so does one that looks as if it had one."""
    return add_version(text) if len(text) > MAX_COMPARED_CHARS or text[:1] == MARK else text


def _guard_of(text: str) -> tuple[str, str]:
    return ("^", text[:VERSION_CHARS]) if text[:1] == MARK else ("=", text)


def _read_value(reply: Reply) -> KnownValue:
    match reply:
        case bytes():
            guard = ("^", version_of(reply)) if has_version(reply) else ("=", reply)
            return KnownValue(text_of(reply), *guard)
        case [*fields] if fields:
            names = [field for field in fields if isinstance(field, bytes)]
            pairs = zip(names[::2], names[1::2], strict=True)
            version = next((value for name, value in pairs if not name), b"")
            return KnownValue(build_text(names), "#" if version else "", version, is_record=True)
        case _:
            return NO_VALUE
