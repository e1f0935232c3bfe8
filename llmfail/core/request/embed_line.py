"""One line of JSON as a text with a name. What is wrong with a line is a value: the other lines go on."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from llmfail.core.request.batch_line import MAX_LINE_BYTES, RawLine

EXPECTED_SHAPE = 'a line is a JSON string, or an object such as {"text": "…", "id": 7}'
_TEXT_KEYS = ("text", "prompt")


class EmbedLine(Struct, frozen=True):
    """``number`` counts from 1; ``ref`` is the id of the line, else its number. Where ``error`` says what is
    wrong with the line, it has no text.
    """

    number: int
    ref: str | int
    text: str = ""
    error: str = ""


def parse_embed_line(raw: RawLine) -> EmbedLine | None:
    """None for a blank line."""
    number = raw.number
    if raw.text is None:
        return EmbedLine(number, number, error=f"longer than {MAX_LINE_BYTES >> 20} MiB")
    if not raw.text.strip():
        return None
    try:
        written = json.loads(raw.text.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return EmbedLine(number, number, error=f"not UTF-8 text (byte {error.start})")
    except (ValueError, RecursionError):
        return EmbedLine(number, number, error=f"not JSON; {EXPECTED_SHAPE}")
    return _build_line(number, {"text": written} if isinstance(written, str) else written)


def _build_line(number: int, fields: object) -> EmbedLine:
    if not isinstance(fields, dict):
        return EmbedLine(number, number, error=EXPECTED_SHAPE)
    said = fields.get("id")
    if said is None:
        ref: str | int = number
    elif isinstance(said, str | int) and not isinstance(said, bool):
        ref = said
    else:
        return EmbedLine(number, number, error="its id is neither a text nor a whole number")
    flaw = _find_error(fields)
    return EmbedLine(number, ref, error=flaw) if flaw else EmbedLine(number, ref, _read_text(fields))


def _read_text(fields: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever was written
    return next((fields[name] for name in _TEXT_KEYS if name in fields), None)


def _find_error(fields: dict[str, Any]) -> str:
    unknown = fields.keys() - {*_TEXT_KEYS, "id"}
    if unknown:
        return f"unknown key {min(unknown)!r}; {EXPECTED_SHAPE}"
    text = _read_text(fields)
    if len(fields.keys() & set(_TEXT_KEYS)) != 1 or not isinstance(text, str):
        return EXPECTED_SHAPE
    if not text.strip():
        return "the text is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "its text has half of a surrogate pair, which is no text"
    return ""
