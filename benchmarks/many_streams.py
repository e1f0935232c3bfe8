"""A thousand streams at once through one ``AsyncClient``: how many of them are whole, and how long they take
over as many bare ones with aiohttp.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Coroutine

import aiohttp
from pairs import QUESTION, place
from trickle import TOKEN, trickle

from llmfail import AsyncClient

STREAMS, TOKENS, PAUSE, PAIRS = 1000, 20, 0.1, 3
WHOLE = TOKEN * TOKENS


async def ours(config: str, state: str) -> list[str | BaseException]:
    async with AsyncClient(config, state_dir=state) as client:

        async def one(number: int) -> str:
            async with client.stream(f"Say hello {number}") as answer:
                return "".join([text async for text in answer])

        return await asyncio.gather(*map(one, range(STREAMS)), return_exceptions=True)


async def bare(url: str) -> list[str | BaseException]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(_number: int) -> str:
            body, said = QUESTION | {"stream": True}, []
            async with session.post(url, json=body, headers={"x-api-key": "benchmark-key"}) as reply:
                async for line in reply.content:
                    event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
                    if event.get("type") == "content_block_delta":
                        said.append(event["delta"]["text"])
            return "".join(said)

        return await asyncio.gather(*map(one, range(STREAMS)), return_exceptions=True)


def timed(run: Coroutine[None, None, list[str | BaseException]]) -> tuple[float, list[str | BaseException]]:
    started = time.perf_counter()
    found = asyncio.run(run)
    return time.perf_counter() - started, found


def main() -> int:
    broken: list[str | BaseException] = []
    ratios = []
    for _ in range(PAIRS):
        with trickle(TOKENS, PAUSE) as urls, place(urls) as (config, state):
            mine, found = timed(ours(str(config), str(state)))
            other, alone = timed(bare(f"{urls['anthropic']}/v1/messages"))
        assert alone == [WHOLE] * STREAMS, "some of the bare streams were lost"
        broken += [one for one in found if one != WHOLE]
        ratios.append(mine / other)
    whole = PAIRS * STREAMS - len(broken)
    print(
        f"{STREAMS} streams at once through one AsyncClient, {PAIRS} times: {whole} of {PAIRS * STREAMS} are "
        f"whole ({'all' if not broken else f'NOT ALL: the first is {broken[0]!r}'})"
    )
    print(
        f"their time over that of bare aiohttp streams: ratio {statistics.median(ratios):.2f} "
        f"(runs: {', '.join(f'{one:.2f}' for one in ratios)})"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
