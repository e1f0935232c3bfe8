"""A smaller request, made when no model answered the whole one: the middle of long texts is left out, a
shorter answer is asked for, and a prefix is added.

The beginning and the end stay because instructions stand there. The system prompt stays whole.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from llmfail.core.conversation import Attachment, Message, Part, Text, ToolResult, with_text
from llmfail.core.model import Request

OMISSION_MARK = "\n[…]\n"
"""It stands where the middle was."""
MIN_SPLIT_CHARS = len(OMISSION_MARK) + 2
"""Below this number of characters there is no room for a beginning and an end."""
MAX_CLUSTER_CHARS = 32
"""A cut moves by so many characters at most, to keep one visible sign whole."""


class ShortenLimits(Protocol):
    """The limits that the configuration sets; None: no change."""

    @property
    def keep_chars(self) -> int | None: ...

    @property
    def max_tokens(self) -> int | None: ...

    @property
    def prefix(self) -> str: ...


def shorten_request(request: Request, step: ShortenLimits) -> Request:
    """Every text and every text file is cut to ``keep_chars``, then the prefix is added to the last message
    of the user. Nothing grows except by the prefix.
    """
    messages = request.messages
    if step.keep_chars is not None:
        messages = tuple(_shorten_message(message, step.keep_chars) for message in messages)
    return replace(
        request,
        messages=_add_prefix(messages, step.prefix),
        max_tokens=min(request.max_tokens, step.max_tokens or request.max_tokens),
    )


def cut_middle(text: str, max_chars: int) -> str:
    """The text, or its beginning and its end: at most so many characters."""
    if len(text) <= max_chars:
        return text
    if max_chars < MIN_SPLIT_CHARS:
        return text[: _cut_at_or_before(text, max_chars)]
    head, tail = (max_chars - len(OMISSION_MARK) + 1) // 2, (max_chars - len(OMISSION_MARK)) // 2
    return (
        text[: _cut_at_or_before(text, head)]
        + OMISSION_MARK
        + text[_cut_at_or_after(text, len(text) - tail) :]
    )


def _shorten_message(message: Message, max_chars: int) -> Message:
    if isinstance(message.content, str):
        return replace(message, content=cut_middle(message.content, max_chars))
    return replace(message, content=tuple(_shorten_part(part, max_chars) for part in message.content))


def _shorten_part(part: Part, max_chars: int) -> Part:
    """Texts, text files and what tools gave; a thought or a call that is cut is none."""
    match part:
        case Text():
            return replace(part, text=cut_middle(part.text, max_chars))
        case Attachment():
            return _shorten_attachment(part, max_chars)
        case ToolResult(content=str() as content):
            return replace(part, content=cut_middle(content, max_chars))
        case ToolResult():
            return replace(part, content=tuple(_shorten_part(one, max_chars) for one in part.parts))
        case _:
            return part


def _shorten_attachment(file: Attachment, max_chars: int) -> Attachment:
    """Images and binary files stay as they are."""
    if file.kind != "text" or len(file.data) <= max_chars:
        return file
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return file
    return replace(file, data=cut_middle(text, max_chars).encode())


def _add_prefix(messages: tuple[Message, ...], prefix: str) -> tuple[Message, ...]:
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None or not prefix:
        return messages
    changed = with_text(messages[last], prefix + messages[last].text)
    return (*messages[:last], changed, *messages[last + 1 :])


def _cut_at_or_before(text: str, at: int) -> int:
    """The nearest place at or before ``at`` where a cut splits no sign; ``at`` itself when there is none."""
    places = range(at, max(at - MAX_CLUSTER_CHARS, 0), -1)
    return next((place for place in places if not _is_one_sign(text, place)), at)


def _cut_at_or_after(text: str, at: int) -> int:
    """The same, at or after ``at``."""
    places = range(at, min(at + MAX_CLUSTER_CHARS, len(text)))
    return next((place for place in places if not _is_one_sign(text, place)), at)


def _is_one_sign(text: str, at: int) -> bool:
    """Whether the characters on both sides of a place are one visible sign: a letter and its accent, a
    surrogate pair, the parts of an emoji, or a Windows line end.
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
