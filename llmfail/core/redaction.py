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
SHORTEST = 8
"""Characters. The letters of a shorter key may stand in any answer, and its other forms in any note."""
PLACEHOLDER = 4
"""A key of fewer characters is none."""
LONGEST_WORD = 24
"""Characters. Whatever it is made of, a longer key is nobody's placeholder."""
_WORDS = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)(?:[-_.](?:[A-Z]?[a-z]+|[A-Z]+))*")


def hides_in_answers(key: Secret | None) -> bool:
    """Whether a key is to be masked even in an answer, which is somebody's text and must not be changed
    without need. Servers that want no key get one all the same (``password``, ``lm-studio``,
    ``not-needed``): what is written like words, without a digit or a capital within one, and is shorter than
    any key that is drawn at random, is such a placeholder and stays. In notes and errors it is masked too.
    """
    if key is None:
        return False
    plain = key.reveal()
    return len(plain) >= SHORTEST and not (len(plain) < LONGEST_WORD and _WORDS.fullmatch(plain))


def masked(text: str, key: Secret | None) -> str:
    """The text without the key."""
    if key is None or not text:
        return text
    for form in _forms(key):
        text = text.replace(form, MASK)
    return text


class Veil:
    """The same for a text that comes in pieces: what may be the beginning of the key is ``held`` back until
    more of it is there.
    """

    def __init__(self, key: Secret | None) -> None:
        self._key = key if hides_in_answers(key) else None
        self.held = ""

    def lift(self, piece: str) -> str:
        """What may be shown once this piece is there too."""
        if self._key is None:
            return piece
        text = masked(self.held + piece, self._key)
        start = _begins(text, _forms(self._key))
        self.held = text[start:]
        return text[:start]

    @property
    def hides(self) -> bool:
        """Whether what is held back tells something of the key."""
        return len(self.held) >= SHORTEST

    def rest(self) -> str:
        """What is held back at the end of the text, and is no key."""
        held, self.held = self.held, ""
        return held


def _begins(text: str, forms: Sequence[str]) -> int:
    """Where the tail of a text begins that may become one of these; its end when there is none."""
    firsts = {form[0] for form in forms}
    for start in range(max(0, len(text) - len(forms[0]) + 1), len(text)):
        if text[start] in firsts and any(form.startswith(text[start:]) for form in forms):
            return start
    return len(text)


@lru_cache(maxsize=64)
def _forms(key: Secret) -> tuple[str, ...]:
    """The key as it is, and as JSON, Python, HTML, a URL, hex or base64 would have it; the longest first."""
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
    encoded = plain.encode()
    written |= {encoded.hex(), encoded.hex().upper(), *_in_base64(encoded)}
    return tuple(sorted(written, key=len, reverse=True))


def _in_base64(key: bytes) -> Iterator[str]:
    """The characters that hold bits of the key alone, wherever it stands in a longer text that is written in
    base64. The one at either edge that it shares with what stands beside it tells four bits at most.
    """
    for encode in (b64encode, urlsafe_b64encode):
        for before, first in ((0, 0), (1, 2), (2, 3)):
            yield encode(bytes(before) + key).decode()[first : (before + len(key)) * 8 // 6]
