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
from llmfail.simulator.http1 import BadRequestError, Incoming, Reader, Streamed, chunks, whole
from llmfail.simulator.recorded_request import Seen

GARBAGE = b'\x89\xff\xfe{"half an answer": '
JSON = {"content-type": "application/json"}
NOT_HTTP = {"content-type": "text/plain", "connection": "close"}


class Play(Protocol):
    """What a connection needs from the simulator that it belongs to."""

    def arrive(self, incoming: Incoming) -> tuple[Seen, Fault]:
        """Record a request, and draw the fault that hits it, in one step."""
        ...

    def control(self, incoming: Incoming) -> Reply | None:
        """The reply to a control request; None for a request to a provider."""
        ...

    def answer(self, seen: Seen) -> Reply | Streamed: ...


def converse(connection: socket.socket, play: Play) -> None:
    """Serve the connection until it ends. A client that went away is no error."""
    reader = Reader(connection)
    with contextlib.suppress(OSError):
        try:
            while (incoming := reader.next()) is not None:
                if not _serve(connection, incoming, play):
                    return
        except BadRequestError as error:
            _send(connection, Reply(400, NOT_HTTP, str(error).encode()))


def _serve(connection: socket.socket, incoming: Incoming, play: Play) -> bool:
    """Whether the connection goes on."""
    if control := play.control(incoming):
        return _send(connection, control)
    seen, fault = play.arrive(incoming)
    if fault.kind is FaultKind.REFUSE:
        return _reset(connection)
    if fault.kind is FaultKind.HANG:
        return _stays(connection, None)
    if fault.kind is FaultKind.SLOW and not _stays(connection, fault.delay):
        return False
    send = _send_half if fault.kind is FaultKind.CUT else _send
    return send(connection, _reply(seen, fault, play))


def _reply(seen: Seen, fault: Fault, play: Play) -> Reply | Streamed:
    match fault.kind:
        case FaultKind.STATUS | FaultKind.QUOTA | FaultKind.BILLING | FaultKind.AUTH:
            return formats.error(seen, fault)
        case FaultKind.GARBAGE:
            return Reply(200, JSON, GARBAGE)
        case FaultKind.EMPTY:
            return Reply(200, JSON, b"")
        case _:
            return play.answer(seen)


def _send(connection: socket.socket, reply: Reply | Streamed) -> bool:
    if isinstance(reply, Reply):
        connection.sendall(b"".join(whole(reply)))
    else:
        for chunk in chunks(reply):
            connection.sendall(chunk)
    return True


def _send_half(connection: socket.socket, reply: Reply | Streamed) -> bool:
    """The promise of a whole reply, half of it, and the end of the connection."""
    if isinstance(reply, Reply):
        head, body = whole(reply)
        connection.sendall(head + body[: len(body) // 2])
    else:
        head, *told, _end = chunks(reply)
        connection.sendall(b"".join([head, *told[: len(told) // 2]]))
    return False


def _stays(connection: socket.socket, seconds: float | None) -> bool:
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


def _reset(connection: socket.socket) -> bool:
    """Closing with a linger of no time sends RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
