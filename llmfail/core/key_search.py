"""Where a text has a key, or a part of one, in any written form.

A key is found by its runs: twelve characters of it in a row are enough, in any case of the letters, so that a
key without its last characters is found too. The text is searched as it is, and once more with its escapes
(HTML, URLs, JSON, quoted-printable) and its line breaks undone; hex and base64 are further forms of the key.

A run contains a word of eight bytes that begins at a multiple of four in the text, so that most texts are
known to have none by their words. It also contains a whole block of half its least length in the key, and
only blocks are looked for in the whole text. So a search takes time in proportion to the length of the text,
whatever it is.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from llmfail.core.escapes import UNFINISHED_ESCAPE, build_escape_pattern, undo_escape
from llmfail.core.model import Secret

MIN_RUN_CHARS = 12
"""So many characters of a key in a row are masked. A shorter key is masked as a whole."""
MIN_HELD_CHARS = 4
"""A text in pieces holds back so many characters from the middle of a key; from its beginning any number."""
MAX_ESCAPES = 200_000
"""Behind so many escapes of a key's characters the rest of a text counts as the key."""
_WORD_BYTES = 8
_WORD_STEP = 4
_ESCAPE_SIGNS = b"%=&\\\r\n"
_BASE64_ALPHABET = bytes.maketrans(b"-_", b"+/")
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


class Span(NamedTuple):
    """From one place in a text up to another."""

    start: int
    end: int


class KeyForm(NamedTuple):
    """One way to write a key, in lower case. ``blocks`` are parts of it with their places; each run of
    ``min_run`` contains one.
    """

    text: bytes
    min_run: int
    blocks: tuple[tuple[bytes, int], ...]


class Segment(NamedTuple):
    """A part of a text: as it stands, or an escape, which is undone in the copy."""

    start: int
    end: int
    is_escape: bool


class TextCopy(NamedTuple):
    """A text in lower case, without its escapes. ``places`` are those of the ``segments`` in the copy."""

    data: bytes
    places: Sequence[int]
    segments: Sequence[Segment]
    ends_at: int | None = None
    """Where the text was not read any further."""

    def span_of(self, start: int, end: int) -> Span:
        """The part of the text for a part of the copy, which is not empty."""
        return Span(self._locate(start).start, self._locate(end - 1).end)

    def _locate(self, index: int) -> Span:
        """Where the byte of the copy stands in the text."""
        number = bisect_right(self.places, index) - 1
        segment = self.segments[number]
        if segment.is_escape:
            return Span(segment.start, segment.end)
        place = segment.start + index - self.places[number]
        return Span(place, place + 1)


class KeySearch:
    """Looks for one key."""

    def __init__(self, key: Secret) -> None:
        plain = key.reveal().encode("utf-8", "surrogatepass")
        self._plain_forms = (_make_form(plain, 1), _make_form(plain.hex().encode(), 2))
        self._base64_forms = tuple(_iter_base64_forms(plain))
        self._escape = build_escape_pattern(key.reveal())
        forms = (*self._plain_forms, *self._base64_forms)
        self._texts = b"\0".join(form.text for form in forms)
        self._starts = tuple({form.text[:size] for form in forms for size in range(1, MIN_HELD_CHARS)})
        self._min_run = min(form.min_run for form in forms)
        texts = [form.text.translate(_BASE64_ALPHABET) for form in forms]
        self._words = frozenset(
            int.from_bytes(text[start : start + _WORD_BYTES], sys.byteorder)
            for text in texts
            for start in range(len(text) - _WORD_BYTES + 1)
        )

    def find(self, text: str) -> list[Span]:
        """The parts of the text that are parts of the key, in their order."""
        data = text.encode("utf-8", "surrogatepass")
        lowered = data.lower()
        if not (_may_have_escape(lowered) or self._may_have_run(lowered)):
            return []
        spans: list[Span] = []
        for copy in self._make_copies(data):
            spans += (copy.span_of(*run) for run in self._find_runs(copy.data))
            if copy.ends_at is not None:
                spans.append(Span(copy.ends_at, len(data)))
        return _to_characters(data, _merge(spans))

    def _may_have_run(self, data: bytes) -> bool:
        """Whether it has a word of the key; where runs may be too short to contain one, it always may."""
        size = len(data)
        if size < self._min_run:
            return False
        if self._min_run < _WORD_BYTES + _WORD_STEP - 1:
            return True
        view = memoryview(data.translate(_BASE64_ALPHABET))
        return not all(
            self._words.isdisjoint(view[start : size - (size - start) % _WORD_BYTES].cast("Q"))
            for start in (0, _WORD_STEP)
        )

    def find_open_end(self, text: str) -> int:
        """Where the end of the text may be the beginning of a part of the key, or of an escape; its length
        where it cannot be.
        """
        data = text.encode("utf-8", "surrogatepass")
        if not (_may_have_escape(data) or self._may_end_in_key(data.lower())):
            return len(text)
        unfinished = UNFINISHED_ESCAPE.search(data, max(0, len(data) - MIN_RUN_CHARS))
        start = len(data) if unfinished is None else unfinished.start()
        for copy in self._make_copies(data[:start]):
            begun = self._measure_begun(copy.data)
            if begun:
                start = min(start, copy.span_of(len(copy.data) - begun, len(copy.data)).start)
        return _count_characters(data[:start])

    def _make_copies(self, data: bytes) -> Iterator[TextCopy]:
        lowered = data.lower()
        yield TextCopy(lowered, (0,), (Segment(0, len(data), is_escape=False),))
        if self._escape.search(lowered):
            yield _undo_escapes(lowered, self._escape)

    def _find_runs(self, data: bytes) -> Iterator[tuple[int, int]]:
        if not self._may_have_run(data):
            return
        for form in self._plain_forms:
            yield from _iter_runs(data, form)
        in_base64 = data.translate(_BASE64_ALPHABET)
        for form in self._base64_forms:
            yield from _iter_runs(in_base64, form)

    def _may_end_in_key(self, data: bytes) -> bool:
        end = data[-MIN_HELD_CHARS:]
        in_base64 = end.translate(_BASE64_ALPHABET)
        return (
            end in self._texts
            or in_base64 in self._texts
            or end.endswith(self._starts)
            or in_base64.endswith(self._starts)
        )

    def _measure_begun(self, data: bytes) -> int:
        """How long the run is with which the data ends."""
        if not self._may_end_in_key(data):
            return 0
        in_base64 = data.translate(_BASE64_ALPHABET)
        return max(
            *(_measure_begun(data, form.text) for form in self._plain_forms),
            *(_measure_begun(in_base64, form.text) for form in self._base64_forms),
        )


@lru_cache(maxsize=64)
def search_for(key: Secret) -> KeySearch:
    return KeySearch(key)


def _make_form(text: bytes, chars_per_byte: float) -> KeyForm:
    lowered = text.lower()
    min_run = min(int(MIN_RUN_CHARS * chars_per_byte), len(lowered))
    size = (min_run + 1) // 2
    places = range(0, len(lowered) - size + 1, size)
    return KeyForm(lowered, min_run, tuple((lowered[place : place + size], place) for place in places))


def _may_have_escape(data: bytes) -> bool:
    return len(data.translate(None, _ESCAPE_SIGNS)) < len(data)


def _iter_base64_forms(key: bytes) -> Iterator[KeyForm]:
    """The characters that hold only bits of the key, wherever it is in a longer text written in base64. A
    character at either edge that also holds bits beside the key reveals four bits at most.
    """
    for before, first in ((0, 0), (1, 2), (2, 3)):
        yield _make_form(b64encode(bytes(before) + key)[first : (before + len(key)) * 8 // 6], 4 / 3)


def _undo_escapes(data: bytes, escape: re.Pattern[bytes]) -> TextCopy:
    pieces: list[bytes] = []
    places: list[int] = []
    segments: list[Segment] = []
    position = length = 0
    ends_at = None

    def add(piece: bytes, segment: Segment) -> None:
        nonlocal length
        if piece:
            pieces.append(piece)
            places.append(length)
            segments.append(segment)
            length += len(piece)

    for number, found in enumerate(escape.finditer(data)):
        if number == MAX_ESCAPES:
            ends_at = found.start()
            break
        add(data[position : found.start()], Segment(position, found.start(), is_escape=False))
        position = found.end()
        add(undo_escape(found), Segment(found.start(), position, is_escape=True))
    add(data[position:ends_at], Segment(position, len(data), is_escape=False))
    return TextCopy(b"".join(pieces), places, segments, ends_at)


def _iter_runs(data: bytes, form: KeyForm) -> Iterator[tuple[int, int]]:
    for block, place in form.blocks:
        index = data.find(block)
        while index >= 0:
            start = index - _measure_left(data[max(0, index - place) : index], form.text[:place])
            end = index + _measure_right(data[index : index + len(form.text) - place], form.text[place:])
            if end - start >= form.min_run:
                yield start, end
            index = data.find(block, max(end, index + 1) if end - start >= form.min_run else index + 1)


def _measure_right(data: bytes, text: bytes) -> int:
    """How many bytes the two have in common at their beginning."""
    low, high = 0, min(len(data), len(text))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if data[:middle] == text[:middle] else (low, middle - 1)
    return low


def _measure_left(data: bytes, text: bytes) -> int:
    """The same at their end."""
    return _measure_right(data[::-1], text[::-1])


def _measure_begun(data: bytes, text: bytes) -> int:
    """The longest end of the data that is a part of the text; a short one counts at its beginning only."""
    low, high = MIN_HELD_CHARS, min(len(data), len(text))
    if high < low or data[-low:] not in text:
        sizes = range(min(high, low - 1), 0, -1)
        return next((size for size in sizes if text.startswith(data[-size:])), 0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if data[-middle:] in text else (low, middle - 1)
    return low


def _merge(spans: Iterable[Span]) -> list[Span]:
    """In their order, with those that overlap as one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start < merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _to_characters(data: bytes, spans: Sequence[Span]) -> list[Span]:
    """The spans of bytes as spans of characters, those at the edges as a whole."""
    if data.isascii():
        return list(spans)
    found, counted, position = [], 0, 0
    for span in spans:
        counted += _count_characters(data[position : span.start])
        start = counted - (data[span.start] in _CONTINUATION_BYTES)
        counted += _count_characters(data[span.start : span.end])
        position = span.end
        found.append(Span(start, counted))
    return found


def _count_characters(data: bytes) -> int:
    return len(data.translate(None, _CONTINUATION_BYTES))
