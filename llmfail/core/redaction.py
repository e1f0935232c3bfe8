"""Masking a key: a reply may repeat it in any written form, and none of them is passed on."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from urllib.parse import quote

import msgspec

from llmfail.core.conversation import Part
from llmfail.core.model import Secret

MASK = "[key]"
MIN_KEY_CHARS = 8
"""The letters of a shorter key may be part of any answer, and its encoded forms part of any note."""
MIN_MASKED_CHARS = 4
"""A text of fewer characters is not a key."""
MAX_PLACEHOLDER_CHARS = 24
"""A text of so many characters is a real key, whatever it is made of."""
_WORD_LIKE = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)(?:[-_.](?:[A-Z]?[a-z]+|[A-Z]+))*")


def is_masked_in_answers(key: Secret | None) -> bool:
    """Whether a key is masked in an answer too, which must not be changed without need. Servers that need no
    key get a placeholder (``password``, ``lm-studio``, ``not-needed``): a short text written like words,
    without a digit or a capital within a word. It stays in answers; in notes and errors it is masked as well.
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


def mask_part(part: Part, key: Secret | None) -> Part:
    """A part of an answer without the key, wherever in it that stands."""
    text = msgspec.json.encode(part).decode()
    masked = mask_key(text, key)
    return part if masked == text else msgspec.json.decode(masked, type=Part)


class StreamRedactor:
    """``mask_key`` for a text that comes in pieces: what may be the beginning of the key is ``withheld``
    until more of the text is there.
    """

    def __init__(self, key: Secret | None) -> None:
        self._key = key if is_masked_in_answers(key) else None
        self.withheld = ""

    def feed(self, piece: str) -> str:
        """The text that may be shown after this piece."""
        if self._key is None:
            return piece
        text = mask_key(self.withheld + piece, self._key)
        start = _find_key_start(text, _list_forms(self._key))
        self.withheld = text[start:]
        return text[:start]

    @property
    def has_key_part(self) -> bool:
        """Whether the withheld text may be a part of the key."""
        return len(self.withheld) >= MIN_KEY_CHARS

    def flush(self) -> str:
        """The withheld text at the end, which is no key."""
        rest, self.withheld = self.withheld, ""
        return rest


def _find_key_start(text: str, forms: Sequence[str]) -> int:
    """Where the end of the text may begin one of these forms; its length when it does not."""
    firsts = {form[0] for form in forms}
    for start in range(max(0, len(text) - len(forms[0]) + 1), len(text)):
        if text[start] in firsts and any(form.startswith(text[start:]) for form in forms):
            return start
    return len(text)


@lru_cache(maxsize=64)
def _list_forms(key: Secret) -> tuple[str, ...]:
    """The key as it is, and as JSON, Python, HTML, a URL, hex or base64 would write it; the longest first."""
    plain = key.reveal()
    if len(plain) < MIN_KEY_CHARS:
        return (plain,) if len(plain) >= MIN_MASKED_CHARS else ()
    forms = {
        plain,
        json.dumps(plain)[1:-1],
        repr(plain)[1:-1],
        escape(plain),
        quote(plain),
        quote(plain, safe=""),
    }
    forms |= {form.replace("/", "\\/") for form in forms}
    encoded = plain.encode()
    forms |= {encoded.hex(), encoded.hex().upper(), *_iter_base64_forms(encoded)}
    return tuple(sorted(forms, key=len, reverse=True))


def _iter_base64_forms(key: bytes) -> Iterator[str]:
    """The characters that hold only bits of the key, wherever it is in a longer text written in base64. A
    character at either edge that also holds bits beside the key reveals four bits at most.
    """
    for encode in (b64encode, urlsafe_b64encode):
        for before, first in ((0, 0), (1, 2), (2, 3)):
            yield encode(bytes(before) + key).decode()[first : (before + len(key)) * 8 // 6]
