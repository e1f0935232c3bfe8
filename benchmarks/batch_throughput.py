"""Lines a second of ``llmfail batch``, its start-up included, over the calls a second of bare asyncio httpx
at the same concurrency, and over concurrency / latency, which nobody can exceed.

httpx with its own limits, which keep 20 connections alive: with 64 it is three to four times slower.
"""

import asyncio
import statistics
import subprocess
import sys
from pathlib import Path

import httpx
from batch_memory import batch, numbered
from pairs import QUESTION, place, simulator, wall

LINES, LATENCY, CONCURRENCY, PAIRS = 5000, 0.05, 64, 3


async def bare(url: str) -> None:
    turns = asyncio.Semaphore(CONCURRENCY)
    async with httpx.AsyncClient(timeout=30) as client:

        async def call() -> None:
            async with turns:
                reply = await client.post(url, json=QUESTION, headers={"x-api-key": "benchmark-key"})
                assert reply.json()["content"][0]["text"]

        await asyncio.gather(*(call() for _ in range(LINES)))


def main() -> int:
    speeds: list[tuple[float, float]] = []
    for _ in range(PAIRS):
        with (
            simulator(f"all=slow:{LATENCY * 1000:.0f}") as urls,
            place(urls) as (config, state),
            numbered(LINES, Path(config).parent) as (lines, receipts),
        ):
            command = batch(config, state, lines, receipts, CONCURRENCY)
            ours = wall(
                lambda command=command: subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            )
            assert receipts.read_bytes().count(b"\n") == LINES
            alone = wall(lambda url=urls["anthropic"]: asyncio.run(bare(f"{url}/v1/messages")))
            speeds.append((LINES / ours, LINES / alone))
    ratio = statistics.median(one / other for one, other in speeds)
    ours, alone = (statistics.median(column) for column in zip(*speeds, strict=True))
    most = CONCURRENCY / LATENCY
    print(
        f"lines a second of batch over bare asyncio httpx: ratio {ratio:.2f} "
        f"({'within' if ratio >= 2 else 'BELOW'} 2; {ours:.0f} against {alone:.0f})"
    )
    print(
        f"lines a second of batch over concurrency / latency: ratio {ours / most:.2f} "
        f"({'within' if ours / most >= 0.6 else 'BELOW'} 0.6; {ours:.0f} against {most:.0f})"
    )
    return 0 if ratio >= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
