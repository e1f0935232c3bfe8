"""The protocol of Redis (RESP2), as bytes: commands out, replies in. No socket.

Not a client library: importing redis-py takes 200 ms of processor time, and it sends a command again when the
reply was lost, which counts twice. A parser in C (hiredis) saves 20 us of a trip that takes 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

Reply = bytes | int | list["Reply"] | None

MAX_NAME_CHARS = 200
_CRLF = b"\r\n"


class RefusedCommand(Exception):
    """What the server answered instead of doing it. ``code`` is its first word, such as ``NOSCRIPT``."""

    def __init__(self, text: str) -> None:
        self.code = text.partition(" ")[0]
        super().__init__(text)


class BrokenReply(Exception):
    """The connection ended within a reply, or does not speak RESP."""


class ReplySource(Protocol):
    """Bytes as they come, with a buffer."""

    def readline(self) -> bytes: ...

    def read(self, size: int) -> bytes: ...


def encode_command(parts: Sequence[bytes | str | int]) -> bytes:
    """One command. Raises UnicodeEncodeError."""
    encoded = [
        _encode_name(part) if type(part) is str and len(part) <= MAX_NAME_CHARS else _encode_part(part)
        for part in parts
    ]
    return b"*%d\r\n" % len(encoded) + b"".join(encoded)


def _encode_part(part: bytes | str | int) -> bytes:
    data = part if isinstance(part, bytes) else str(part).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


_encode_name = lru_cache(maxsize=2000)(_encode_part)
"""Most are keys that come again and again."""


def read_reply(source: ReplySource) -> Reply:
    """The next reply. Raises RefusedCommand, BrokenReply, and what the source raises."""
    reply = _read(source)
    if isinstance(reply, RefusedCommand):
        raise reply
    return reply


def _read(source: ReplySource) -> Reply | RefusedCommand:
    line = source.readline()
    if line[-2:] != _CRLF:
        raise BrokenReply("it closed the connection" if not line else "it does not speak the Redis protocol")
    kind, rest = line[:1], line[1:-2]
    try:
        match kind:
            case b"$":
                return _read_bulk(source, int(rest))
            case b"*":
                return None if rest == b"-1" else [_read_item(source) for _ in range(int(rest))]
            case b":":
                return int(rest)
            case b"+":
                return rest
            case b"-":
                return RefusedCommand(rest.decode("utf-8", "replace"))
    except ValueError:
        pass
    raise BrokenReply("it does not speak the Redis protocol")


def _read_item(source: ReplySource) -> Reply:
    """An error within an array makes the whole reply one."""
    item = _read(source)
    if isinstance(item, RefusedCommand):
        raise item
    return item


def _read_bulk(source: ReplySource, length: int) -> bytes | None:
    if length < 0:
        return None
    data = source.read(length + 2)
    if len(data) != length + 2:
        raise BrokenReply("it closed the connection")
    return data[:-2]
