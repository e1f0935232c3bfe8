"""Calls through the engine of one ``AsyncClient``, 64 at once to a server that answers after 50 ms, over
those of bare asyncio httpx; and the share of what concurrency and latency allow, which is 1,280 a second.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import httpx
from pairs import QUESTION, compare, place, simulator, wall

from llmfail import AsyncClient

CALLS, AT_ONCE, LATENCY = 640, 64, 0.05


async def many(one: Callable[[], Awaitable[object]]) -> None:
    numbers = iter(range(CALLS))

    async def work() -> None:
        for _ in numbers:
            await one()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def fine_with(store: str) -> bool:
    with (
        simulator(f"anthropic=slow:{LATENCY * 1000:.0f}") as urls,
        place(urls) as (config, state),
        asyncio.Runner() as runner,
    ):
        config.write_text(f"{config.read_text()}store: {store}\n")
        url, headers = f"{urls['anthropic']}/v1/messages", {"x-api-key": "benchmark-key"}
        client, bare = AsyncClient(config, state_dir=state), httpx.AsyncClient(timeout=30)

        async def engine() -> None:
            assert (await client.ask("Say hello")).tier == 0

        async def httpx_alone() -> None:
            reply = await bare.post(url, json=QUESTION, headers=headers)
            assert reply.json()["content"][0]["text"]

        def run(one: Callable[[], Awaitable[object]]) -> None:
            runner.run(many(one))

        ours, baseline = partial(run, engine), partial(run, httpx_alone)
        name = f"{CALLS} calls, {AT_ONCE} at once, through the engine ({store} store) over bare asyncio httpx"
        fine = compare(name, ours, baseline, limit=0.5, pairs=5)
        rate, possible = CALLS / min(wall(ours) for _ in range(5)), AT_ONCE / LATENCY
        print(f"  best of 5: {rate:.0f} calls a second, {rate / possible:.0%} of concurrency / latency")
        runner.run(client.close())
        runner.run(bare.aclose())
    return fine


def main() -> int:
    return 0 if all([fine_with("memory"), fine_with("disk")]) else 1


if __name__ == "__main__":
    sys.exit(main())
