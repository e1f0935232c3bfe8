"""A request and its reply as values, and the exchange of one for the other."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

JSON_TYPE = "application/json"
_WHOLE_URL = re.compile(r"https?://(?P<host>[^/?#]*)", re.IGNORECASE)


class IncomingRequest(Struct, frozen=True):
    """``path`` and ``query`` are as they were sent; ``headers`` have lower-case names, and one that came
    twice both values; ``remote`` is the address of the other side, empty where it is not known. ``body`` is
    empty until somebody has read it.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    remote: str
    is_tls: bool = False

    @property
    def parameters(self) -> Mapping[str, str]:
        """Of the query; of one that is there twice the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}


def split_target(target: str) -> tuple[str | None, str, str]:
    """Host (None: as the Host header has it), path and query of a request line. A client that takes a server
    for its proxy sends the whole URL, whose host counts (RFC 9112, 3.2.2).
    """
    host = None
    if not target.startswith("/") and (found := _WHOLE_URL.match(target)):
        host, target = found["host"], target[found.end() :]
        target = target if target.startswith("/") else f"/{target}"
    path, _, query = target.partition("?")
    return host, path, query


class OutgoingReply(Struct, frozen=True):
    """A whole body, or a ``stream`` of its pieces, which is closed when the other side leaves."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None


class BodyRefused(Exception):
    """A body that is too large, too slow or not what its headers say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Exchange(Protocol):
    """One request and its reply, which may be written in pieces. While the handler waits it is cancelled
    when the other side leaves.
    """

    @property
    def request(self) -> IncomingRequest:
        """Without its body."""

    @property
    def is_begun(self) -> bool:
        """Whether the head of a reply in pieces was written."""

    async def read_body(self, max_bytes: int) -> bytes:
        """Unpacked. Raises BodyRefused."""

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """The head, which is sent with the first piece."""

    async def write(self, data: bytes) -> None: ...

    def break_off(self) -> None:
        """End the connection behind what was written, so that nobody takes it for a whole reply."""


Handler = Callable[[Exchange], Awaitable[OutgoingReply | None]]
"""Gives the reply, or None when it has written one in pieces."""


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> OutgoingReply:
    return OutgoingReply(status, {"content-type": JSON_TYPE, **(headers or {})}, msgspec.json.encode(value))
