"""A stream of bytes as numbered lines."""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE_BYTES = 20 << 20
"""Bytes of a line; no provider takes a larger request."""


class RawLine(NamedTuple):
    """A line as it was read, counted from 1; None in the place of one that is too long."""

    number: int
    text: bytes | None


class LineSplitter:
    """Cuts a stream of bytes into lines, in no more memory than the longest line may take."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._unfinished = bytearray()
        self._is_too_long = False
        self._lines_read = 0

    def feed(self, data: bytes) -> list[RawLine]:
        """The lines that end in this piece."""
        *ends, rest = data.split(b"\n")
        lines = [self._complete_line(end) for end in ends]
        self._append(rest)
        return lines

    def finish(self) -> list[RawLine]:
        """The last line, where nothing ended it."""
        return [self._complete_line(b"")] if self._unfinished or self._is_too_long else []

    def _append(self, part: bytes) -> None:
        self._is_too_long = self._is_too_long or len(self._unfinished) + len(part) > self._max_bytes
        if self._is_too_long:
            self._unfinished.clear()
        else:
            self._unfinished += part

    def _complete_line(self, part: bytes) -> RawLine:
        self._append(part)
        self._lines_read += 1
        line = RawLine(self._lines_read, None if self._is_too_long else bytes(self._unfinished))
        self._unfinished.clear()
        self._is_too_long = False
        return line
