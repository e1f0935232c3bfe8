"""One line of JSON as a text with a name. What is wrong with a line is a value: the other lines go on."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from llmfail.core.request.batch_line import LONGEST

SHAPE = 'a line is a JSON string, or an object such as {"text": "…", "id": 7}'
_TEXTS = ("text", "prompt")


class Row(Struct, frozen=True):
    """``number`` counts from 1; ``ref`` is the id of the line, else its number; ``flaw`` says why there is no
    text, and is empty when there is one.
    """

    number: int
    ref: str | int
    text: str = ""
    flaw: str = ""


def row_of(number: int, line: bytes | None) -> Row:
    """None is a line that was too long to be read."""
    if line is None:
        return Row(number, number, flaw=f"longer than {LONGEST >> 20} MiB")
    try:
        written = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return Row(number, number, flaw=f"not UTF-8 text (byte {error.start})")
    except (ValueError, RecursionError):
        return Row(number, number, flaw=f"not JSON; {SHAPE}")
    return _row(number, {"text": written} if isinstance(written, str) else written)


def _row(number: int, fields: object) -> Row:
    if not isinstance(fields, dict):
        return Row(number, number, flaw=SHAPE)
    said = fields.get("id")
    if said is None:
        ref: str | int = number
    elif isinstance(said, str | int) and not isinstance(said, bool):
        ref = said
    else:
        return Row(number, number, flaw="its id is neither a text nor a whole number")
    flaw = _flaw(fields)
    return Row(number, ref, flaw=flaw) if flaw else Row(number, ref, _text(fields))


def _text(fields: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever was written
    return next((fields[name] for name in _TEXTS if name in fields), None)


def _flaw(fields: dict[str, Any]) -> str:
    unknown = fields.keys() - {*_TEXTS, "id"}
    if unknown:
        return f"unknown key {min(unknown)!r}; {SHAPE}"
    text = _text(fields)
    if len(fields.keys() & set(_TEXTS)) != 1 or not isinstance(text, str):
        return SHAPE
    if not text.strip():
        return "the text is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "its text has half of a surrogate pair, which is no text"
    return ""
