"""The hash of a conversation, continued from the turn before: each turn of it repeats all that was said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from llmfail.core.conversation import Attachment, Message, ToolResult, count_chars

if TYPE_CHECKING:
    from hashlib import _Hash

MIN_REMEMBERED_CHARS = 4_096
"""A shorter conversation is hashed anew, in some microseconds."""
MAX_REMEMBERED_HASHES = 1_024
REWRITTEN_MESSAGES = 3
"""So many at the end may be others in the next turn: a program moves the marks of what may be cached."""


def encode_identity(value: Any) -> bytes:  # noqa: ANN401 - any part of a request
    """A value as JSON, the same in every process and version. Raises UnicodeEncodeError for half a surrogate
    pair.
    """
    return msgspec.json.encode(value, enc_hook=dict)


def identities_of(parts: Sequence[Any] | None) -> list[Any] | None:
    """What of them is hashed: of a file the hash of what is in it."""
    return None if parts is None else [_identity_of(part) for part in parts]


def hash_conversation(head: bytes, messages: Sequence[Message]) -> _Hash:
    """SHA-256 of ``head`` and the messages as JSON with commas between them, to which more can be added.
    Raises UnicodeEncodeError for half a surrogate pair.
    """
    is_short = sum(map(count_chars, messages)) < MIN_REMEMBERED_CHARS
    is_remembered = not is_short and sys.flags.hash_randomization
    names = list(accumulate(messages, _name_after, initial=hash(head))) if is_remembered else []
    count, found = _find_longest(names) or (0, sha256(head))
    for message in messages[count:]:
        found.update(b"," * bool(count) + encode_identity(identity_of_message(message)))
        count += 1
        if names and count >= len(messages) - REWRITTEN_MESSAGES:
            _remember(names[count], found)
    return found


_remembered: dict[int, _Hash] = {}
"""The hashes so far, by a name of all that is in them, so that no text is kept for it."""


def _find_longest(names: Sequence[int]) -> tuple[int, _Hash] | None:
    """How many messages are in what is remembered, and the hash of them, to which more can be added."""
    for count in range(len(names) - 1, 0, -1):
        if (known := _remembered.get(names[count])) is not None:
            return count, known.copy()
    return None


def _remember(name: int, hashed: _Hash) -> None:
    if len(_remembered) >= MAX_REMEMBERED_HASHES:
        _remembered.clear()
    _remembered[name] = hashed.copy()


def _name_after(before: int, message: Message) -> int:
    """Of the conversation up to this message. Nobody can aim at the name of another's: Python's hashes are
    keyed by process, and where PYTHONHASHSEED fixes the key, nothing is remembered.
    """
    try:
        return hash((before, message))
    except TypeError:  # of JSON
        return hash((before, encode_identity(identity_of_message(message))))


def identity_of_message(message: Message) -> tuple[Any, ...]:
    if isinstance(message.content, str) and message.marks is None:
        return message.role, message.content, []
    return message.role, identities_of(message.parts), message.marks


def _identity_of(part: Any) -> Any:  # noqa: ANN401 - any part of a request
    if isinstance(part, Attachment):
        return [msgspec.structs.replace(part, data=b""), sha256(part.data).hexdigest()]
    if isinstance(part, ToolResult):
        return [msgspec.structs.replace(part, content=""), identities_of(part.parts)]
    return part
