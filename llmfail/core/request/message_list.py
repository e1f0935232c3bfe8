"""A conversation as callers write it: Messages, or mappings with ``role`` and ``content`` as the APIs of the
vendors have them. Only text so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from llmfail.core.conversation import Message, Role
from llmfail.core.errors import UsageError

SYSTEM_ROLES = frozenset({"system", "developer"})
ROLES = ("user", "assistant", *sorted(SYSTEM_ROLES))
_FIELDS = frozenset({"role", "content"})


class Conversation(NamedTuple):
    """The messages, and what stood before them as the system prompt."""

    messages: tuple[Message, ...]
    system: str | None = None


def read_conversation(written: Iterable[object]) -> Conversation:
    """Raises UsageError, which names the message by its place, counted from 1."""
    messages: list[Message] = []
    system: list[str] = []
    for number, one in enumerate(written, 1):
        if isinstance(one, Message):
            messages.append(one)
            continue
        role, text = _read_message(f"message {number}", one)
        if role not in SYSTEM_ROLES:
            messages.append(Message(cast("Role", role), text))
        elif messages:
            raise UsageError(f"message {number}: a {role} message stands before all others")
        else:
            system.append(text)
    return Conversation(tuple(messages), "\n\n".join(system) if system else None)


def _read_message(place: str, one: object) -> tuple[str, str]:
    if not isinstance(one, Mapping):
        kind = type(one).__name__
        raise UsageError(f"{place} is a Message, or a mapping with role and content, got {kind}")
    if unknown := sorted(map(str, one.keys() - _FIELDS)):
        raise UsageError(f"{place}: {unknown[0]!r} is not supported; a message has role and content")
    role = one.get("role")
    if role not in ROLES:
        raise UsageError(f"{place}: its role is one of {', '.join(ROLES)}, got {role!r}")
    return role, _read_text(place, one.get("content"))


def _read_text(place: str, content: object) -> str:
    """A text, or a list of parts that are texts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{place}: its content is a text, or a list of parts with a text each")
    return "\n\n".join(cast("list[str]", texts))
