"""The body of a reply as a value, parsed once and read by both ``classify`` and the wire formats.

NaN and Infinity are not JSON, but some servers write them, and they are read as numbers: an answer that was
paid for is not thrown away because of a count beside it. A reader of a number must check it. What is nested
so deeply that it exhausts the parser is not JSON, and neither is what would take long to read because it is
made of more values than any answer.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

_HTML_PREFIXES = ("<!doctype html", "<html", "<head", "<body", "<center", "<h1", "<title", "<!--")
_JSON_WHITESPACE = b" \t\r\n"
_MAX_EXACT_DIGITS = 30
"""A longer whole number is no count, and reading it exactly would take ever longer."""
MAX_VALUES = 500_000
"""Values in a body: the commas, arrays and objects of the longest answer with probabilities are fewer."""
_MAX_LENIENT_BYTES = 4 << 20
_MAX_KEPT_BYTES = 64 * 1024
"""Bytes of a body that is not JSON that anybody looks at."""


class NotJson(Struct, frozen=True):
    """A body that is empty, or text, or an HTML page of an intermediary."""

    text: str
    has_too_many_values: bool = False

    @property
    def is_html(self) -> bool:
        return self.text.lstrip()[:20].lower().startswith(_HTML_PREFIXES)

    def __str__(self) -> str:
        if self.has_too_many_values:
            return "JSON of more values than any answer has"
        if not self.text.strip():
            return "an empty body"
        return "an HTML page instead of JSON" if self.is_html else "a body that is not JSON"


Payload = Any
"""A JSON value, or NotJson."""


def parse(body: bytes, *, max_values: int = MAX_VALUES) -> Payload:
    """Never raises. Blank lines in front, sent to keep a connection alive, are skipped."""
    if len(body) > max_values and sum(map(body.count, b",[{")) > max_values:
        return NotJson("", has_too_many_values=True)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _parse_leniently(body)


def _parse_leniently(body: bytes) -> Payload:
    """The value with NaN, Infinity and very long numbers allowed."""
    if not body.strip(_JSON_WHITESPACE):
        return NotJson("")
    if len(body) <= _MAX_LENIENT_BYTES:
        try:
            return json.loads(body, parse_int=_parse_whole_number)
        except (ValueError, RecursionError):
            pass
    return NotJson(body[:_MAX_KEPT_BYTES].decode("utf-8", "replace"))


def _parse_whole_number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_EXACT_DIGITS else float(digits)
