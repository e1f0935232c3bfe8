"""`llmfail serve` beside a bare pass-through on aiohttp, and beside other gateways: requests a second,
latency, processor time and memory, for whole and streamed answers, at 1 and 50 connections, with one mock
provider behind them all.

    python benchmarks/gateway.py                                        # llmfail and the pass-through
    python benchmarks/gateway.py --litellm VENV/bin/litellm --portkey NODE_MODULES/@portkey-ai/gateway

One after the other, in several rounds of one run; the best rate and the least processor time of the rounds
count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECONDS = 2.0
ROUNDS = 3
CONNECTIONS = (1, 50)
USER = [{"role": "user", "content": "Say hello in one word."}]
LARGE = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 1700}]
WHOLE = {"model": "gpt-6-luna", "messages": USER}
STREAM = {**WHOLE, "stream": True, "stream_options": {"include_usage": True}}
LARGE_CHAT = {**WHOLE, "messages": LARGE}
LOADS = {"chat": WHOLE, "stream": STREAM, "77 kB": LARGE_CHAT}
EVENTS = 19
CONFIG = """\
version: 1
providers: {{openai: {{api: openai, base_url: "{url}/v1", api_key: benchmark-key}}}}
features: {{default: {{primary: openai/gpt-6-luna}}}}
cache: {{enabled: false}}
serve: {{models: {{gpt-6-luna: default}}, log: requests.log}}
"""
LITELLM = """\
model_list:
  - model_name: gpt-6-luna
    litellm_params: {{model: openai/gpt-6-luna, api_base: "{url}/v1", api_key: benchmark-key}}
"""


OF_OTHERS = {
    "TRUSTED_CUSTOM_HOSTS": "127.0.0.1",  # Portkey calls no other host by itself
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}


class Figures(NamedTuple):
    """``cpu_us`` is the processor time of the server for a request, ``rss_mib`` its memory in the first
    round, before it has met larger requests.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_mib: float


# The mock provider, which costs as little as Python can.


def _answer_bodies() -> tuple[bytes, list[bytes]]:
    """A whole answer, and the pieces of a streamed one, each of which is sent by itself."""
    usage = {"prompt_tokens": 9, "completion_tokens": 17, "total_tokens": 26}
    head = {"id": "chatcmpl-1", "created": 1, "model": "gpt-6-luna"}
    message = {"role": "assistant", "content": "Hello! " * 17}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    chunk = {**head, "object": "chat.completion.chunk"}
    events = [
        {**chunk, "choices": [{"index": 0, "delta": {"content": "Hello! "}, "finish_reason": None}]}
        for _ in range(EVENTS - 2)
    ]
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({**chunk, "choices": [], "usage": usage})
    texts = [b"data: %b\n\n" % json.dumps(one).encode() for one in events] + [b"data: [DONE]\n\n"]
    chunks = [b"%x\r\n%b\r\n" % (len(text), text) for text in texts] + [b"0\r\n\r\n"]
    head_of = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n"
    return (
        head_of % (b"application/json", b"content-length: %d" % len(whole)) + whole,
        [head_of % (b"text/event-stream", b"transfer-encoding: chunked"), *chunks],
    )


class _Mock(asyncio.Protocol):
    whole, stream = _answer_bodies()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            head, mark, rest = self.received.partition(b"\r\n\r\n")
            if not mark:
                return
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(rest) < size:
                return
            body, self.received = rest[:size], rest[size:]
            is_stream = b'"stream":true' in body[-200:] + body[:200] or b'"stream": true' in body
            if is_stream:
                self._send(0)
            else:
                self.transport.write(self.whole)

    def _send(self, index: int) -> None:
        """An event in each turn of the event loop, as tokens come."""
        self.transport.write(self.stream[index])
        if index + 1 < len(self.stream):
            asyncio.get_running_loop().call_soon(self._send, index + 1)


async def serve_mock(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Mock, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


# The pass-through: what any gateway on aiohttp costs at least.


def serve_through(port: int, url: str) -> None:
    import aiohttp
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        async with session.post(f"{url}{request.path}", data=body) as reply:
            if reply.headers["content-type"] != "text/event-stream":
                return web.Response(body=await reply.read(), content_type="application/json")
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            async for piece in reply.content.iter_any():
                await response.write(piece)
            return response

    async def run() -> None:
        nonlocal session
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()

    session: aiohttp.ClientSession
    asyncio.run(run())


# The load: requests one after the other on each of some connections.


class _Caller(asyncio.Protocol):
    def __init__(self, request: bytes, ends_at: float, took: list[float]) -> None:
        self.request, self.ends_at, self.took = request, ends_at, took
        self.done = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self.received = b""
        self.asked_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, mark, body = self.received.partition(b"\r\n\r\n")
        if not mark:
            return
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if len(body) < int(length) if length else not body.endswith(b"0\r\n\r\n"):
            return
        if b" 200 " not in head[:16]:
            self.done.set_exception(RuntimeError(self.received[:500].decode()))
            return
        self.took.append(time.perf_counter() - self.asked_at)
        if time.perf_counter() < self.ends_at:
            self._ask()
        elif not self.done.done():
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the connection was closed"))


async def load(port: int, body: dict[str, object], connections: int, seconds: float) -> list[float]:
    """How long each request took."""
    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    extra = "authorization: Bearer benchmark-key\r\nx-portkey-provider: openai\r\n"
    extra += f"x-portkey-custom-host: {os.environ.get('MOCK_URL', '')}/v1\r\n"
    request = f"{head}{extra}content-length: {len(data)}\r\n\r\n".encode() + data
    took: list[float] = []
    loop, ends_at = asyncio.get_running_loop(), time.perf_counter() + seconds
    callers = [
        (await loop.create_connection(lambda: _Caller(request, ends_at, took), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(one.done for one in callers))
    return took


# The contenders.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, directory: Path, **environ: str) -> Iterator[int]:
    """The process id, once the port is listened to."""
    with (directory / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **environ},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for_port(port, process)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 300
    while time.monotonic() < ends_at and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {port}: {process.args!r}")


def family_of(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for one in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found += family_of(int(one.name))
    return found


def processor_seconds(pid: int) -> float:
    ticks = 0
    for one in family_of(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    pages = 0
    for one in family_of(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(pid: int, port: int, body: dict[str, object], connections: int, seconds: float) -> Figures:
    before, started = processor_seconds(pid), time.perf_counter()
    took = sorted(asyncio.run(load(port, body, connections, seconds)))
    elapsed, used = time.perf_counter() - started, processor_seconds(pid) - before
    return Figures(
        rate=len(took) / elapsed,
        p50_ms=took[len(took) // 2] * 1000,
        p99_ms=took[min(len(took) * 99 // 100, len(took) - 1)] * 1000,
        cpu_us=used / len(took) * 1e6,
        rss_mib=resident_mib(pid),
    )


def best_of(rounds: list[Figures]) -> Figures:
    return Figures(
        rate=max(one.rate for one in rounds),
        p50_ms=min(one.p50_ms for one in rounds),
        p99_ms=min(one.p99_ms for one in rounds),
        cpu_us=min(one.cpu_us for one in rounds),
        rss_mib=rounds[0].rss_mib,
    )


def commands(url: str, directory: Path, options: argparse.Namespace) -> dict[str, tuple[list[str], int]]:
    """Each contender with the port that it listens on."""
    ports = [free_port() for _ in range(4)]
    (directory / "llmfail.yaml").write_text(CONFIG.format(url=url))
    (directory / "litellm.yaml").write_text(LITELLM.format(url=url))
    serve = [sys.executable, "-m", "llmfail", "--config", str(directory / "llmfail.yaml"), "-q", "serve"]
    found = {
        "pass-through": ([sys.executable, __file__, "through", str(ports[0]), url], ports[0]),
        "llmfail": ([*serve, "--listen", f"127.0.0.1:{ports[1]}"], ports[1]),
    }
    if options.litellm:
        own = [options.litellm, "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", str(ports[2])]
        found["litellm"] = ([*own, "--num_workers", "1"], ports[2])
    if options.portkey:
        script = str(Path(options.portkey) / "build" / "start-server.js")
        found["portkey"] = (["node", script, "--headless", f"--port={ports[3]}"], ports[3])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litellm", help="the command of LiteLLM")
    parser.add_argument("--portkey", help="the folder of the package @portkey-ai/gateway")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory, mock_port = Path(name), free_port()
        url = f"http://127.0.0.1:{mock_port}"
        os.environ["MOCK_URL"] = url
        own = {"LLMFAIL_STATE_DIR": str(directory / "state"), **OF_OTHERS}
        stack.enter_context(running([sys.executable, __file__, "mock", str(mock_port)], mock_port, directory))
        pids = {
            contender: (stack.enter_context(running(command, port, directory, **own)), port)
            for contender, (command, port) in commands(url, directory, options).items()
        }
        return report(compare(pids, options))


def compare(
    pids: dict[str, tuple[int, int]], options: argparse.Namespace
) -> dict[tuple[str, str, int], Figures]:
    found: dict[tuple[str, str, int], list[Figures]] = {}
    for contender, (_pid, port) in pids.items():
        asyncio.run(load(port, WHOLE, 4, 1.0))
        print(f"{contender} answers", file=sys.stderr)
    for _ in range(options.rounds):
        for kind, body in LOADS.items():
            for connections in CONNECTIONS:
                for contender, (pid, port) in pids.items():
                    place = contender, kind, connections
                    try:
                        figures = measure(pid, port, body, connections, options.seconds)
                    except (
                        RuntimeError,
                        ConnectionError,
                    ) as error:  # such as streams of Portkey on Node.js 20
                        print(f"{contender} fails at {kind}: {str(error)[:80]!r}", file=sys.stderr)
                    else:
                        found.setdefault(place, []).append(figures)
    return {place: best_of(rounds) for place, rounds in found.items()}


def report(found: dict[tuple[str, str, int], Figures]) -> int:
    print(f"{'':14}{'load':8}{'c':>4}{'/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'cpu us':>9}{'RSS MiB':>9}")
    for (contender, kind, connections), one in found.items():
        print(
            f"{contender:14}{kind:8}{connections:>4}{one.rate:>9.0f}{one.p50_ms:>9.1f}"
            f"{one.p99_ms:>9.1f}{one.cpu_us:>9.0f}{one.rss_mib:>9.0f}"
        )

    def ratio(text: str, value: float, aim: str) -> None:
        print(f"{text}: {value:.2f} (aim: {aim})")

    cpu = {place: one.cpu_us for place, one in found.items()}
    through, mine = "pass-through", "llmfail"
    ratio(
        "processor time of a chat",
        cpu[mine, "chat", 50] / cpu[through, "chat", 50],
        "<= 2.5",
    )
    ratio("… of a stream", cpu[mine, "stream", 50] / cpu[through, "stream", 50], "<= 2")
    ratio("… of a 77 kB request over a 1 kB one", cpu[mine, "77 kB", 50] / cpu[mine, "chat", 50], "<= 1.3")
    if ("litellm", "chat", 1) in found:
        for connections, aim in ((1, ">= 10"), (50, ">= 20")):
            rates = found[mine, "chat", connections].rate, found["litellm", "chat", connections].rate
            ratio(f"requests a second at {connections} over LiteLLM's", rates[0] / rates[1], aim)
        memory = found[mine, "stream", 50].rss_mib / found["litellm", "stream", 50].rss_mib
        ratio("resident memory over LiteLLM's", memory, "<= 0.15")
    if ("portkey", "chat", 50) in found:
        p99 = found[mine, "chat", 50].p99_ms / found["portkey", "chat", 50].p99_ms
        ratio("p99 at 50 connections over Portkey's", p99, "<= 0.1")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["mock"]:
        asyncio.run(serve_mock(int(sys.argv[2])))
    elif sys.argv[1:2] == ["through"]:
        serve_through(int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main())
