"""Both wires against real sockets that misbehave: one call, one whole reply or one WireError, in time."""

import asyncio
import contextlib
import gzip
import socket
import struct
import threading
import time

import pytest

from llmfail.core.errors import WireError
from llmfail.core.model import Call
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.blocking import HttpcoreWire

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


def blocking(call, timeout):
    wire = HttpcoreWire()
    try:
        return wire.send(call, timeout)
    finally:
        wire.close()


def asynchronous(call, timeout):
    async def once():
        wire = AiohttpWire()
        try:
            return await wire.send(call, timeout)
        finally:
            await wire.close()

    return asyncio.run(once())


@pytest.fixture(params=[blocking, asynchronous])
def send(request):
    return request.param


@contextlib.contextmanager
def server(behave, greeting=b""):
    """Sends ``greeting`` at once, then ``behave(connection)`` answers each request, as long as it is true."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve():
            while not done.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection):
            with connection, contextlib.suppress(OSError):
                connection.sendall(greeting)
                while request(connection):
                    if behave(connection) is None:
                        return

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)


def request(connection):
    """One whole request; false when the client has gone."""
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < _length(got):
        part = connection.recv(65536)
        if not part:
            return False
        got += part
    return True


def _length(got):
    lines = got.lower().partition(b"\r\n\r\n")[0].split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def say(*parts, pause=0.0, then=None):
    def behave(connection):
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        return then(connection) if then else None

    return behave


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang(connection):
    while connection.recv(1024):
        pass


def call(url, **headers):
    return Call("POST", url, {"x-api-key": "sk-secret-key", **headers}, b"{}")


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        (say(), "reset"),
        (say(then=reset), "reset"),
        (say(HEAD, b"half"), "cut"),
        (say(HEAD, b"half", then=reset), "cut"),
        (say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"), "cut"),
        (say(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd"), "cut"),
        (say(b"not http at all\r\n\r\n"), "reset"),
        (say(then=hang), "timeout"),
        (say(HEAD, then=hang), "timeout"),
        (say(*(bytes([byte]) for byte in HEAD), pause=0.1), "timeout"),
        (say(HEAD, b"x", b"x", b"x", b"x", pause=0.3), "timeout"),
    ],
    ids=[
        "closed",
        "reset",
        "cut",
        "reset in the body",
        "cut between chunks",
        "no gzip",
        "no http",
        "silent",
        "silent after the head",
        "a head byte by byte",
        "a body byte by byte",
    ],
)
def test_whatever_goes_wrong_has_a_cause_and_ends_in_time(send, behave, cause):
    with server(behave) as url:
        started = time.monotonic()
        with pytest.raises(WireError) as raised:
            send(call(url), 0.5)
    assert raised.value.cause == cause
    assert "sk-secret-key" not in str(raised.value)
    assert time.monotonic() - started < 5


def test_nobody_listening_is_refused(send):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(WireError) as raised:
            send(call(f"http://127.0.0.1:{closed.getsockname()[1]}/"), 5)
    assert raised.value.cause == "refused"


def test_a_name_that_does_not_exist_is_not_resolved(send):
    with pytest.raises(WireError) as raised:
        send(call("http://nowhere.invalid/"), 5)
    assert raised.value.cause == "resolve"


def test_a_plain_server_is_no_tls_server(send):
    with server(say(), b"hello, this is no handshake\r\n" * 9) as url, pytest.raises(WireError) as raised:
        send(call(url.replace("http:", "https:")), 5)
    assert raised.value.cause == "tls"


@pytest.mark.parametrize("value", ["two\nlines", "nul\0", "ümlaut"])
def test_a_header_that_cannot_be_sent_is_not_quoted(send, value):
    with server(say(HEAD, b"0123456789")) as url:
        with pytest.raises(WireError) as raised:
            send(Call("POST", url, {"x-api-key": value}, b""), 5)
        assert value not in str(raised.value)


def test_a_whole_reply_comes_with_lower_case_headers(send):
    reply = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nX-Two: a\r\ncontent-length: 2\r\n\r\nok"
    with server(say(reply)) as url:
        got = send(call(url), 5)
    assert (got.status, got.body, got.headers["retry-after"]) == (429, b"ok", "7")


def test_a_compressed_reply_is_unpacked(send):
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    with server(say(head + packed)) as url:
        assert send(call(url), 5).body == b"hello"


def test_a_redirect_is_not_followed(send):
    with server(say(HEAD, b"0123456789")) as other:
        reply = f"HTTP/1.1 302 Found\r\nlocation: {other}\r\ncontent-length: 0\r\n\r\n".encode()
        with server(say(reply)) as url:
            assert send(call(url), 5).status == 302


def test_a_reply_without_an_end_is_given_up(send):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1_000_000)

    with server(flood) as url, pytest.raises(WireError, match="longer than 64 MiB"):
        send(call(url), 60)


@pytest.mark.parametrize("size", [5_000_000, 1])
def test_a_long_question_is_sent_whole(send, size):
    def behave(connection):
        connection.sendall(HEAD + b"0123456789")

    with server(behave) as url:
        assert send(Call("POST", url, {}, b"x" * size), 30).body == b"0123456789"


def test_a_header_of_many_kilobytes_is_read(send):
    with server(
        say(b"HTTP/1.1 200 OK\r\nx-policy: " + b"x" * 30_000 + b"\r\ncontent-length: 0\r\n\r\n")
    ) as url:
        assert len(send(call(url), 5).headers["x-policy"]) == 30_000


def test_a_connection_is_used_again():
    connections = []

    def behave(connection):
        connections.append(connection)
        connection.sendall(HEAD + b"0123456789")
        return True

    wire = HttpcoreWire()
    with server(behave) as url:
        for _ in range(3):
            wire.send(call(url), 5)
    wire.close()
    assert len(set(map(id, connections))) == 1


def test_each_thread_has_its_own_limit():
    def late(connection):
        time.sleep(0.4)
        connection.sendall(HEAD + b"0123456789")

    wire, got = HttpcoreWire(), {}

    def ask(name, timeout):
        try:
            got[name] = wire.send(call(url), timeout).status
        except WireError as error:
            got[name] = error.cause

    with server(late) as url:
        threads = [threading.Thread(target=ask, args=pair) for pair in [("short", 0.1), ("long", 30)]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wire.close()
    assert got == {"short": "timeout", "long": 200}
