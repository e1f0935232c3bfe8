"""Both wires: a reply that is read as it comes, from servers that do only what the test says.

A server answers each request with the head that it was given; whatever comes after that, the test sends
itself, and it asks what the server has seen of the connection.
"""

import asyncio
import contextlib
import gc
import os
import queue
import socket
import struct
import threading
import zlib

import pytest

from llmfail.core.errors import WireError
from llmfail.core.model import Call
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.blocking import HttpcoreWire

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
LONG = 20
"""Seconds; nothing in here takes as long."""
SHORT = 0.1
"""Seconds; what is waited for so long does not come."""


class Blocking:
    def __init__(self):
        self.wire = HttpcoreWire()
        self.send, self.open, self.end = self.wire.send, self.wire.open, self.wire.close

    def read(self, reply, timeout=LONG):
        return reply.read(timeout)

    def close(self, reply):
        reply.close()


class Asynchronous:
    """Each operation runs the loop until it is done."""

    def __init__(self):
        self.runner, self.wire = asyncio.Runner(), AiohttpWire()

    def send(self, call, timeout):
        return self.runner.run(self.wire.send(call, timeout))

    def open(self, call, timeout):
        return self.runner.run(self.wire.open(call, timeout))

    def read(self, reply, timeout=LONG):
        return self.runner.run(reply.read(timeout))

    def close(self, reply):
        self.runner.run(reply.close())

    def end(self):
        self.runner.run(self.wire.close())


@pytest.fixture(params=[Blocking, Asynchronous])
def wire(request):
    """Nothing that was opened may be left to the garbage collector, which would warn."""
    wire = request.param()
    yield wire
    wire.end()
    if isinstance(wire, Asynchronous):
        wire.runner.close()
    gc.collect()


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, connection):
        self.connection = connection
        self.ended = threading.Event()

    def say(self, *parts):
        for part in parts:
            self.connection.sendall(part)

    def hang_up(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Also ends the thread that listens on it, which would keep the connection open.
        self.connection.shutdown(socket.SHUT_RD)
        assert self.ended.wait(LONG)
        self.connection.close()


class Server:
    """``asked`` gets the peer of each request, as soon as it has been answered with ``head``."""

    def __init__(self, head=b""):
        self.head, self.asked, self.peers = head, queue.Queue(), []

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.call = Call("POST", f"http://{self.host}/v1", {"x-api-key": "sk-secret-key"}, b"{}")
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_exc_info):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.hang_up()
            peer.connection.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.peers.append(Peer(self.listener.accept()[0]))
                threading.Thread(target=self.serve, args=(self.peers[-1],), daemon=True).start()

    def serve(self, peer):
        with contextlib.suppress(OSError):
            while request(peer.connection):
                peer.say(self.head)
                self.asked.put(peer)
        peer.ended.set()

    def peer(self):
        return self.asked.get(timeout=LONG)


def request(connection):
    """One whole request; false when the client has gone."""
    got = b""
    while not got.endswith(b"{}"):
        part = connection.recv(65536)
        if not part:
            return False
        got += part
    return True


def hear(wire, reply, count):
    """So many bytes, in however many pieces."""
    got = bytearray()
    while len(got) < count:
        piece = wire.read(reply)
        assert piece
        got += piece
    return bytes(got)


def chunk(part):
    return b"%x\r\n%s\r\n" % (len(part), part)


EVENTS = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]
FRAMES = {
    "chunked": (b"transfer-encoding: chunked\r\n", chunk),
    "with a length": (b"content-length: %d\r\n", bytes),
    "until the connection ends": (b"", bytes),
}


def packed(parts):
    """Each part so that it can be unpacked at once, and what ends them all."""
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts], packer.flush()


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("framing", FRAMES)
def test_a_piece_is_there_before_the_next_is_sent(wire, framing, compressed):
    field, frame = FRAMES[framing]
    parts, end = packed(EVENTS) if compressed else (EVENTS, b"")
    field = field % len(b"".join(parts) + end) if b"%d" in field else field
    encoding = b"content-encoding: gzip\r\n" if compressed else b""
    with Server(b"HTTP/1.1 200 OK\r\n%s%s\r\n" % (field, encoding)) as server:
        reply = wire.open(server.call, LONG)
        peer = server.peer()
        for event, part in zip(EVENTS, parts, strict=True):
            peer.say(frame(part))
            assert hear(wire, reply, len(event)) == event
        if end:
            peer.say(frame(end))
        if framing == "chunked":
            peer.say(chunk(b""))
        elif not field:
            peer.hang_up()
        assert [wire.read(reply), wire.read(reply)] == [b"", b""]
        wire.close(reply)


def test_the_head_is_there_before_any_of_the_body(wire):
    with Server(b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\ncontent-length: 4\r\n\r\n") as server:
        reply = wire.open(server.call, LONG)
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        server.peer().say(b"full")
        assert hear(wire, reply, 4) == b"full"
        assert wire.read(reply) == b""
        wire.close(reply)


def test_a_body_in_chunks_of_one_byte_is_whole(wire):
    text = b"one byte at a time " * 50
    with Server(CHUNKED) as server:
        reply = wire.open(server.call, LONG)
        server.peer().say(*(chunk(bytes([byte])) for byte in text), chunk(b""))
        assert hear(wire, reply, len(text)) == text
        assert wire.read(reply) == b""
        wire.close(reply)


def test_replies_are_read_in_turns_each_with_its_own_limit(wire):
    with Server(CHUNKED) as first, Server(CHUNKED) as second, Server(CHUNKED) as third:
        replies = [wire.open(server.call, LONG) for server in (first, second, third)]
        peers = [server.peer() for server in (first, second, third)]
        for event in EVENTS:
            for reply, peer in zip(replies, peers, strict=True):
                peer.say(chunk(event))
                assert hear(wire, reply, len(event)) == event
        with pytest.raises(WireError, match=f"{second.host} in time"):
            wire.read(replies[1], SHORT)
        for reply, peer in ((replies[0], peers[0]), (replies[2], peers[2])):
            peer.say(chunk(b"after the limit of another"))
            assert hear(wire, reply, 26) == b"after the limit of another"
        for reply in replies:
            wire.close(reply)


NO_BODIES = {
    "204": (b"HTTP/1.1 204 None\r\n\r\n", 204),
    "304": (b"HTTP/1.1 304 Same\r\n\r\n", 304),
    "no length": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
    "no chunks": (CHUNKED + chunk(b""), 200),
    "after a 100": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", 204),
    "after early hints": (b"HTTP/1.1 103 Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 204 None\r\n\r\n", 204),
}


@pytest.mark.parametrize(("head", "status"), NO_BODIES.values(), ids=NO_BODIES)
def test_no_body_is_over_at_once_and_its_connection_used_again(wire, head, status):
    with Server(head) as server:
        for _ in range(2):
            reply = wire.open(server.call, LONG)
            assert reply.status == status
            assert [wire.read(reply), wire.read(reply)] == [b"", b""]
            wire.close(reply)
        assert wire.send(server.call, LONG).body == b""
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("head", "body"),
    [(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n", b"ok"), (CHUNKED, chunk(b"ok") + chunk(b""))],
    ids=["length", "chunked"],
)
def test_a_body_read_to_its_end_gives_its_connection_back(wire, head, body):
    with Server(head) as server:
        for _ in range(3):
            reply = wire.open(server.call, LONG)
            server.peer().say(body)
            assert hear(wire, reply, 2) == b"ok"
            assert wire.read(reply) == b""
            wire.close(reply)
        assert len(server.peers) == 1


@pytest.mark.parametrize("read", [False, True], ids=["unread", "half read"])
def test_closing_before_the_end_closes_the_connection(wire, read):
    with Server(CHUNKED) as server:
        reply = wire.open(server.call, LONG)
        peer = server.peer()
        peer.say(chunk(b"half"))
        if read:
            assert hear(wire, reply, 4) == b"half"
        wire.close(reply)
        wire.close(reply)
        assert peer.ended.wait(LONG)
        with pytest.raises(WireError):
            wire.read(reply)
        wire.close(wire.open(server.call, LONG))
        assert len(server.peers) == 2


def test_a_closed_reply_is_not_read_even_if_all_of_it_was_there(wire):
    with Server(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfull") as server:
        reply = wire.open(server.call, LONG)
        wire.close(reply)
        with pytest.raises(WireError, match="closed before"):
            wire.read(reply)


def test_closing_does_not_wait_for_a_server_that_goes_on_sending(wire):
    with Server(UNTIL_CLOSE) as server:
        reply = wire.open(server.call, LONG)
        peer = server.peer()
        talker = threading.Thread(target=talk, args=(peer,))
        talker.start()
        assert wire.read(reply)
        wire.close(reply)
        talker.join(LONG)
        assert not talker.is_alive()


def talk(peer):
    with contextlib.suppress(OSError):
        while True:
            peer.say(b"x" * 65536)


def test_a_standstill_is_a_timeout_and_ends_the_connection(wire):
    with Server(CHUNKED) as server:
        reply = wire.open(server.call, LONG)
        peer = server.peer()
        peer.say(chunk(b"half"))
        assert hear(wire, reply, 4) == b"half"
        with pytest.raises(WireError, match=f"{server.host} in time") as raised:
            wire.read(reply, SHORT)
        assert raised.value.cause == "timeout"
        assert peer.ended.wait(LONG)
        with pytest.raises(WireError):
            wire.read(reply)
        wire.close(reply)


def test_bytes_that_make_no_piece_do_not_lengthen_the_limit(wire):
    with Server(CHUNKED + b"5;") as server:
        reply = wire.open(server.call, LONG)
        peer = server.peer()
        drip = threading.Thread(target=drop, args=(peer,))
        drip.start()
        with pytest.raises(WireError) as raised:
            wire.read(reply, SHORT)
        assert raised.value.cause == "timeout"
        wire.close(reply)
        drip.join(LONG)
        assert not drip.is_alive()


def drop(peer):
    """A name of a chunk's extension that never ends."""
    with contextlib.suppress(OSError):
        while not peer.ended.wait(SHORT / 10):
            peer.say(b"a")


BROKEN = {
    "chunked, closed": (CHUNKED, chunk(b"half"), Peer.hang_up),
    "chunked, reset": (CHUNKED, chunk(b"half"), Peer.reset),
    "within a chunk": (CHUNKED, b"9\r\nhalf", Peer.hang_up),
    "no chunk": (CHUNKED, chunk(b"half"), lambda peer: peer.say(b"no number\r\n")),
    "length, closed": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"half", Peer.hang_up),
    "length, reset": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"half", Peer.reset),
    "until the connection ends, reset": (UNTIL_CLOSE, b"half", Peer.reset),
}


@pytest.mark.parametrize(("head", "half", "breaks"), BROKEN.values(), ids=BROKEN)
def test_a_body_that_breaks_off_is_cut_after_what_had_come(wire, head, half, breaks):
    with Server(head) as server:
        reply = wire.open(server.call, LONG)
        peer = server.peer()
        peer.say(half)
        assert hear(wire, reply, 4) == b"half"
        breaks(peer)
        for _ in range(2):
            with pytest.raises(WireError, match=server.host) as raised:
                wire.read(reply)
            assert raised.value.cause == "cut"
            assert "sk-secret-key" not in str(raised.value)
        wire.close(reply)


def test_what_cannot_be_unpacked_is_cut(wire):
    with Server(CHUNKED[:-2] + b"content-encoding: gzip\r\n\r\n") as server:
        reply = wire.open(server.call, LONG)
        server.peer().say(chunk(b"this is no gzip"))
        with pytest.raises(WireError) as raised:
            wire.read(reply)
        assert raised.value.cause == "cut"
        wire.close(reply)


def test_a_reply_without_an_end_is_given_up(wire):
    with Server(UNTIL_CLOSE) as server:
        reply = wire.open(server.call, LONG)
        talker = threading.Thread(target=talk, args=(server.peer(),))
        talker.start()
        with pytest.raises(WireError, match="longer than 64 MiB"):
            hear(wire, reply, 65 * 1024 * 1024)
        talker.join(LONG)
        assert not talker.is_alive()
        wire.close(reply)


NO_HEADS = {
    "silent": (b"", lambda peer: None, "timeout"),
    "half a head": (b"HTTP/1.1 200", lambda peer: None, "timeout"),
    "closed": (b"", Peer.hang_up, "reset"),
    "no http": (b"not http at all\r\n\r\n", lambda peer: None, "reset"),
}


@pytest.mark.parametrize(("head", "then", "cause"), NO_HEADS.values(), ids=NO_HEADS)
def test_without_a_head_nothing_is_opened(wire, head, then, cause):
    with Server(head) as server:
        after = threading.Thread(target=lambda: then(server.peer()))
        after.start()
        with pytest.raises(WireError, match=server.host) as raised:
            wire.open(server.call, SHORT if cause == "timeout" else LONG)
        assert raised.value.cause == cause
        assert "sk-secret-key" not in str(raised.value)
        after.join(LONG)
        assert server.peers[0].ended.wait(LONG)


def test_a_redirect_is_not_followed(wire):
    with Server(b"HTTP/1.1 204 None\r\n\r\n") as other:
        to = f"HTTP/1.1 302 Found\r\nlocation: {other.call.url}\r\ncontent-length: 4\r\n\r\nthey".encode()
        with Server(to) as server:
            reply = wire.open(server.call, LONG)
            assert (reply.status, reply.headers["location"]) == (302, other.call.url)
            assert hear(wire, reply, 4) == b"they"
            wire.close(reply)
        assert not other.peers


def test_closing_the_wire_breaks_off_what_is_open(wire):
    with Server(CHUNKED) as server:
        reply = wire.open(server.call, LONG)
        wire.end()
        with pytest.raises(WireError) as raised:
            wire.read(reply)
        assert raised.value.cause == "cut"
        assert server.peer().ended.wait(LONG)
        wire.close(reply)


def test_under_tls_too_a_connection_ends_without_the_goodbye_of_a_silent_server(wire, identity, monkeypatch):
    public, context = identity
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    ended = threading.Event()

    def serve(listener):
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            request(connection)
            connection.sendall(CHUNKED + chunk(b"half"))
            with socket.socket(fileno=os.dup(connection.fileno())) as below, contextlib.suppress(OSError):
                while below.recv(65536):
                    pass
        ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"https://localhost:{listener.getsockname()[1]}/"
        reply = wire.open(Call("POST", url, {}, b"{}"), LONG)
        assert hear(wire, reply, 4) == b"half"
        wire.close(reply)
        assert ended.wait(LONG)


def play(scene, *, loop_factory=None):
    """Of asyncio alone. Nothing that was opened may be left."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scene())
    gc.collect()


async def until(condition):
    """What the loop alone brings about."""
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


async def has_one_turn(wire, server):
    """One call can be opened, and no second."""
    reply = await wire.open(server.call, LONG)
    with pytest.raises(WireError, match="no turn in time"):
        await wire.open(server.call, SHORT)
    await reply.close()


def test_what_had_come_before_a_connection_broke_off_is_read_before_the_error():
    async def scene():
        with Server(CHUNKED) as server:
            wire = AiohttpWire()
            reply = await wire.open(server.call, LONG)
            peer = server.peer()
            peer.say(chunk(b"half"))
            peer.hang_up()
            await until(lambda: reply._protocol._broken)
            assert await reply.read(LONG) == b"half"
            with pytest.raises(WireError):
                await reply.read(LONG)
            await wire.close()

    play(scene)


def test_a_reply_holds_its_turn_until_it_is_closed_and_gives_it_back_once():
    async def scene():
        with Server(CHUNKED) as server:
            wire = AiohttpWire(max_calls=1)
            for _ in range(2):
                await has_one_turn(wire, server)
                reply = await wire.open(server.call, LONG)
                with pytest.raises(WireError):
                    await reply.read(SHORT)
                await reply.close()
                await reply.close()
            await has_one_turn(wire, server)
            await wire.close()

    play(scene)


def test_a_call_that_is_not_opened_gives_its_turn_back():
    async def scene():
        with Server() as silent, Server(CHUNKED) as server:
            wire = AiohttpWire(max_calls=1)
            for call in (silent.call, Call("POST", "http://nowhere.invalid/", {}, b""), Call("?", "?", {})):
                with pytest.raises(WireError):
                    await wire.open(call, SHORT)
            await has_one_turn(wire, server)
            await wire.close()

    play(scene)


def test_nothing_is_sent_once_there_is_no_time_for_a_reply(wire):
    with Server(b"HTTP/1.1 204 None\r\n\r\n") as server:
        wire.send(server.call, LONG)
        with pytest.raises(WireError) as raised:
            wire.send(server.call, 0)
        assert raised.value.cause == "timeout"
        wire.send(server.call, LONG)
        server.peer(), server.peer()
        assert server.asked.empty()


class HastyServer(Server):
    """Replies to the beginning of a request, and reads no more of its connection."""

    def serve(self, peer):
        with contextlib.suppress(OSError):
            peer.connection.recv(1000)
            peer.say(self.head)


def test_a_server_that_has_replied_without_reading_the_request_gets_no_other_on_that_connection():
    async def scene():
        with HastyServer(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n") as server:
            wire = AiohttpWire()
            long = Call("POST", server.call.url, {}, b"x" * (32 << 20))
            assert (await wire.send(long, LONG)).status == 413
            assert (await wire.send(server.call, LONG)).status == 413
            assert len(server.peers) == 2
            await wire.close()

    play(scene)


async def stopped(task):
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_a_call_that_is_stopped_while_it_opens_leaves_nothing():
    async def scene():
        with Server() as silent, Server(CHUNKED) as server:
            wire = AiohttpWire(max_calls=1)
            opening = asyncio.create_task(wire.open(silent.call, LONG))
            peer = await asyncio.to_thread(silent.peer)
            waiting = asyncio.create_task(wire.open(silent.call, LONG))
            await until(lambda: wire._slots._waiting)
            await stopped(waiting)
            await stopped(opening)
            assert await asyncio.to_thread(peer.ended.wait, LONG)
            assert len(silent.peers) == 1
            await has_one_turn(wire, server)
            await wire.close()

    play(scene)


def test_a_call_that_is_stopped_while_it_is_read_leaves_nothing():
    async def scene():
        with Server(CHUNKED) as server:
            wire = AiohttpWire(max_calls=1)
            reply = await wire.open(server.call, LONG)
            peer = await asyncio.to_thread(server.peer)
            reading = asyncio.create_task(reply.read(LONG))
            await until(lambda: reply._protocol._reader)
            await stopped(reading)
            assert await asyncio.to_thread(peer.ended.wait, LONG)
            await has_one_turn(wire, server)
            await reply.close()
            await has_one_turn(wire, server)
            await wire.close()

    play(scene)


def test_a_call_stopped_in_whichever_turn_of_the_loop_leaves_nothing():
    async def scene():
        with Server(CHUNKED + chunk(b"half")) as server:
            wire = AiohttpWire(max_calls=1)
            finished = False
            turns = 0
            while not finished:
                task = asyncio.create_task(open_and_read(wire, server.call))
                for _ in range(turns):
                    await asyncio.sleep(0)
                finished = task.done()
                task.cancel()
                await asyncio.wait([task])
                turns += 1 + turns // 20
            await has_one_turn(wire, server)
            for peer in server.peers:
                assert await asyncio.to_thread(peer.ended.wait, LONG)
            await wire.close()

    play(scene)


async def open_and_read(wire, call):
    reply = await wire.open(call, LONG)
    try:
        assert await reply.read(LONG) == b"half"
    finally:
        await reply.close()


class Jumping(asyncio.SelectorEventLoop):
    """Its time jumps when the test says so."""

    ahead = 0.0

    def time(self):
        return super().time() + self.ahead


def test_the_limit_of_a_call_begins_with_its_turn():
    async def scene():
        loop = asyncio.get_running_loop()
        with Server(CHUNKED) as quick, Server() as slow:
            wire = AiohttpWire(max_calls=1)
            first = await wire.open(quick.call, LONG)
            second = asyncio.create_task(wire.open(slow.call, LONG))
            await until(lambda: wire._slots._waiting)
            loop.ahead += LONG * 0.9
            await first.close()
            peer = await asyncio.to_thread(slow.peer)
            loop.ahead += LONG * 0.9
            peer.say(CHUNKED)
            await (await second).close()
            await wire.close()

    play(scene, loop_factory=Jumping)
