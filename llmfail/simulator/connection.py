"""One connection: read a request, play its fault, answer; again until either side has enough.

It runs in a thread of its own and blocks only in the socket, so closing the simulator (which shuts every
connection down) and a client that goes away both free the thread at once.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Protocol

from llmfail.core.model import Reply
from llmfail.simulator import formats
from llmfail.simulator.faults import Fault, FaultKind
from llmfail.simulator.http1 import BadRequestError, EventStreamReply, HttpConnection, HttpRequest
from llmfail.simulator.recorded_request import RecordedRequest

GARBAGE_BODY = b'\x89\xff\xfe{"half an answer": '
JSON_HEADERS = {"content-type": "application/json"}
BAD_REQUEST_HEADERS = {"content-type": "text/plain", "connection": "close"}


class RequestHandler(Protocol):
    """What a connection needs from the simulator that it belongs to."""

    def record_request(self, incoming: HttpRequest) -> tuple[RecordedRequest, Fault]:
        """Record a request, and draw the fault that hits it, in one step."""
        ...

    def handle_control(self, incoming: HttpRequest) -> Reply | None:
        """The reply to a control request; None for a request to a provider."""
        ...

    def answer(self, request: RecordedRequest) -> Reply | EventStreamReply: ...


def serve_connection(connection: socket.socket, handler: RequestHandler) -> None:
    """Serve the connection until it ends. A client that went away is no error."""
    http = HttpConnection(connection)
    with contextlib.suppress(OSError):
        try:
            while (incoming := http.read_request()) is not None:
                if not _serve_request(connection, http, incoming, handler):
                    return
        except BadRequestError as error:
            http.send(Reply(400, BAD_REQUEST_HEADERS, str(error).encode()))


def _serve_request(
    connection: socket.socket, http: HttpConnection, incoming: HttpRequest, handler: RequestHandler
) -> bool:
    """Whether the connection goes on."""
    if control := handler.handle_control(incoming):
        return http.send(control)
    seen, fault = handler.record_request(incoming)
    if fault.kind is FaultKind.REFUSE:
        return _reset_connection(connection)
    if fault.kind is FaultKind.HANG:
        return _is_connected_after(connection, None)
    if fault.kind is FaultKind.SLOW and not _is_connected_after(connection, fault.delay):
        return False
    reply = _build_reply(seen, fault, handler)
    if fault.kind is FaultKind.CUT:
        http.send_half(reply)
        return False
    return http.send(reply)


def _build_reply(request: RecordedRequest, fault: Fault, handler: RequestHandler) -> Reply | EventStreamReply:
    match fault.kind:
        case FaultKind.STATUS | FaultKind.QUOTA | FaultKind.BILLING | FaultKind.AUTH:
            return formats.build_error(request, fault)
        case FaultKind.GARBAGE:
            return Reply(200, JSON_HEADERS, GARBAGE_BODY)
        case FaultKind.EMPTY:
            return Reply(200, JSON_HEADERS, b"")
        case _:
            return handler.answer(request)


def _is_connected_after(connection: socket.socket, seconds: float | None) -> bool:
    """Whether the client is still there after the time; None waits until it has gone."""
    until = None if seconds is None else time.monotonic() + seconds
    try:
        while until is None or (left := until - time.monotonic()) > 0:
            connection.settimeout(None if until is None else left)
            if not connection.recv(65_536):
                return False
    except TimeoutError:
        pass
    connection.settimeout(None)
    return True


def _reset_connection(connection: socket.socket) -> bool:
    """Closing with a linger of no time sends RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
