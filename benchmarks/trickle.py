"""A server of streams in Anthropic's format, as a process of its own: each is so many tokens, with a pause
between them, so that a reader who waits for the end is seen to wait and a thousand streams are open at once.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TOKEN = "hello "


def chunk(name: str, **fields: object) -> bytes:
    event = f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


START = chunk(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    },
) + chunk("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = chunk("content_block_delta", index=0, delta={"type": "text_delta", "text": TOKEN})
END = (
    chunk("content_block_stop", index=0)
    + chunk("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 10})
    + chunk("message_stop")
    + b"0\r\n\r\n"
)


@contextlib.contextmanager
def trickle(tokens: int, pause: float) -> Iterator[dict[str, str]]:
    """The server; yields its base URL per provider, as ``pairs.simulator`` does."""
    command = [sys.executable, __file__, str(tokens), str(pause)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            yield {"anthropic": url, "openai": url}
        finally:
            process.terminate()


async def serve(tokens: int, pause: float) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(HEAD + START + DELTA)
                for _ in range(tokens - 1):
                    await asyncio.sleep(pause)
                    writer.write(DELTA)
                writer.write(END)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
