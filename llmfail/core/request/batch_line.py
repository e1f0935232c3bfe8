"""The lines of a batch: bytes as they come -> numbered lines -> what each asks, or what is wrong with it.

Knows the names and the JSON types of what a line may say. Whether a value will do is left to those who judge
the options of an ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from llmfail.core.request.ask_options import LINE_OPTIONS, AskOption, OptionKind, collect_options

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


_FIELD_TYPES: Final[Mapping[OptionKind, Any]] = {
    "text": str,
    "texts": str | list[str],
    "pairs": dict[str, str | int | float],
    "schema_file": dict[str, Any],
    "count": int,
    "number": float,
    "duration": float | str,
    "duration_or_zero": float | str,
    "hedge_delay": float | str,
    "dollars": int | float | str,
    "flag": bool,
}
"""The JSON types of an option in a line, where a schema stands itself and a number may be one."""
_LineFields = msgspec.defstruct(
    "_LineFields",
    [("prompt", str, ""), ("id", Ref | None, None)]
    + [(option.name, _FIELD_TYPES[option.kind] | None, None) for option in LINE_OPTIONS],
    forbid_unknown_fields=True,
)
"""What a line may name; null is not to name it."""


class _LineId(Struct):
    """All that matters of a line that says something wrong besides."""

    id: Ref | None = None


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
    fields = msgspec.structs.asdict(said)
    ref = number if fields["id"] is None else fields["id"]
    try:
        options = collect_options(fields, _convert_field, by_flag=False)
    except ValueError as error:
        return reject_line(number, ref, str(error))
    return BatchLine(number, ref, fields["prompt"], options)


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


def _convert_field(option: AskOption, value: Any) -> object:  # noqa: ANN401 - of the field's JSON type
    if option.kind == "pairs":
        return {name: str(one) for name, one in value.items()}
    if option.kind == "texts":
        return (value,) if isinstance(value, str) else tuple(value)
    return value
