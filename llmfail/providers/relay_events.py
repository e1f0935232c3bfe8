"""The events of a relayed stream: passed on as the bytes that came, whole events only, without the key.

A key that is cut in two by events is found in what they say: events whose text may end with a part of it are
held until the next ones tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from llmfail.core.answer_piece import CallArguments, TextPiece, ThoughtPiece
from llmfail.core.key_search import MIN_HELD_CHARS
from llmfail.core.model import Secret
from llmfail.core.redaction import StreamRedactor, is_masked_in_answers, mask_bytes
from llmfail.providers.stream import StreamEvent

_BLANK_LINE = re.compile(rb"\n\n|\r\n\r\n|\r\r")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_MAX_GROUP_BYTES = 16 * 1024
_MAX_SEEN = 4096
"""Strings that events repeat."""
_NAMES = (TextPiece, ThoughtPiece, CallArguments)


class RelayedEvents:
    """``hides_usage``: the event that has nothing but the usage is for us alone."""

    def __init__(self, key: Secret | None, *, hides_usage: bool) -> None:
        self._key = key if is_masked_in_answers(key) else None
        self._hides_usage = hides_usage
        self._unfinished: list[bytes] = []
        self._held: list[bytes] = []
        self._channels: dict[tuple[type, int], _Channel] = {}
        self._seen: set[bytes] = set()

    def cut(self, data: bytes) -> Iterable[bytes]:
        """The events that are whole now, some at a time; with no data, at the end, what is left. An error
        stands alone, so that nobody is shown what is no answer.
        """
        if not data:
            rest, self._unfinished = b"".join(self._unfinished), []
            return (rest,) if rest else ()
        if self._unfinished or b"\r" in data or not data.endswith(b"\n\n"):
            data = self._take_whole(data)
        return _split_events(data) if b"error" in data else _split_groups(data)

    def _take_whole(self, data: bytes) -> bytes:
        """The events that this data completes."""
        tail = self._unfinished[-1][-3:] if self._unfinished else b""
        if not _BLANK_LINE.search(tail + data):
            self._unfinished.append(data)
            return b""
        whole = b"".join((*self._unfinished, data))
        end = max(whole.rfind(mark) + len(mark) for mark in (b"\n\n", b"\r\n\r\n", b"\r\r") if mark in whole)
        self._unfinished = [whole[end:]] if end < len(whole) else []
        return whole[:end]

    def pass_on(self, events: bytes, pieces: Sequence[StreamEvent]) -> bytes:
        """What may be shown now that these events say these pieces."""
        if self._hides_usage and _NO_CHOICES.search(events):
            events = b"".join(one for one in _split_events(events) if not _is_usage_alone(one))
        if self._key is None:
            return events
        self._held.append(events)
        said: dict[tuple[type, int], list[str]] = {}
        for piece in pieces:
            if isinstance(piece, _NAMES) and piece.text:
                number = piece.index if isinstance(piece, CallArguments) else 0
                said.setdefault((type(piece), number), []).append(piece.text)
        for name, texts in said.items():
            self._channels.setdefault(name, _Channel(self._key)).add(texts)
        return b"" if any(one.is_open for one in self._channels.values()) else self._release()

    def flush(self) -> bytes:
        """What was held, at the end."""
        for channel in self._channels.values():
            channel.end()
        return self._release() if self._held else b""

    def _release(self) -> bytes:
        events = b"".join(self._held)
        self._held = []
        said = [new for one in self._channels.values() if (new := one.release()) is not None]
        if said:
            events = b"".join(_replace_texts(one, said) for one in _split_events(events))
            if any(one.pieces for one in said):
                return b""  # The key is somewhere in them.
        return events if self._is_clean(events) else mask_bytes(events, self._key)

    def _is_clean(self, events: bytes) -> bool:
        """Whether what these events say besides what others have said has no part of the key. A key with a
        quotation mark may be in two of their strings.
        """
        if self._key is None or '"' in self._key.reveal():
            return False
        fresh = set(events.split(b'"')) - self._seen
        if len(self._seen) > _MAX_SEEN:
            self._seen.clear()
        self._seen |= fresh
        text = b'"'.join(fresh)
        return mask_bytes(text, self._key) is text


class _Replacement:
    """The pieces of a text with a key in it, and the text without the key, which stands for the first."""

    def __init__(self, pieces: list[str], text: str) -> None:
        self.pieces = pieces
        self.texts = [text, *("" for _ in pieces[1:])]


class _Channel:
    """A text that is said in pieces."""

    def __init__(self, key: Secret) -> None:
        self._redactor = StreamRedactor(key)
        self._pieces: list[str] = []
        self._before = self._shown = ""

    @property
    def is_open(self) -> bool:
        """Whether its end may be a part of the key."""
        return len(self._redactor.withheld) >= MIN_HELD_CHARS

    def add(self, texts: Sequence[str]) -> None:
        self._pieces += texts
        self._shown += self._redactor.feed("".join(texts))

    def end(self) -> None:
        self._shown += self._redactor.flush()

    def release(self) -> _Replacement | None:
        """What stands for the pieces since the last release, where the key was in them."""
        pieces, self._pieces = self._pieces, []
        whole, shown = self._before + "".join(pieces), self._shown + self._redactor.withheld
        before, self._before, self._shown = self._before, self._redactor.withheld, ""
        return _Replacement(pieces, shown.removeprefix(before)) if pieces and whole != shown else None


def _split_events(events: bytes) -> Iterator[bytes]:
    start = 0
    for found in _BLANK_LINE.finditer(events):
        yield events[start : found.end()]
        start = found.end()
    if start < len(events):
        yield events[start:]


def _split_groups(events: bytes) -> Iterator[bytes]:
    """Some events at a time, so that others have their turns between them."""
    if len(events) <= _MAX_GROUP_BYTES:
        yield from (events,) if events else ()
        return
    group: list[bytes] = []
    size = 0
    for event in _split_events(events):
        if group and size + len(event) > _MAX_GROUP_BYTES:
            yield b"".join(group)
            group, size = [], 0
        group.append(event)
        size += len(event)
    yield b"".join(group)


def _load_event(event: bytes) -> Any:  # noqa: ANN401 - JSON
    """What an event says; None where that is no JSON."""
    lines = (line.partition(b":")[2] for line in event.splitlines() if line.startswith(b"data:"))
    try:
        return msgspec.json.decode(b"\n".join(lines))
    except ValueError:
        return None


def _is_usage_alone(event: bytes) -> bool:
    said = _load_event(event) if _NO_CHOICES.search(event) else None
    return isinstance(said, Mapping) and said.get("choices") == [] and bool(said.get("usage"))


def _replace_texts(event: bytes, said: Sequence[_Replacement]) -> bytes:
    """The event with other texts, where it says one of the pieces."""
    document = _load_event(event)
    if document is None:
        return event
    changed = _replace_leaves(document, said)
    if changed == document:
        return event
    head = b"".join(line for line in event.splitlines(keepends=True) if not line.startswith(b"data:")).strip()
    data = b"data: " + msgspec.json.encode(changed) + b"\n\n"
    return head + b"\n" + data if head else data


def _replace_leaves(value: Any, said: Sequence[_Replacement]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        for one in said:
            if one.pieces and one.pieces[0] == value:
                one.pieces.pop(0)
                return one.texts.pop(0)
        return value
    if isinstance(value, Mapping):
        return {name: _replace_leaves(one, said) for name, one in value.items()}
    return [_replace_leaves(one, said) for one in value] if isinstance(value, list) else value
