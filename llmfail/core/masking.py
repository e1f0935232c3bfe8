"""A key that is sent to somebody may come back in whatever form they write it: none of them goes further."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import lru_cache
from html import escape
from urllib.parse import quote

from llmfail.core.model import Secret

MASK = "[key]"
SHORTEST = 8
"""Characters. The letters of a shorter key may stand in any answer, and its other forms in any note."""
PLACEHOLDER = 4
"""A key of fewer characters is none."""


def masked(text: str, key: Secret | None) -> str:
    """The text without the key."""
    if key is None or not text:
        return text
    for form in _forms(key):
        text = text.replace(form, MASK)
    return text


@lru_cache(maxsize=64)
def _forms(key: Secret) -> tuple[str, ...]:
    """The key as it is, and as JSON, Python, HTML, a URL or base64 would have it; the longest first."""
    plain = key.reveal()
    if len(plain) < SHORTEST:
        return (plain,) if len(plain) >= PLACEHOLDER else ()
    written = {
        plain,
        json.dumps(plain)[1:-1],
        repr(plain)[1:-1],
        escape(plain),
        quote(plain),
        quote(plain, safe=""),
    }
    written |= {form.replace("/", "\\/") for form in written}
    return tuple(sorted(written | set(_in_base64(plain.encode())), key=len, reverse=True))


def _in_base64(key: bytes) -> tuple[str, ...]:
    """What is the same wherever the key stands in a longer text that is written in base64."""
    return tuple(
        b64encode(bytes(before) + key).decode()[first : (before + len(key)) // 3 * 4]
        for before, first in ((0, 0), (1, 2), (2, 3))
    )
