"""The wire for asyncio with many calls: connections are used again, not after their end, and none is left."""

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading

import pytest

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call
from llmfail.wire import connector
from llmfail.wire.aio import AiohttpWire
from llmfail.wire.call_slots import CallSlots

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers each request with ``reply``, after ``enough`` have come; without one it waits for the end."""

    def __init__(self, reply=REPLY, enough=1, trusted=None):
        self.reply, self.enough, self.trusted = reply, enough, trusted
        self.requests, self.accepted, self.open = [], 0, set()
        self.changed = asyncio.Condition()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.trusted, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.trusted else 'http'}://localhost:{self.port}/"
        return self

    async def __aexit__(self, *_exc_info):
        self._server.close()
        for writer in list(self.open):
            writer.close()
        await self.until(lambda: not self.open)

    async def serve(self, reader, writer):
        self.accepted += 1
        self.open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2 if b"content-length: 2" in head.lower() else 0)
                await self.note(lambda head=head: self.requests.append(head))
                await self.until(lambda: len(self.requests) >= self.enough)
                writer.write(self.reply or await reader.read())
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await self.note(lambda: self.open.discard(writer))

    async def note(self, change):
        async with self.changed:
            change()
            self.changed.notify_all()

    async def until(self, condition):
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(condition)


def call(url):
    return Call("POST", url, {"x-api-key": "sk-secret-key"}, b"{}")


def play(scene):
    """Nothing that was opened may be left to the garbage collector, which would warn."""
    asyncio.run(scene())
    gc.collect()


def test_a_thousand_calls_are_under_way_at_once():
    async def scene():
        async with Server(enough=1000) as server:
            wire = AiohttpWire(max_calls=1000)
            replies = await asyncio.gather(*(wire.send(call(server.url), 30) for _ in range(1000)))
            await wire.close()
            assert [reply.body for reply in replies] == [b"ok"] * 1000
            assert server.accepted == 1000

    play(scene)


def test_no_more_calls_at_once_than_there_are_turns():
    async def scene():
        async with Server() as server:
            wire = AiohttpWire(max_calls=3)
            await asyncio.gather(*(wire.send(call(server.url), 30) for _ in range(50)))
            await wire.close()
            assert len(server.requests) == 50
            assert server.accepted <= 3

    play(scene)


def test_file_descriptors_decide_how_many_calls_there_are_at_once():
    code = """import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from llmfail.wire.call_slots import compute_max_calls
print(compute_max_calls())"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "64\n"


def test_a_connection_is_used_again():
    async def scene():
        async with Server() as server:
            wire = AiohttpWire()
            for _ in range(3):
                await wire.send(call(server.url), 5)
            await wire.close()
            assert (len(server.requests), server.accepted) == (3, 1)

    play(scene)


def test_a_connection_that_nobody_needs_for_a_while_is_closed(monkeypatch):
    monkeypatch.setattr(connector, "MAX_IDLE_SECONDS", 0.05)

    async def scene():
        async with Server() as server:
            wire = AiohttpWire()
            await asyncio.gather(*(wire.send(call(server.url), 5) for _ in range(2)))
            await server.until(lambda: not server.open)
            await wire.close()

    play(scene)


def test_a_connection_that_ended_while_nobody_looked_is_not_used():
    """The end has arrived at this machine, but the event loop has had no turn to see it."""
    answered = threading.Semaphore(0)

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(REPLY)
                answered.release()

    async def scene():
        wire = AiohttpWire()
        for _ in range(5):
            assert (await wire.send(call(f"http://127.0.0.1:{port}/"), 5)).body == b"ok"
            answered.acquire()
        await wire.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        play(scene)
        listener.shutdown(socket.SHUT_RDWR)


def test_a_call_that_is_stopped_leaves_no_connection():
    async def scene():
        async with Server(reply=None) as server:
            wire = AiohttpWire()
            tasks = [asyncio.create_task(wire.send(call(server.url), 30)) for _ in range(5)]
            await server.until(lambda: len(server.requests) == 5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.until(lambda: not server.open)
            await wire.close()
            assert all(task.cancelled() for task in tasks)

    play(scene)


def test_a_call_that_is_stopped_while_it_connects_leaves_nothing():
    async def scene():
        wire = AiohttpWire()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
            task = asyncio.create_task(wire.send(call(url), 30))
            connection, _ = await asyncio.to_thread(silent.accept)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await wire.close()
            with connection:
                while await asyncio.to_thread(connection.recv, 65536):
                    pass

    play(scene)


def test_tls_is_checked_with_the_certificates_of_the_environment_and_used_again(identity, monkeypatch):
    public, context = identity
    monkeypatch.setenv("SSL_CERT_FILE", str(public))

    async def scene():
        async with Server(trusted=context) as server:
            wire = AiohttpWire()
            for _ in range(3):
                assert (await wire.send(call(server.url), 5)).body == b"ok"
            assert server.accepted == 1
            await asyncio.gather(*(wire.send(call(server.url), 5) for _ in range(20)))
            await wire.close()
            await server.until(lambda: not server.open)

    play(scene)


def test_a_certificate_that_nobody_vouches_for_is_a_failure_of_tls(identity):
    async def scene():
        async with Server(trusted=identity[1]) as server:
            wire = AiohttpWire()
            with pytest.raises(WireError, match="certificate verify failed") as raised:
                await wire.send(call(server.url), 5)
            await wire.close()
            assert raised.value.cause == "tls"

    play(scene)


@pytest.fixture
def alone(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://far.invalid/v1?a=%2Fb", b"POST http://far.invalid/v1?a=%2Fb HTTP/1.1"),
        ("https://far.invalid/v1", b"CONNECT far.invalid:443 HTTP/1.1"),
    ],
    ids=["http", "https"],
)
def test_a_proxy_gets_its_own_credentials_and_nothing_of_the_call_behind_tls(alone, monkeypatch, url, line):
    async def scene():
        async with Server(b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n") as proxy:
            monkeypatch.setenv("all_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
            wire = AiohttpWire()
            with contextlib.suppress(WireError):
                await wire.send(call(url), 5)
            await wire.close()
            head = proxy.requests[0]
            assert head.startswith(line)
            assert b"proxy-authorization: basic bwu6cebzcw==" in head.lower()
            assert (b"sk-secret-key" in head) is url.startswith("http:")

    play(scene)


def test_a_socks_proxy_is_refused_with_a_reason(alone, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://me:hunter2@127.0.0.1:1")

    async def scene():
        wire = AiohttpWire()
        with pytest.raises(UsageError, match="SOCKS") as raised:
            await wire.send(call("http://far.invalid/"), 5)
        await wire.close()
        assert "hunter2" not in str(raised.value)

    play(scene)


def test_credentials_in_a_url_are_neither_sent_nor_in_the_way_of_the_key():
    async def scene():
        async with Server() as server:
            wire = AiohttpWire()
            url = server.url.replace("//", "//me:hunter2@")
            await wire.send(Call("POST", url, {"authorization": "Bearer key"}, b"{}"), 5)
            await wire.close()
            assert b"authorization: bearer key" in server.requests[0].lower()

    play(scene)


def test_a_slot_goes_to_who_has_waited_longest_and_is_still_there():
    async def queue():
        slots, served = CallSlots(1), []

        async def wait(name):
            await slots.acquire()
            served.append(name)

        await slots.acquire()
        first, second, third = [asyncio.create_task(wait(name)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        first.cancel()
        slots.release()
        second.cancel()  # Its turn has come, and it has not seen it yet.
        await third
        slots.release()
        return served, slots.are_all_taken()

    assert asyncio.run(queue()) == (["third"], False)


def test_a_slot_that_can_be_none_is_given_up_unless_it_is_the_only_one_taken():
    async def take():
        slots = CallSlots(2)
        await slots.acquire()
        alone = slots.retire()
        await slots.acquire()
        beside_another = slots.retire()
        slots.release()
        await slots.acquire()
        return alone, beside_another, slots.are_all_taken()

    assert asyncio.run(take()) == (False, True, True)
