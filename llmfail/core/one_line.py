"""A text from outside as one short line for people."""

from __future__ import annotations

from llmfail.core.model import Secret
from llmfail.core.redaction import mask_key

MAX_CHARS = 200
_MAX_SCANNED_CHARS = 10_000
"""Only so many characters of a text are read."""


def one_line(text: str, hide: Secret | None = None, max_chars: int = MAX_CHARS) -> str:
    """Whitespace folded, everything that is not printable left out (no terminal escapes, no changes of
    writing direction). The key is masked before the text is cut, so that no part of it remains, and again at
    the end, because characters that were left out may have split it.
    """
    if not text:
        return ""
    line = mask_key(text, hide)[:_MAX_SCANNED_CHARS]
    if not _is_one_line(line):
        line = mask_key("".join(filter(str.isprintable, " ".join(line.split()))), hide)
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"


def _is_one_line(text: str) -> bool:
    return text.isprintable() and "  " not in text and text.strip() == text
