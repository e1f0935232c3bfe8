"""The server's side of one HTTP/1.1 connection: h11 parses what arrives, and frames what is sent.

The standard library's server is not used because it will not break the protocol on purpose.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import h11

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


class HttpConnection:
    """Requests are read one after the other, each by a parser of its own: a reply may also be written to the
    socket by hand.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._protocol = h11.Connection(h11.SERVER)
        self._wants_body = True

    def read_request(self) -> HttpRequest | None:
        """The next whole request; None when the client has gone. Raises BadRequestError."""
        arrived, _ = self._protocol.trailing_data
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        if arrived:
            self._protocol.receive_data(arrived)
        try:
            head = self._receive_event()
            if not isinstance(head, h11.Request):
                return None
            if not head.target.startswith(b"/"):
                raise BadRequestError("the target of the request is not a path")
            self._wants_body = head.method != b"HEAD"
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return HttpRequest(head.method.decode(), head.target.decode(), headers, self._receive_body())
        except h11.RemoteProtocolError as error:
            raise BadRequestError(str(error)) from None

    def send(self, reply: Reply | EventStreamReply) -> bool:
        """Whether the connection goes on. Each event of a stream is sent by itself."""
        if isinstance(reply, Reply):
            self._send(_build_head(reply), h11.Data(data=reply.body), h11.EndOfMessage())
        else:
            for event in (_build_head(reply), *map(h11.Data, reply.events), h11.EndOfMessage()):
                self._send(event)
        return self._protocol.our_state is h11.DONE

    def send_half(self, reply: Reply | EventStreamReply) -> None:
        """The head of the whole reply, and half of its body."""
        parts = (
            [reply.body[: len(reply.body) // 2]]
            if isinstance(reply, Reply)
            else reply.events[: len(reply.events) // 2]
        )
        self._send(_build_head(reply), *map(h11.Data, parts))

    def _send(self, *events: h11.Event) -> None:
        wanted = (one for one in events if self._wants_body or not isinstance(one, h11.Data))
        self._socket.sendall(b"".join(self._protocol.send(event) or b"" for event in wanted))

    def _receive_body(self) -> bytes:
        body = bytearray()
        while isinstance(event := self._receive_event(), h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise BadRequestError("the body is too long")
        return bytes(body)

    def _receive_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(self._socket.recv(65_536))
        return event


def _build_head(reply: Reply | EventStreamReply) -> h11.Response:
    if isinstance(reply, Reply):
        framing = {"content-length": str(len(reply.body))}
    else:
        framing = {"transfer-encoding": "chunked"}
    reason = http.client.responses.get(reply.status, "Unknown")  # 529 and others are the vendors' own
    headers = list({**reply.headers, **framing}.items())
    return h11.Response(status_code=reply.status, headers=headers, reason=reason)
