"""A process that has nothing left to connect with says so, and blames nobody."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from llmfail.core.classification.classify import classify_error
from llmfail.core.classification.outcome import CircuitEffect
from llmfail.core.errors import WireError
from llmfail.core.model import Call
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.blocking import HttpcoreWire


@contextmanager
def descriptors_left(count):
    """Until the end of the block this process can open no more than so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(taken[0]))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def send_blocking(call):
    wire = HttpcoreWire()
    try:
        with descriptors_left(0):
            return wire.send(call, 5)
    finally:
        wire.close()


def send_asyncio(call):
    async def send():
        wire = AiohttpWire(10)
        try:
            with descriptors_left(0):
                return await wire.send(call, 5)
        finally:
            await wire.close()

    return asyncio.run(send())


@pytest.mark.parametrize("send", [send_blocking, send_asyncio])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_e1_a_process_without_descriptors_blames_nobody_and_nothing_was_sent(send, host):
    with socket.create_server(("127.0.0.1", 0)) as server:
        call = Call("POST", f"http://{host}:{server.getsockname()[1]}/", {}, b"{}")
        with pytest.raises(WireError, match=r"no file descriptor left, of \d+ \(ulimit -n\)") as raised:
            send(call)
    assert raised.value.cause == "exhaustion"
    assert classify_error(raised.value).consequence.circuit_effect is CircuitEffect.NEUTRAL


SERVER = """
import asyncio

async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    await asyncio.sleep(0.01)
    writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok")
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def test_e1_calls_that_find_no_descriptor_wait_for_those_that_have_one():
    """With room for few connections all are answered; the server has descriptors of its own."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)

    async def ask():
        wire = AiohttpWire(50)
        call = Call("POST", f"http://127.0.0.1:{int(server.stdout.readline())}/", {}, b"{}")
        await wire.send(call, 5)
        try:
            with descriptors_left(3):
                return await asyncio.gather(*(wire.send(call, 20) for _ in range(20)))
        finally:
            await wire.close()

    with server:
        try:
            assert [reply.status for reply in asyncio.run(ask())] == [200] * 20
        finally:
            server.kill()
