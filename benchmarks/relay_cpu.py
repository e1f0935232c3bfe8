"""Processor time of a program's own request through ``AsyncClient.serve``, with the disk store, over that of
the bare call that passes the same bytes on with aiohttp: whole and streamed, 50 at once; and of a large
request over a small one.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
from pairs import compare, place, processor, simulator

from llmfail import AsyncClient
from llmfail.core.answer_piece import AnswerPiece, OriginalRequest
from llmfail.core.conversation import Message
from llmfail.core.model import Target
from llmfail.core.request.ask import Ask

AT_ONCE, CALLS, PAIRS = 50, 200, 11
TARGET = Target("openai", "gpt-6.1-terra")
SMALL, LARGE = 1_000, 77_000
TURN = "The quick brown fox jumps over the lazy dog; 1,234 of 5,678 (see §9). " * 15
Call = Callable[[], Awaitable[object]]


def body_of(size: int, *, stream: bool) -> bytes:
    """A conversation of about so many bytes, of turns of a thousand each."""
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": f"{number}: {TURN}"}
        for number in range(size // 2_000 * 2 + 1)
    ]
    return json.dumps({"model": "any", "max_tokens": 500, "stream": stream, "messages": turns}).encode()


def ask_of(body: bytes) -> Ask:
    turns = msgspec.json.decode(body)["messages"]
    messages = tuple(Message(one["role"], one["content"]) for one in turns)
    return Ask(messages, targets=(TARGET,), max_tokens=500, fallback=False)


async def repeat(call: Call) -> None:
    """So many calls, some of them at once."""
    left = iter(range(CALLS))

    async def work() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def serve(client: AsyncClient, size: int, *, stream: bool) -> Call:
    body = body_of(size, stream=stream)

    async def show(_piece: AnswerPiece) -> None:
        pass

    async def call() -> None:
        served = await client.serve(
            ask_of(body), original=OriginalRequest("chat", body), on_piece=show if stream else None
        )
        assert served.receipt.ok, served.receipt.error

    return call


def pass_on(session: aiohttp.ClientSession, url: str, size: int, *, stream: bool) -> Call:
    body = body_of(size, stream=stream).replace(b'"any"', b'"gpt-6.1-terra"')
    headers = {"authorization": "Bearer benchmark-key", "content-type": "application/json"}

    async def call() -> None:
        async with session.post(url, data=body, headers=headers) as reply:
            async for _ in reply.content.iter_any():
                pass
            assert reply.status == 200

    return call


def main() -> int:
    with simulator() as urls, place(urls) as (config, state), asyncio.Runner() as runner:
        loop, url = runner.get_loop(), f"{urls['openai']}/chat/completions"
        client = AsyncClient(config, state_dir=state, write_delay=0.25)
        connector = aiohttp.TCPConnector(limit=0, loop=loop)
        session = aiohttp.ClientSession(connector=connector, loop=loop)

        def runs(call: Call) -> Callable[[], None]:
            return lambda: loop.run_until_complete(repeat(call))

        def measure(name: str, ours: Call, baseline: Call, limit: float) -> bool:
            return compare(name, runs(ours), runs(baseline), limit=limit, pairs=PAIRS, clock=processor)

        fine = [
            measure(
                f"processor time of a relayed {kind} over a bare call",
                serve(client, SMALL, stream=stream),
                pass_on(session, url, SMALL, stream=stream),
                limit=1.6,
            )
            for kind, stream in (("chat", False), ("stream", True))
        ]
        large, small = (serve(client, size, stream=False) for size in (LARGE, SMALL))
        name = "processor time of a relayed request of 77 kB over one of 1 kB"
        fine.append(measure(name, large, small, limit=1.3))
        loop.run_until_complete(asyncio.gather(client.close(), session.close()))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
