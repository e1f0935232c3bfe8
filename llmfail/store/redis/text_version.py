"""A text with a version before it, by which it is compared without being sent. No I/O."""

from __future__ import annotations

import os

MARK = "\x01"
VERSION_CHARS = 17
_MARK_BYTE = MARK.encode()


def add_version(text: str) -> str:
    """Another one each time."""
    return f"{MARK}{os.urandom(8).hex()}{text}"


def has_version(data: bytes) -> bool:
    return data[:1] == _MARK_BYTE


def version_of(data: bytes) -> bytes:
    return data[:VERSION_CHARS]


def text_of(data: bytes) -> str:
    """Whether or not it has a version."""
    return (data[VERSION_CHARS:] if has_version(data) else data).decode("utf-8", "replace")
