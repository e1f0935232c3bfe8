"""Bytes that belong to no request never become the reply to the next one, on either wire (field, fault A1).

A server echoes each request, and repeats the first reply of each connection: in the same send, behind the end
of a body whose head came before, or later, while the connection is idle.
"""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from llmfail.core.model import Call
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.blocking import HttpcoreWire

LONG = 20
"""Seconds; nothing in here takes as long."""


class Blocking:
    def __init__(self):
        self.wire = HttpcoreWire()

    def ask(self, server, text, *, streamed):
        call = Call("POST", server.url, {}, text)
        if not streamed:
            return self.wire.send(call, LONG).body
        reply = self.wire.open(call, LONG)
        server.head_was_read.set()
        body = b"".join(iter(lambda: reply.read(LONG), b""))
        reply.close()
        return body

    def wait(self, seconds):
        time.sleep(seconds)

    def end(self):
        self.wire.close()


class Asynchronous:
    def __init__(self):
        self.runner, self.wire = asyncio.Runner(), AiohttpWire()

    def ask(self, server, text, *, streamed):
        return self.runner.run(self._ask(server, Call("POST", server.url, {}, text), streamed))

    async def _ask(self, server, call, streamed):
        if not streamed:
            return (await self.wire.send(call, LONG)).body
        reply = await self.wire.open(call, LONG)
        server.head_was_read.set()
        body = b""
        while piece := await reply.read(LONG):
            body += piece
        await reply.close()
        return body

    def wait(self, seconds):
        self.runner.run(asyncio.sleep(seconds))

    def end(self):
        self.runner.run(self.wire.close())
        self.runner.close()


class LoopNotRunning(Asynchronous):
    """The event loop does not run between two calls, so it finds late bytes only with the next one."""

    def wait(self, seconds):
        time.sleep(seconds)


@pytest.fixture(params=[Blocking, Asynchronous, LoopNotRunning])
def wire(request):
    wire = request.param()
    yield wire
    wire.end()


def with_length(body):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body), body


def in_chunks(body):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (
        len(body),
        body,
    )


def with_trailers(body):
    head, chunks = in_chunks(body)
    return head, chunks[:-2] + b"x-checksum: 1\r\n\r\n"


def without_body(_body):
    return b"HTTP/1.1 204 None\r\n\r\n", b""


class Server:
    """``repeat`` is what comes behind the first reply of a connection, and ``timing`` when."""

    def __init__(self, framing, timing, repeat=None):
        self.framing, self.timing, self.repeat = framing, timing, repeat
        self.connections = []
        self.head_was_read = threading.Event()
        self.late_was_sent = threading.Event()

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_exc_info):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.connections.append(self.listener.accept()[0])
                threading.Thread(target=self.serve, args=(self.connections[-1],), daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            head, body = self.framing(b"answer to " + _receive(connection))
            repeat = head + body if self.repeat is None else self.repeat
            if self.timing == "same":
                connection.sendall(head + body + repeat)
            elif self.timing == "behind the body":
                connection.sendall(head)
                self.head_was_read.wait(LONG)
                connection.sendall(body + repeat)
            else:
                connection.sendall(head + body)
                time.sleep(0.05)
                connection.sendall(repeat)
                self.late_was_sent.set()
            while True:
                connection.sendall(b"".join(self.framing(b"answer to " + _receive(connection))))


def _receive(connection):
    got = b""
    while b"\r\n\r\n" not in got or not got.partition(b"\r\n\r\n")[2]:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError
        got += part
    return got.partition(b"\r\n\r\n")[2]


def ask_all(wire, server, texts, *, streamed):
    got = []
    for text in texts:
        server.head_was_read.clear()
        server.late_was_sent.clear()
        got.append(wire.ask(server, text, streamed=streamed))
        if server.timing == "late" and server.late_was_sent.wait(0.3):
            wire.wait(0.02)
    return got


FRAMINGS = [with_length, in_chunks, with_trailers]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("timing", "streamed"),
    [("same", False), ("same", True), ("behind the body", True), ("late", False), ("late", True)],
)
def test_A1_a_reply_that_no_call_asked_for_is_not_the_answer_to_the_next(wire, framing, timing, streamed):
    with Server(framing, timing) as server:
        got = ask_all(wire, server, [b"A", b"B", b"C", b"D"], streamed=streamed)
        assert got == [b"answer to A", b"answer to B", b"answer to C", b"answer to D"]
        assert len(server.connections) == 4


@pytest.mark.parametrize("timing", ["same", "late"])
def test_A1_a_reply_without_a_body_ends_with_its_head(wire, timing):
    with Server(without_body, timing) as server:
        assert ask_all(wire, server, [b"A", b"B", b"C"], streamed=False) == [b"", b"", b""]
        assert len(server.connections) == 3


def test_A1_half_a_reply_is_no_beginning_of_the_next(wire):
    with Server(with_length, "late", b"HTTP/1.1 200 OK\r\ncontent-le") as server:
        assert ask_all(wire, server, [b"A", b"B"], streamed=False) == [b"answer to A", b"answer to B"]
        assert len(server.connections) == 2


def test_A1_half_a_reply_in_the_same_send_is_none_either():
    wire = Blocking()
    with Server(with_length, "same", b"HTTP/1.1 200 OK\r\ncontent-le") as server:
        assert ask_all(wire, server, [b"A", b"B"], streamed=False) == [b"answer to A", b"answer to B"]
        assert len(server.connections) == 2
    wire.end()


@pytest.mark.parametrize("framing", [*FRAMINGS, without_body])
def test_A1_a_connection_without_such_bytes_is_used_again(wire, framing):
    with Server(framing, "same", b"") as server:
        ask_all(wire, server, [b"A", b"B", b"C"], streamed=False)
        assert len(server.connections) == 1
