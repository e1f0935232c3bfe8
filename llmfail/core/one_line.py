"""A stranger's text as one short line for people."""

from __future__ import annotations

from llmfail.core.model import Secret
from llmfail.core.redaction import masked

LONGEST = 200
_READ = 10_000
"""No more of a text is looked at, whatever its size."""


def one_line(text: str, hide: Secret | None = None, longest: int = LONGEST) -> str:
    """Whitespace folded, everything that is not printable left out (no terminal escapes, no tricks with the
    direction of writing). The key is masked before anything is cut, so that no part of it stays behind, and
    again at the end, because it may have been taken apart by what was left out.
    """
    folded = " ".join(masked(text, hide)[:_READ].split())
    line = masked("".join(filter(str.isprintable, folded)), hide)
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
