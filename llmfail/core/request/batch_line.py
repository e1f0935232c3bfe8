"""The lines of a batch: bytes as they come -> numbered lines -> what each asks, or what is wrong with it.

Knows the names and the JSON types of what a line may say. Whether a value will do is left to those who judge
the options of an ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

LONGEST = 20 << 20
"""Bytes of a line; no provider takes a larger request."""
MALFORMED = "malformed_line"
_MARK = b"\xef\xbb\xbf"

Ref = str | int
"""The id that a line gives itself, else its number."""


class Raw(NamedTuple):
    """A line as it was read, counted from 1; None in the place of one that is too long."""

    number: int
    text: bytes | None


class Line(Struct, frozen=True):
    """What a line asks. ``options`` are those that it names, by the names of the Python API; durations may
    still be texts such as ``30s``.
    """

    number: int
    ref: Ref
    prompt: str
    options: Mapping[str, Any]


class Malformed(Struct, frozen=True):
    """A line that cannot be asked, and why, with its number."""

    ref: Ref
    why: str


class Splitter:
    """Cuts a stream of bytes into lines, in no more memory than the longest line may take."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._begun = bytearray()
        self._too_long = False
        self._number = 0

    def feed(self, data: bytes) -> list[Raw]:
        """The lines that end in this piece."""
        *ends, rest = data.split(b"\n")
        lines = [self._ended(end) for end in ends]
        self._keep(rest)
        return lines

    def end(self) -> list[Raw]:
        """The last line, where nothing ended it."""
        return [self._ended(b"")] if self._begun or self._too_long else []

    def _keep(self, part: bytes) -> None:
        self._too_long = self._too_long or len(self._begun) + len(part) > self._longest
        if self._too_long:
            self._begun.clear()
        else:
            self._begun += part

    def _ended(self, part: bytes) -> Raw:
        self._keep(part)
        self._number += 1
        line = Raw(self._number, None if self._too_long else bytes(self._begun))
        self._begun.clear()
        self._too_long = False
        return line


class _Fields(Struct, forbid_unknown_fields=True):
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


class _Named(Struct):
    """All that matters of a line that says something wrong besides."""

    id: Ref | None = None


_AS_THEY_ARE = (
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
_LINE = msgspec.json.Decoder(str | _Fields)
_NAME = msgspec.json.Decoder(_Named)


def read(raw: Raw) -> Line | Malformed | None:
    """None for a blank line."""
    number = raw.number
    if raw.text is None:
        return malformed(number, number, f"longer than {LONGEST >> 20} MiB, which no model takes")
    text = raw.text.removeprefix(_MARK) if number == 1 else raw.text
    if not text.strip():
        return None
    try:
        said = _LINE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return malformed(number, _ref(text, number), _why(text, error))
    if isinstance(said, str):
        return Line(number, number, said, {})
    ref = number if said.id is None else said.id
    if said.no_cache and said.refresh:
        return malformed(number, ref, "no_cache stores nothing and refresh stores a new answer; say one")
    return Line(number, ref, said.prompt, _options(said))


def malformed(number: int, ref: Ref, why: str) -> Malformed:
    return Malformed(ref, f"line {number}: {why}")


def _why(text: bytes, error: Exception) -> str:
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


def _ref(text: bytes, number: int) -> Ref:
    """The id, as far as it can be read."""
    try:
        named = _NAME.decode(text).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return number
    return number if named is None else named


def _options(said: _Fields) -> dict[str, Any]:
    named = {name: value for name in _AS_THEY_ARE if (value := getattr(said, name)) is not None}
    if said.params:
        named["parameters"] = {name: str(value) for name, value in said.params.items()}
    if said.stop is not None:
        named["stop"] = (said.stop,) if isinstance(said.stop, str) else tuple(said.stop)
    if said.no_cache or said.refresh:
        named["cache"] = "off" if said.no_cache else "refresh"
    if said.no_fallback:
        named["fallback"] = False
    return named | {name: True for name in ("strict", "queue", "stream") if getattr(said, name)}
