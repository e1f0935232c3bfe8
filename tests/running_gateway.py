"""Gateways for tests: in this process, on a thread of its own, with the simulator as every provider; and as
``llmfail serve`` in processes.
"""

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from forked_program import start_llmfail

from llmfail.http_server.http_app import ConnectionLimits, HttpServer
from llmfail.http_server.listen_address import bind
from llmfail.server.gateway import Gateway
from llmfail.server.gateway_client import GatewayClient
from llmfail.server.request_log_file import RequestLogFile
from llmfail.server.served_configuration import ServedConfiguration
from llmfail.server.worker_gauges import SharedGauges, WorkerGauges
from llmfail.settings import load

CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 1000, volume_threshold: 1000}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-1}}
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
  google: {{api: gemini, base_url: "{google}", api_key: made-up-key-3}}
cache: {{enabled: false}}
features:
  default: {{primary: anthropic/claude-sonnet-5-5, fallbacks: [openai/gpt-6.1-terra]}}
  chat: {{aliases: [talk], primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
  gem: {{primary: google/gemini-3.8-flash}}
  vectors: {{primary: openai/text-embedding-3-small}}
{more}
"""
ASK = {"model": "default", "messages": [{"role": "user", "content": "hi"}]}


class Reply:
    """A status, headers with lower-case names, and a body; ``is_whole``: it ended as HTTP has it."""

    def __init__(self, reply):
        self.status = reply.status
        self.headers = {name.lower(): value for name, value in reply.getheaders()}
        self.is_whole = True
        try:
            self.body = reply.read()
        except http.client.IncompleteRead as cut:
            self.body, self.is_whole = cut.partial, False

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def events(self):
        """The data of its server-sent events; texts where they are no JSON."""
        lines = self.body.decode().split("\n")
        data = [line[6:] for line in lines if line.startswith("data: ")]
        return [json.loads(one) if one.startswith("{") else one for one in data]


class RunningGateway:
    def __init__(self, gateway, port, log, loop, simulator):
        self.gateway, self.port, self.loop, self.simulator = gateway, port, loop, simulator
        self._log = log

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def call(self, method, path, body=None, **headers):
        """Headers with _ for -; a body is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            named = {"content-type": "application/json", **named}
        try:
            connection.request(method, path, body, named)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def post(self, path, body, **headers):
        return self.call("POST", path, body, **headers)

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def run(self, work):
        """What a coroutine gives in the event loop of the gateway."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @property
    def log(self):
        """The lines of the request log."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@contextmanager
def run_gateway(directory: Path, simulator, more="", limits=None, environ=None, **served):
    """``more`` are further lines of the configuration, ``served`` goes to ``ServedConfiguration``."""
    file = directory / "llmfail.yaml"
    urls = {name: simulator.base_url(name) for name in ("anthropic", "openai", "google")}
    file.write_text(CONFIG.format(more=more, **urls))
    settings = load(file, environ or {}, directory, directory / "state")
    log = directory / "requests.log"
    ready, stop = threading.Event(), []

    async def run():
        client = GatewayClient(settings=settings, state_dir=directory / "state", warn=print)
        gateway = Gateway(
            ServedConfiguration(client, "127.0.0.1", **served),
            WorkerGauges(SharedGauges(1), 0),
            RequestLogFile(log),
        )
        server, listener, ended = HttpServer(gateway.handle, limits), bind("127.0.0.1", 0), asyncio.Event()
        await server.open(listener)
        stop.extend((asyncio.get_running_loop(), ended))
        found.append(
            RunningGateway(gateway, listener.getsockname()[1], log, asyncio.get_running_loop(), simulator)
        )
        ready.set()
        await ended.wait()
        await server.close()
        await client.close()

    found = []
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        loop, ended = stop
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)


class ServeProcess:
    """A process group of ``llmfail serve``, with what it says; ``at_start`` is a signal that it gets again
    and again from when it has said where it listens until it answers. ``tls`` is how it is connected to,
    ``file`` the socket file at which it listens.
    """

    def __init__(self, *arguments, config=None, at_start=None, tls=None, file=None):
        self.tls, self.file = tls, file
        named = ["--config", str(config)] if config else []
        listen = ["--listen", "127.0.0.1:0" if file is None else f"unix:{file}"]
        command = [*named, "serve", *listen, *arguments]
        self.process = start_llmfail(*command, stderr=subprocess.PIPE)
        self.said = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        told = self.wait_for(r"serving .* on \S+")
        self.port = int(re.search(r":(\d+) ", told)[1]) if file is None else None
        self._wait_until_live(at_start)

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self.said.append(line.decode().rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.said.append("the end")
            self._changed.notify_all()

    def wait_for(self, pattern, times=1):
        """The line that has it, for the first time or so many times."""

        def find():
            found = [line for line in self.said if re.search(pattern, line)]
            return found[times - 1] if len(found) >= times else None

        with self._changed:
            assert self._changed.wait_for(find, 30), self.said
            return find()

    def _wait_until_live(self, at_start):
        ends_at = time.monotonic() + 30
        while time.monotonic() < ends_at:
            if at_start is not None:
                self.process.send_signal(at_start)
            with suppress(OSError):
                if self.call("GET", "/health/live")[0] == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(self.said)

    def _connect(self):
        if self.file is not None:
            connection = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(30)
            connection.sock.connect(str(self.file))
            return connection
        if self.tls is not None:
            return http.client.HTTPSConnection("localhost", self.port, timeout=30, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def call(self, method, path, body=None, **headers):
        """Status and body."""
        connection = self._connect()
        headers = {"content-type": "application/json", **headers}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    @property
    def workers(self):
        """Their process ids; none where one process does everything."""
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in listed.stdout.split()]

    def ask(self, **more):
        return self.call("POST", "/v1/chat/completions", {**ASK, **more})[0]

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(30)
        self.process.stderr.close()

    def end(self, number=signal.SIGTERM):
        """The exit code."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(30)
        return code


__all__ = ["ASK", "ConnectionLimits", "RunningGateway", "ServeProcess", "run_gateway"]
