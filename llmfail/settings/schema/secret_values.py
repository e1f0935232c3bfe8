"""Secrets of a configuration: keys, what headers say, URLs of webhooks. None of them is ever shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from llmfail.core.model import Secret
from llmfail.settings.schema.scalars import Scalar, parse_text, split_url


class KeySource(Secret):
    """A key that stands in a file, or that a command prints; ``settings.reading.key_sources`` gets it."""

    __slots__ = ("command", "file")

    def __init__(self, file: str | None, command: tuple[str, ...]) -> None:
        self.file = file
        self.command = command

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySource) and (other.file, other.command) == (self.file, self.command)

    def __hash__(self) -> int:
        return hash((self.file, self.command))


def _parse_key_source(value: Mapping[str, object]) -> KeySource:
    match value:
        case {"file": str(file), **rest} if file and not rest:
            return KeySource(file, ())
        case {"command": [*words], **rest} if (
            words and not rest and all(isinstance(one, str) for one in words)
        ):
            return KeySource(None, tuple(map(str, words)))
        case _:
            raise ValueError("a key is a text, {file: PATH} or {command: [PROGRAM, ARGUMENT, …]}")


def _parse_key(value: object) -> Secret | None:
    """A key without the white space around it; None for an empty one and for ``none``."""
    if value is None:
        return None
    if isinstance(value, dict):
        return _parse_key_source(value)
    if not isinstance(value, str):
        raise ValueError("a key is text: put it in quotes")  # noqa: TRY004 - every bad value is a ValueError
    text = value.strip()
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("the key has characters that no key has (only visible ASCII can be sent)")
    return Secret(str(text)) if text not in {"", "none"} else None


def _parse_header(value: object) -> Secret:
    """What a header says. It may be a key, so it is never shown."""
    text = parse_text(value).strip()
    if not re.fullmatch(r"[ -~]*", text):
        raise ValueError("a header is sent as visible ASCII and blanks")
    return Secret(text)


def _parse_webhook_url(value: object) -> Secret | None:
    """Its path and query are secrets, so no message shows them."""
    found = _parse_key(value)
    if found is not None and split_url(found.reveal().partition("?")[0]) is None:
        raise ValueError("expected http(s)://host[:port][/path]")
    return found


ApiKey = Annotated[
    Secret, Scalar(_parse_key, {"type": ["string", "object"]}, text=True, secret=True, optional=True)
]
WebhookUrl = Annotated[
    Secret, Scalar(_parse_webhook_url, {"type": "string"}, text=True, secret=True, optional=True)
]
HeaderText = Annotated[Secret, Scalar(_parse_header, {"type": "string"}, text=True, secret=True)]
