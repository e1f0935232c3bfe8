"""The lines of a batch: bytes as they come -> numbered lines -> what each asks, or what is wrong with it.

Knows the names and the JSON types of what a line may say. Whether a value will do is left to those who judge
the options of an ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

MAX_LINE_BYTES = 20 << 20
"""Bytes of a line; no provider takes a larger request."""
MALFORMED_LINE_KIND = "malformed_line"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Ref = str | int
"""The id that a line gives itself, else its number."""


class RawLine(NamedTuple):
    """A line as it was read, counted from 1; None in the place of one that is too long."""

    number: int
    text: bytes | None


class BatchLine(Struct, frozen=True):
    """What a line asks. ``options`` are those that it names, by the names of the Python API; durations may
    still be texts such as ``30s``.
    """

    number: int
    ref: Ref
    prompt: str
    options: Mapping[str, Any]


class MalformedLine(Struct, frozen=True):
    """A line that cannot be asked, and why, with its number."""

    ref: Ref
    error: str


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


class _LineFields(Struct, forbid_unknown_fields=True):
    """What a line may name; null is not to name it."""

    prompt: str = ""
    id: Ref | None = None
    feature: str | None = None
    model: str | list[str] | None = None
    system: str | None = None
    template: str | None = None
    params: dict[str, str | int | float] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: str | list[str] | None = None
    schema: dict[str, Any] | None = None
    expect: str | list[str] | None = None
    timeout: float | str | None = None
    deadline: float | str | None = None
    wait: float | str | None = None
    max_cost: int | float | str | None = None
    user: str | None = None
    no_cache: bool = False
    refresh: bool = False
    no_fallback: bool = False
    strict: bool = False
    queue: bool = False
    stream: bool = False
    hedge: float | str | None = None


class _LineId(Struct):
    """All that matters of a line that says something wrong besides."""

    id: Ref | None = None


_UNCHANGED_FIELDS = (
    "feature",
    "model",
    "system",
    "template",
    "max_tokens",
    "temperature",
    "schema",
    "expect",
    "timeout",
    "deadline",
    "wait",
    "max_cost",
    "user",
    "hedge",
)
_LINE_DECODER = msgspec.json.Decoder(str | _LineFields)
_ID_DECODER = msgspec.json.Decoder(_LineId)


def parse_line(raw: RawLine) -> BatchLine | MalformedLine | None:
    """None for a blank line."""
    number = raw.number
    if raw.text is None:
        return reject_line(number, number, f"longer than {MAX_LINE_BYTES >> 20} MiB, which no model takes")
    text = raw.text.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw.text
    if not text.strip():
        return None
    try:
        said = _LINE_DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return reject_line(number, _read_ref(text, number), _explain_error(text, error))
    if isinstance(said, str):
        return BatchLine(number, number, said, {})
    ref = number if said.id is None else said.id
    if said.no_cache and said.refresh:
        return reject_line(number, ref, "no_cache stores nothing and refresh stores a new answer; say one")
    return BatchLine(number, ref, said.prompt, _build_options(said))


def reject_line(number: int, ref: Ref, error: str) -> MalformedLine:
    return MalformedLine(ref, f"line {number}: {error}")


def _explain_error(text: bytes, error: Exception) -> str:
    """What is wrong with a line, in words of our own; where the library knows more, its words behind them."""
    if isinstance(error, RecursionError):
        return "nested too deep to be read"
    try:
        text.decode()
    except UnicodeDecodeError as undecodable:
        return f"not UTF-8 text (byte {undecodable.start})"
    if isinstance(error, msgspec.ValidationError):
        return f"not what a line may say: {error}"
    return f"not JSON: {error}"


def _read_ref(text: bytes, number: int) -> Ref:
    """The id, as far as it can be read."""
    try:
        named = _ID_DECODER.decode(text).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return number
    return number if named is None else named


def _build_options(said: _LineFields) -> dict[str, Any]:
    named = {name: value for name in _UNCHANGED_FIELDS if (value := getattr(said, name)) is not None}
    if said.params:
        named["parameters"] = {name: str(value) for name, value in said.params.items()}
    if said.stop is not None:
        named["stop"] = (said.stop,) if isinstance(said.stop, str) else tuple(said.stop)
    if said.no_cache or said.refresh:
        named["cache"] = "off" if said.no_cache else "refresh"
    if said.no_fallback:
        named["fallback"] = False
    return named | {name: True for name in ("strict", "queue", "stream") if getattr(said, name)}
