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
    if is_short or not sys.flags.hash_randomization:
        return _continue_hash(sha256(head), messages, b"")
    names = list(accumulate(messages, _name_after, initial=hash(head)))
    for count in range(len(messages), 0, -1):
        if (known := _remembered.get(names[count])) is not None:
            found = _continue_hash(known.copy(), messages[count:], b",")
            break
    else:
        found = _continue_hash(sha256(head), messages, b"")
    if len(_remembered) >= MAX_REMEMBERED_HASHES:
        _remembered.clear()
    _remembered[names[-1]] = found.copy()
    return found


_remembered: dict[int, _Hash] = {}
"""The hashes so far, by a name of all that is in them, so that no text is kept for it."""


def _continue_hash(begun: _Hash, messages: Sequence[Message], comma: bytes) -> _Hash:
    for message in messages:
        begun.update(comma + encode_identity(identity_of_message(message)))
        comma = b","
    return begun


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
