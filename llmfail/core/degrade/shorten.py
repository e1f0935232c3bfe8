"""A smaller request out of one that nobody answered: the middle of long texts left out, a shorter answer
asked for, a few words in front.

The beginning and the end stay because that is where instructions stand. The system prompt stays whole.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from llmfail.core.model import Attachment, Message, Request

GAP = "\n[…]\n"
"""What stands where the middle was."""
SMALLEST = len(GAP) + 2
"""Characters below which there is no room for a beginning and an end."""
LONGEST_CLUSTER = 32
"""Characters that a cut moves at most to spare what is one sign to a reader."""


class Simplified(Protocol):
    """How a request is made smaller, as the configuration says it; None keeps."""

    @property
    def keep_chars(self) -> int | None: ...

    @property
    def max_tokens(self) -> int | None: ...

    @property
    def prefix(self) -> str: ...


def simplified(request: Request, step: Simplified) -> Request:
    """Every text and every text file cut to ``keep_chars`` by itself, then the prefix in front of the last
    message of the user. Nothing grows but by the prefix.
    """
    messages = request.messages
    if step.keep_chars is not None:
        messages = tuple(_shortened(message, step.keep_chars) for message in messages)
    return replace(
        request,
        messages=_prefixed(messages, step.prefix),
        max_tokens=min(request.max_tokens, step.max_tokens or request.max_tokens),
    )


def without_middle(text: str, most: int) -> str:
    """The text, or its beginning and its end: at most so many characters."""
    if len(text) <= most:
        return text
    if most < SMALLEST:
        return text[: _before(text, most)]
    head, tail = (most - len(GAP) + 1) // 2, (most - len(GAP)) // 2
    return text[: _before(text, head)] + GAP + text[_behind(text, len(text) - tail) :]


def _shortened(message: Message, most: int) -> Message:
    attachments = tuple(_shortened_file(file, most) for file in message.attachments)
    return replace(message, text=without_middle(message.text, most), attachments=attachments)


def _shortened_file(file: Attachment, most: int) -> Attachment:
    """Images, and files that are no text, stay as they are."""
    if file.is_image or len(file.data) <= most:
        return file
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return file
    return replace(file, data=without_middle(text, most).encode())


def _prefixed(messages: tuple[Message, ...], prefix: str) -> tuple[Message, ...]:
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None or not prefix:
        return messages
    changed = replace(messages[last], text=prefix + messages[last].text)
    return (*messages[:last], changed, *messages[last + 1 :])


def _before(text: str, at: int) -> int:
    """The nearest place at or before ``at`` where a cut takes no sign apart; ``at`` itself when none is."""
    places = range(at, max(at - LONGEST_CLUSTER, 0), -1)
    return next((place for place in places if not _joined(text, place)), at)


def _behind(text: str, at: int) -> int:
    """The same, at or behind."""
    places = range(at, min(at + LONGEST_CLUSTER, len(text)))
    return next((place for place in places if not _joined(text, place)), at)


def _joined(text: str, at: int) -> bool:
    """Whether the characters on both sides of a place are one sign: an accent and its letter, the two halves
    of a pair, the parts of an emoji, the end of a line of Windows.
    """
    from unicodedata import category

    left, right = text[at - 1], text[at]
    return (
        category(right).startswith("M")
        or "\u200d" in {left, right}
        or "\U0001f3fb" <= right <= "\U0001f3ff"
        or ("\ud800" <= left <= "\udbff" and "\udc00" <= right <= "\udfff")
        or ("\U0001f1e6" <= left <= "\U0001f1ff" and "\U0001f1e6" <= right <= "\U0001f1ff")
        or left + right == "\r\n"
    )
