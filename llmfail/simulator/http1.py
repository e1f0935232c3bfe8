"""As much HTTP/1.1 as the simulator needs, bytes to values and back.

The standard library's server is not used because it costs ten times the start-up and will not break the
protocol on purpose. Bodies need a Content-Length; connections are kept alive.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from llmfail.core.model import Reply

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 64 * 2**20


class HttpRequest(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class EventStreamReply:
    """A reply of events, each sent by itself."""

    headers: Mapping[str, str]
    events: tuple[bytes, ...] = field(repr=False)
    status: int = 200


class BadRequestError(Exception):
    """What arrived is not a request that is understood here."""


class RequestReader:
    """The requests of one connection, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def read_request(self) -> HttpRequest | None:
        """The next whole request; None when the client has gone."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadRequestError("the head is too long")
            if not self._receive():
                return None
        method, path, headers = _parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        length = _parse_body_length(headers)
        while len(self._buffer) < length:
            if not self._receive():
                return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return HttpRequest(method, path, headers, body)

    def _receive(self) -> bool:
        received = self._connection.recv(65_536)
        self._buffer += received
        return bool(received)


def encode_reply(reply: Reply) -> tuple[bytes, bytes]:
    """Head and body of a reply with a Content-Length."""
    return _encode_head(reply.status, {**reply.headers, "content-length": str(len(reply.body))}), reply.body


def encode_chunks(reply: EventStreamReply) -> tuple[bytes, ...]:
    """Head, one chunk for each event, and the end."""
    head = _encode_head(reply.status, {**reply.headers, "transfer-encoding": "chunked"})
    return head, *(b"%x\r\n%b\r\n" % (len(event), event) for event in reply.events), b"0\r\n\r\n"


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise BadRequestError("the request line is not HTTP/1.1")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return words[0], words[1], headers


def _parse_body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequestError("a request body needs a content-length")
    written = headers.get("content-length", "0")
    if not (written.isascii() and written.isdigit() and int(written) <= MAX_BODY_BYTES):
        raise BadRequestError("the content-length is not one")
    return int(written)


def _encode_head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_reason_phrase(status)}\r\n{lines}\r\n".encode("latin-1")


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 529 and other numbers of the vendors' own
        return "Unknown"
