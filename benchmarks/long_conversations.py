"""What a gateway's event loop takes for a long conversation: the processor time of its second turn over that
of a short one, and the longest piece of it, in which nobody else is served.
"""

import asyncio
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from loop_stalls import BY_PROCESSOR, Heartbeat, within
from pairs import compare, place, simulator

from llmfail.http_server.http_app import HttpServer
from llmfail.http_server.listen_address import bind
from llmfail.server.gateway import Gateway
from llmfail.server.gateway_client import GatewayClient
from llmfail.server.request_log_file import RequestLogFile
from llmfail.server.served_configuration import ServedConfiguration
from llmfail.server.worker_gauges import SharedGauges, WorkerGauges

SHORT, SIZES = 1_000, (100_000, 400_000)
PAIRS, TURNS = 15, 5
ALLOWED, MS_PER_MEGABYTE = 1.5, 2.0
TURN = "The quick brown fox jumps over the lazy dog; 1,234 of 5,678 (see §9). " * 15
MODELS = {"relayed": "anthropic/claude-sonnet-5-5", "translated": "openai/gpt-6.1-terra"}


def conversation(size: int, turns: int, model: str) -> bytes:
    """A body of Anthropic's of about so many bytes, whose last turn is the only new one."""
    count = size // 2_000 * 2
    texts = [f"{number}: {TURN}" for number in range(count)] + [f"and {turns}"]
    said = [
        {"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)
    ]
    return json.dumps({"model": model, "max_tokens": 500, "messages": said}).encode()


class RunningGateway:
    """``ask`` it over a connection that stays."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._loop = loop
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._numbers = iter(range(1_000_000))

    def ask(self, size: int, model: str) -> None:
        body = conversation(size, next(self._numbers), model)
        self._connection.request("POST", "/v1/messages", body, {"content-type": "application/json"})
        reply = self._connection.getresponse()
        said = reply.read()
        assert reply.status == 200, said

    def processor_time(self) -> float:
        """Of the thread of the event loop."""

        async def read() -> float:
            return time.thread_time()

        return asyncio.run_coroutine_threadsafe(read(), self._loop).result()

    def longest_piece(self, size: int, model: str) -> float:
        """Of the first turn of a conversation, in which nothing of it is known, and some more."""

        async def begin() -> Heartbeat:
            return Heartbeat()

        beat = asyncio.run_coroutine_threadsafe(begin(), self._loop).result()
        for more in range(TURNS):
            self.ask(size + 2_000 * more, model)
        self._loop.call_soon_threadsafe(beat.stop)
        return beat.processor


@contextmanager
def gateway(config: Path, state: Path) -> Iterator[RunningGateway]:
    started: list[RunningGateway] = []
    ready, ended, loops = threading.Event(), asyncio.Event(), []

    async def serve() -> None:
        async with GatewayClient(config, state_dir=state) as client:
            configuration = ServedConfiguration(client, "127.0.0.1")
            log = RequestLogFile(state / "requests.log")
            server = HttpServer(Gateway(configuration, WorkerGauges(SharedGauges(1), 0), log).handle)
            listener = bind("127.0.0.1", 0)
            await server.open(listener)
            loops.append(asyncio.get_running_loop())
            started.append(RunningGateway(loops[0], listener.getsockname()[1]))
            ready.set()
            await ended.wait()
            await server.close()
            log.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()


def main() -> int:
    fine = True
    with simulator() as urls, place(urls) as (config, state):
        state.mkdir(parents=True)
        with gateway(config, state) as running:

            def clock(work: Callable[[], object]) -> float:
                began = running.processor_time()
                work()
                return running.processor_time() - began

            for how, model in MODELS.items():
                running.ask(SHORT, model)
                for size in SIZES:
                    piece = running.longest_piece(size, model)
                    name = f"the longest piece of a {how} conversation of {size // 1000} kB"
                    fine = within(f"{name}, over {BY_PROCESSOR * 1000:.0f} ms", piece, BY_PROCESSOR) and fine
                    ask_short = partial(running.ask, SHORT, model)
                    short = min(clock(ask_short) for _ in range(PAIRS))
                    allowed = ALLOWED + size / 1e6 * MS_PER_MEGABYTE / 1000 / short
                    fine = (
                        compare(
                            f"a later turn of {size // 1000} kB over one of 1 kB, {how}",
                            partial(running.ask, size, model),
                            ask_short,
                            limit=allowed,
                            pairs=PAIRS,
                            clock=clock,
                        )
                        and fine
                    )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
