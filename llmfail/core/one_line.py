"""A stranger's text as one short line for people."""

from __future__ import annotations

from llmfail.core.model import Secret
from llmfail.core.redaction import mask_key

MAX_CHARS = 200
_MAX_SCANNED_CHARS = 10_000
"""No more of a text is looked at, whatever its size."""


def one_line(text: str, hide: Secret | None = None, max_chars: int = MAX_CHARS) -> str:
    """Whitespace folded, everything that is not printable left out (no terminal escapes, no tricks with the
    direction of writing). The key is masked before anything is cut, so that no part of it stays behind, and
    again at the end, because it may have been taken apart by what was left out.
    """
    folded = " ".join(mask_key(text, hide)[:_MAX_SCANNED_CHARS].split())
    line = mask_key("".join(filter(str.isprintable, folded)), hide)
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"
