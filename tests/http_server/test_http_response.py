"""A whole reply is written as aiohttp's own Response writes it, apart from the name of the server."""

import asyncio

import pytest
from aiohttp import web

from llmfail.http_server.http_response import WholeResponse
from llmfail.http_server.message import OutgoingReply

HEADERS = {"content-type": "text/plain", "x-llmfail-target": "zürich/größe", "x-odd": "a\tb"}
TYPE_OF_BYTES = "application/octet-stream"
REPLIES = [
    OutgoingReply(200, HEADERS, b"hello"),
    OutgoingReply(200, {"x-a": "1"}, b"hello"),
    OutgoingReply(200, HEADERS, b"x" * 300_000),
    OutgoingReply(429, HEADERS),
    OutgoingReply(204, {"vary": "origin"}),
    OutgoingReply(303, {"location": "/", "set-cookie": "a=b"}),
    OutgoingReply(599, HEADERS, b"of a provider"),
]


async def ask(make_response, method, version, more=""):
    """Head and body of the reply to a request, after which the connection ends."""

    async def answer(_request):
        return make_response()

    server = await asyncio.get_running_loop().create_server(web.Server(answer), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            writer.write(f"{method} / HTTP/{version}\r\nhost: x\r\n{more}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write_eof()
            body = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        first, *lines = head.decode().split("\r\n")[:-2]
        told = dict(line.split(": ", 1) for line in lines)
        return first, {name.lower(): value for name, value in told.items()}, body


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: f"{reply.status}-{len(reply.body)}")
@pytest.mark.parametrize(
    ("method", "version", "more"),
    [
        ("POST", "1.1", ""),
        ("POST", "1.1", "connection: close\r\n"),
        ("GET", "1.0", ""),
        ("GET", "1.0", "connection: keep-alive\r\n"),
        ("HEAD", "1.1", ""),
    ],
)
def test_it_is_what_aiohttp_would_write(reply, method, version, more):
    def as_aiohttp():
        headers = {**reply.headers, "server": "llmfail"}
        return web.Response(body=reply.body, status=reply.status, headers=headers)

    async def test():
        own = await ask(lambda: WholeResponse(reply), method, version, more)
        return own, await ask(as_aiohttp, method, version, more)

    own, other = asyncio.run(test())
    for _, headers, _ in own, other:
        assert headers.pop("date").endswith("GMT")
        if method == "HEAD":  # of which aiohttp says neither a length of 0 nor a type that it has chosen
            assert headers.pop("content-length", "0") == str(len(reply.body))
            assert headers.pop("content-type", None) in {*reply.headers.values(), TYPE_OF_BYTES, None}
    assert own == other


@pytest.mark.parametrize("control", ["\r\nset-cookie: b", "\0", "\x7f"])
@pytest.mark.parametrize("header", [("x{}", "a"), ("x", "a{}")])
def test_no_header_begins_another(control, header):
    name, value = (said.format(control) for said in header)
    reply = OutgoingReply(200, {name: value}, b"hello")
    with pytest.raises(asyncio.IncompleteReadError) as broken_off:
        asyncio.run(ask(lambda: WholeResponse(reply), "POST", "1.1"))
    assert broken_off.value.partial == b""
