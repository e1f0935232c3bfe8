"""Masking a key: a reply may repeat it in any written form, and none of them is passed on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from llmfail.core.conversation import Part
from llmfail.core.key_search import Span, search_for
from llmfail.core.model import Secret

MASK = "[key]"
MIN_KEY_CHARS = 8
"""The letters of a shorter key may be part of any answer, and its encoded forms part of any note."""
MIN_MASKED_CHARS = 4
"""A text of fewer characters is not a key."""
MAX_PLACEHOLDER_CHARS = 24
"""A text of so many characters is a real key, whatever it is made of."""
CONTEXT_CHARS = 48
"""So much of what was shown of a stream is remembered: three characters of a key, in whatever way written."""
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
    """The text without the key, and without any part of it that is long enough."""
    if key is None or not text:
        return text
    plain = key.reveal()
    if len(plain) < MIN_KEY_CHARS:
        return text.replace(plain, MASK) if len(plain) >= MIN_MASKED_CHARS else text
    return _mask_spans(text, search_for(key).find(text))


def mask_bytes(data: bytes, key: Secret | None) -> bytes:
    """``mask_key`` for what is about to be sent; the same object where there is nothing to mask."""
    text = data.decode("utf-8", "surrogateescape")
    masked = mask_key(text, key)
    return data if masked == text else masked.encode("utf-8", "surrogateescape")


def _mask_spans(text: str, spans: Sequence[Span]) -> str:
    if not spans:
        return text
    starts = [0, *(span.end for span in spans)]
    ends = [*(span.start for span in spans), len(text)]
    return MASK.join(text[start:end] for start, end in zip(starts, ends, strict=True))


def mask_part(part: Part, key: Secret | None) -> Part:
    """A part of an answer without the key, wherever in it that stands."""
    text = msgspec.json.encode(part).decode()
    masked = mask_key(text, key)
    return part if masked == text else msgspec.json.decode(masked, type=Part)


class StreamRedactor:
    """``mask_key`` for a text that comes in pieces: what may be the beginning of the key is ``withheld``
    until more of the text is there. Of a part from the middle of the key, up to three characters are shown
    before it is known for one.
    """

    def __init__(self, key: Secret | None) -> None:
        self._key = key if is_masked_in_answers(key) else None
        self._before = ""
        self.withheld = ""

    def feed(self, piece: str) -> str:
        """The text that may be shown after this piece."""
        if self._key is None:
            return piece
        search = search_for(self._key)
        text = self._before + self.withheld + piece
        shown = len(self._before)
        start, found = search.find_open_end(text), search.find(text)
        while found and found[-1].end > start:
            start = min(start, found.pop().start)
        start = max(start, shown)
        spans = [Span(max(span.start, shown) - shown, span.end - shown) for span in found if span.end > shown]
        self._before, self.withheld = text[max(0, start - CONTEXT_CHARS) : start], text[start:]
        return _mask_spans(text[shown:start], spans)

    @property
    def has_key_part(self) -> bool:
        """Whether the withheld text may be a part of the key."""
        return len(self.withheld) >= MIN_KEY_CHARS

    @property
    def rest(self) -> str:
        """The withheld text, masked: how a text ends that ends here."""
        return mask_key(self.withheld, self._key)

    def flush(self) -> str:
        """The same, which is withheld no more."""
        rest, self.withheld = self.rest, ""
        return rest
