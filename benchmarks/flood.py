"""A server that sends far more than a caller wants, as a process of its own: each path is a flood of one
kind, in OpenAI's format.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from string import ascii_lowercase
from urllib.parse import unquote

MEBIBYTE = 1 << 20
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
BODY = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
WHOLE = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}


def delta(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"choices": [choice]}).encode()


def words(size: int) -> str:
    draw = random.Random(7)
    some = ["".join(draw.choices(ascii_lowercase, k=draw.randrange(1, 12))) for _ in range(20_000)]
    found = " ".join(draw.choices(some, k=size // 6))
    return found[:size]


def floods() -> dict[str, Iterable[bytes]]:
    """By the first part of the path."""
    text, whole = words(30 * MEBIBYTE), json.dumps(WHOLE)
    cut = [text[start : start + 60_000] for start in range(0, len(text), 60_000)]
    lists = b'{"x":[%b[]],' % (b"[]," * (5 * MEBIBYTE))
    return {
        "fine": (BODY % 200, whole.encode()),
        "tokens": chain([STREAM], repeat(delta("x" * 60_000))),
        "blank lines": chain([STREAM], [delta("hello")], repeat(b"\n" * 60_000)),
        "tiny events": chain([STREAM], repeat(b"data: {}\n\n" * 6_000)),
        "words": (STREAM, *map(delta, cut), delta("", "stop"), b"data: [DONE]\n\n"),
        "body": (BODY % 200, whole.replace("hello", text).encode()),
        "lists": (BODY % 200, lists, whole[1:].encode()),
        "page": (BODY % 500, b"<html>", text.encode()),
    }


@contextlib.contextmanager
def flood() -> Iterator[str]:
    """The server; yields its URL, behind which the name of a flood belongs."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def serve() -> None:
    kinds = floods()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            kind = unquote(head.split(b" ")[1].split(b"/")[1].decode())
            for piece in kinds[kind]:
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=64 * MEBIBYTE, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
