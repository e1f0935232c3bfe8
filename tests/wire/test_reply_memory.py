"""What many long replies take up together is bounded, whoever sends them."""

import asyncio
import contextlib
import socket
import threading

import pytest

from llmfail.core.classification.classify import classify_error
from llmfail.core.classification.outcome import CircuitEffect
from llmfail.core.errors import WireError
from llmfail.core.model import Call
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.blocking import HttpcoreWire
from llmfail.wire.reply_memory import MAX_BYTES_TOGETHER, ORDINARY_BYTES, HeldReply, ReplyMemory

CALL = Call("POST", "http://far.invalid/", {}, b"{}")
MEBIBYTE = b"x" * 1024 * 1024


def test_e9_a_reply_of_ordinary_size_always_has_room_and_a_longer_one_only_beside_little():
    memory = ReplyMemory()
    with HeldReply(memory, CALL) as first:
        for _ in range(MAX_BYTES_TOGETHER // len(MEBIBYTE)):
            first.add(MEBIBYTE)
        with HeldReply(memory, CALL) as ordinary:
            for _ in range(ORDINARY_BYTES // len(MEBIBYTE)):
                ordinary.add(MEBIBYTE)
            with pytest.raises(WireError, match="no room for a reply") as raised:
                ordinary.add(MEBIBYTE)
    assert classify_error(raised.value).consequence.circuit_effect is CircuitEffect.NEUTRAL
    assert memory.add(0) == 0


@contextlib.contextmanager
def endless_server():
    """Every reply goes on for ever. Yields its address, and counts what it has sent."""
    sent = [0]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def answer(connection):
            with contextlib.suppress(OSError), connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(MEBIBYTE)
                    sent[0] += 1

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", sent
        listener.shutdown(socket.SHUT_RDWR)


async def send_together(call, number):
    wire = AiohttpWire(64)
    try:
        sent = (wire.send(call, 60) for _ in range(number))
        return await asyncio.gather(*sent, return_exceptions=True)
    finally:
        await wire.close()


def send_in_loop(call, number):
    return asyncio.run(send_together(call, number))


def send_in_threads(call, number):
    wire, errors = HttpcoreWire(), []

    def send():
        try:
            wire.send(call, 60)
        except WireError as error:
            errors.append(error)

    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire.close()
    return errors


@pytest.mark.parametrize("send", [send_in_loop, send_in_threads])
def test_e9_many_replies_without_end_take_up_no_more_than_one_sum(send):
    with endless_server() as (url, sent):
        errors = send(Call("POST", url, {}, b"{}"), 12)
    assert {type(error) for error in errors} == {WireError}
    # 12 times 64 MiB without the sum; what one gives back another takes.
    assert sent[0] < 12 * 64 * 0.75
