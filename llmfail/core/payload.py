"""The body of a reply as a value, parsed once and read by both ``classify`` and the wire formats.

JSON is read strictly: NaN and Infinity are not JSON, and neither is what is nested so deeply that it
exhausts the parser.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from msgspec import Struct

_HTML = ("<!doctype html", "<html", "<head", "<body", "<center", "<h1", "<title", "<!--")
_BLANK = b" \t\r\n"


class NotJson(Struct, frozen=True):
    """A body that is empty, or text, or an HTML page of somebody in between."""

    text: str

    @property
    def html(self) -> bool:
        return self.text.lstrip()[:20].lower().startswith(_HTML)

    def __str__(self) -> str:
        if not self.text.strip():
            return "an empty body"
        return "an HTML page instead of JSON" if self.html else "a body that is not JSON"


Payload = Any
"""A JSON value, or NotJson."""


def parse(body: bytes) -> Payload:
    """Never raises. Blank lines in front, sent to keep a connection alive, are skipped."""
    if not body.strip(_BLANK):
        return NotJson("")
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NotJson(body.decode("utf-8", "replace"))


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
