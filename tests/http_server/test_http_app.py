"""The HTTP edge over real sockets: what is refused, what is closed, and how a reply that breaks off ends."""

import asyncio
import gzip
import json
import zlib

import pytest

from llmfail.http_server import request_body
from llmfail.http_server.http_app import ConnectionLimits, HttpServer
from llmfail.http_server.listen_address import bind
from llmfail.http_server.message import OutgoingReply, json_reply

MAX_BODY = 1_000_000


async def answer(exchange):
    """By the path: the body back, pieces that break off, pieces without an end, or the request as it came."""
    request = exchange.request
    match request.path:
        case "/body":
            body = await exchange.read_body(MAX_BODY)
            return json_reply({"size": len(body), "start": body[:20].decode()})
        case "/broken":
            await exchange.begin(200, {"content-type": "text/event-stream"})
            await exchange.write(b"data: half\n\n")
            exchange.break_off()
            return None
        case "/stream":
            return OutgoingReply(200, {}, stream=pieces())
        case "/bug":
            raise RuntimeError("inside")
        case "/hang":
            EVENTS["hanging"].set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                EVENTS["left"].set()
                raise
    return json_reply({"path": request.path, "query": request.query, "headers": request.headers})


EVENTS = {}
"""Of the test that runs: a handler hangs, its client has left."""


async def pieces():
    for piece in (b"a", b"b"):
        yield piece


class Talk:
    """One connection to a server with these limits."""

    def __init__(self, limits=None):
        self.limits = limits
        self.writers = []

    async def __aenter__(self):
        self.listener = bind("127.0.0.1", 0)
        self.server = HttpServer(answer, self.limits)
        await self.server.open(self.listener)
        await self.connect()
        return self

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(*self.listener.getsockname()[:2])
        self.writers.append(self.writer)

    async def __aexit__(self, *_):
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)
        await self.server.close()

    async def send(self, *data):
        for piece in data:
            self.writer.write(piece)
            await self.writer.drain()

    async def reply(self):
        """Status and body, of one with a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        return int(head.split()[1]), await self.reader.readexactly(size)


def post(body, path="/body", **headers):
    lines = {"host": "x", "content-length": len(body), **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def is_closed(one):
    try:
        return await one.reader.read() == b""
    except ConnectionError:
        return True


def talk(test, limits=None):
    async def run():
        EVENTS.update(hanging=asyncio.Event(), left=asyncio.Event())
        async with Talk(limits) as one:
            async with asyncio.timeout(20):
                return await test(one)

    return asyncio.run(run())


def test_a_request_comes_as_it_was_sent():
    async def test(one):
        await one.send(b"GET /a%2Fb/../c?x=%20 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        return json.loads((await one.reply())[1])

    told = talk(test)
    assert told == {"path": "/a%2Fb/../c", "query": "x=%20", "headers": {"host": "h", "x-a": "1, 2"}}


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        (None, bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
    ],
)
def test_a_body_is_unpacked(coding, pack):
    body = b"hello " * 20_000

    async def test(one):
        await one.send(post(pack(body), content_encoding=coding))
        return await one.reply()

    status, told = talk(test)
    assert (status, json.loads(told)) == (200, {"size": len(body), "start": "hello hello hello he"})


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(b"x" * (MAX_BODY + 1)), 413),
        (b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 33000000000\r\n\r\n", 413),
        (post(gzip.compress(bytes(40 * MAX_BODY), mtime=0), content_encoding="gzip"), 413),
        (post(gzip.compress(b"cut" * 1000, mtime=0)[:-20], content_encoding="gzip"), 400),
        (post(b"no gzip", content_encoding="gzip"), 400),
        (post(b"x", content_encoding="br"), 415),
        (b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n"
            + b"".join(b"A%d: %s\r\n" % (i, b"y" * 4000) for i in range(5))
            + b"\r\n",
            431,
        ),
        (b"nonsense\r\n\r\n", 400),
        (post(b"", path="/bug"), 500),
    ],
)
def test_what_cannot_be_read_is_refused_in_json(sent, status):
    async def test(one):
        await one.send(sent)
        return await one.reply()

    found, body = talk(test)
    assert found == status
    assert "inside" not in json.loads(body)["error"]


def test_a_large_body_is_waited_for_with_100_continue():
    async def test(one):
        whole = post(b"x" * 1000, expect="100-continue")
        await one.send(whole[:-1000])
        assert (await one.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await one.send(whole[-1000:])
        return await one.reply()

    assert talk(test)[0] == 200


def test_a_body_that_trickles_is_given_up(monkeypatch):
    monkeypatch.setattr(request_body, "FIRST_BYTE_SECONDS", 0.2)

    async def test(one):
        await one.send(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab")
        return await one.reply()

    assert talk(test)[0] == 408


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_half_a_head_is_closed(sent):
    async def test(one):
        await one.send(sent)
        return await one.reader.read()

    assert talk(test, ConnectionLimits(head_seconds=0.2)) == b""


def test_a_head_without_an_end_is_closed():
    async def test(one):
        line = b"A: " + b"y" * 1000 + b"\r\n"
        await one.send(b"GET / HTTP/1.1\r\n", *[line] * 100)
        return await is_closed(one)

    assert talk(test)


def test_an_idle_connection_is_kept_for_the_next_request_and_then_closed():
    async def test(one):
        await one.send(post(b"1"))
        await one.reply()
        await asyncio.sleep(0.5)
        await one.send(post(b"2"))
        status, _ = await one.reply()
        return status, await one.reader.read()

    assert talk(test, ConnectionLimits(head_seconds=0.2, idle_seconds=1)) == (200, b"")


def test_one_connection_too_many_is_closed():
    async def test(one):
        first = one.reader, one.writer
        await one.send(post(b"1"))
        await one.reply()
        await one.connect()
        assert await is_closed(one)
        one.reader, one.writer = first
        await one.send(post(b"3"))
        return await one.reply()

    assert talk(test, ConnectionLimits(max_connections=1))[0] == 200


def test_what_breaks_off_has_no_last_chunk_and_ends_with_fin():
    async def test(one):
        await one.send(post(b"", path="/broken"))
        return await one.reader.read()  # a reset would raise

    _, _, body = talk(test).partition(b"\r\n\r\n")
    assert body == b"c\r\ndata: half\n\n\r\n"


def test_pieces_end_with_the_last_chunk():
    async def test(one):
        await one.send(post(b"", path="/stream"))
        return await one.reader.readuntil(b"\r\n0\r\n\r\n")

    assert talk(test).endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


def test_a_handler_ends_when_its_client_leaves():
    async def test(one):
        await one.send(post(b"", path="/hang"))
        await EVENTS["hanging"].wait()
        one.writer.close()
        await EVENTS["left"].wait()

    talk(test)


def test_after_listening_has_stopped_a_request_under_way_is_answered():
    async def test(one):
        await one.send(post(b"1234")[:-2])
        address = one.listener.getsockname()
        await asyncio.sleep(0.05)
        one.server.stop_listening()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*address)
        await one.send(b"34")
        return await one.reply(), await one.reader.read()

    (status, _), rest = talk(test)
    assert (status, rest) == (200, b"")


def test_after_listening_has_stopped_an_idle_connection_is_closed():
    async def test(one):
        await one.send(post(b"1"))
        await one.reply()
        one.server.stop_listening()
        return await one.reader.read()

    assert talk(test) == b""


def test_closing_waits_for_nobody():
    async def test(one):
        await one.send(post(b"", path="/hang"))
        await EVENTS["hanging"].wait()
        await one.server.close()
        return EVENTS["left"].is_set()

    assert talk(test)
