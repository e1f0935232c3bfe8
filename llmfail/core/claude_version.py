"""The version in the name of a Claude model: its tokenizer and its surcharges depend on it."""

from __future__ import annotations

import re

_VERSION = re.compile(r"claude\D{0,40}(\d{1,4})(?:[-.](\d{1,2})(?!\d))?")
NEWEST = (99, 0)


def version_of(model: str) -> tuple[int, int] | None:
    """``claude-haiku-4-5@20251001`` -> (4, 5); NEWEST for a name without a number, None for no Claude."""
    found = _VERSION.search(model)
    if found is None:
        return NEWEST if "claude" in model else None
    return int(found[1]), int(found[2] or 0)
