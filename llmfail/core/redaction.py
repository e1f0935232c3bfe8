"""A key that is sent to somebody may come back in whatever form they write it: none of them goes further."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from urllib.parse import quote

from llmfail.core.model import Secret

MASK = "[key]"
MIN_KEY_CHARS = 8
"""Characters. The letters of a shorter key may stand in any answer, and its other forms in any note."""
MIN_MASKED_CHARS = 4
"""A key of fewer characters is none."""
MAX_PLACEHOLDER_CHARS = 24
"""Characters. Whatever it is made of, a longer key is nobody's placeholder."""
_WORD_LIKE = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)(?:[-_.](?:[A-Z]?[a-z]+|[A-Z]+))*")


def is_masked_in_answers(key: Secret | None) -> bool:
    """Whether a key is to be masked even in an answer, which is somebody's text and must not be changed
    without need. Servers that want no key get one all the same (``password``, ``lm-studio``,
    ``not-needed``): what is written like words, without a digit or a capital within one, and is shorter than
    any key that is drawn at random, is such a placeholder and stays. In notes and errors it is masked too.
    """
    if key is None:
        return False
    plain = key.reveal()
    return len(plain) >= MIN_KEY_CHARS and not (
        len(plain) < MAX_PLACEHOLDER_CHARS and _WORD_LIKE.fullmatch(plain)
    )


def mask_key(text: str, key: Secret | None) -> str:
    """The text without the key."""
    if key is None or not text:
        return text
    for form in _list_forms(key):
        text = text.replace(form, MASK)
    return text


class StreamRedactor:
    """The same for a text that comes in pieces: what may be the beginning of the key is ``held`` back until
    more of it is there.
    """

    def __init__(self, key: Secret | None) -> None:
        self._key = key if is_masked_in_answers(key) else None
        self.withheld = ""

    def feed(self, piece: str) -> str:
        """What may be shown once this piece is there too."""
        if self._key is None:
            return piece
        text = mask_key(self.withheld + piece, self._key)
        start = _find_key_start(text, _list_forms(self._key))
        self.withheld = text[start:]
        return text[:start]

    @property
    def has_key_part(self) -> bool:
        """Whether what is held back tells something of the key."""
        return len(self.withheld) >= MIN_KEY_CHARS

    def flush(self) -> str:
        """What is held back at the end of the text, and is no key."""
        held, self.withheld = self.withheld, ""
        return held


def _find_key_start(text: str, forms: Sequence[str]) -> int:
    """Where the tail of a text begins that may become one of these; its end when there is none."""
    firsts = {form[0] for form in forms}
    for start in range(max(0, len(text) - len(forms[0]) + 1), len(text)):
        if text[start] in firsts and any(form.startswith(text[start:]) for form in forms):
            return start
    return len(text)


@lru_cache(maxsize=64)
def _list_forms(key: Secret) -> tuple[str, ...]:
    """The key as it is, and as JSON, Python, HTML, a URL, hex or base64 would have it; the longest first."""
    plain = key.reveal()
    if len(plain) < MIN_KEY_CHARS:
        return (plain,) if len(plain) >= MIN_MASKED_CHARS else ()
    written = {
        plain,
        json.dumps(plain)[1:-1],
        repr(plain)[1:-1],
        escape(plain),
        quote(plain),
        quote(plain, safe=""),
    }
    written |= {form.replace("/", "\\/") for form in written}
    encoded = plain.encode()
    written |= {encoded.hex(), encoded.hex().upper(), *_iter_base64_forms(encoded)}
    return tuple(sorted(written, key=len, reverse=True))


def _iter_base64_forms(key: bytes) -> Iterator[str]:
    """The characters that hold bits of the key alone, wherever it stands in a longer text that is written in
    base64. The one at either edge that it shares with what stands beside it tells four bits at most.
    """
    for encode in (b64encode, urlsafe_b64encode):
        for before, first in ((0, 0), (1, 2), (2, 3)):
            yield encode(bytes(before) + key).decode()[first : (before + len(key)) * 8 // 6]
