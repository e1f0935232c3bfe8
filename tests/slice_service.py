"""Some services with one configuration, each a process: they tell their ids, wait for a line, ask so often
a second until the time is over or the budget has refused for a while, and report as JSON. Their provider
answers in the process.
"""

import asyncio
import json
import os
import sys
from collections import deque

from msgspec.structs import replace

from llmfail import AsyncClient
from llmfail.core.model import Reply
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine

ANSWER_SECONDS = 0.02
REFUSED_IN_A_ROW = 30


async def answer(call, timeout):
    await asyncio.sleep(ANSWER_SECONDS)
    choice = {"message": {"content": "hello"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return Reply(200, {}, json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode())


class ServiceClient(AsyncClient):
    """Its provider answers at once."""

    def __init__(self, config):
        super().__init__(config, write_delay=1.0)
        self._engine = Engine(self.settings, replace(self._ports, send=answer, prepare=lambda: None))

    async def ask_receipt(self):
        return await self._engine.ask(Ask(to_messages("hi")))


async def ask_often(client, rate, seconds):
    """Until ``seconds`` are over, or so many refusals came one after another. What the answers have cost."""
    loop = asyncio.get_running_loop()
    costs, last, running = [], deque([0], REFUSED_IN_A_ROW), set()

    async def ask():
        receipt = await client.ask_receipt()
        assert receipt.ok or receipt.error.kind == "over_budget", receipt.error
        last.append(receipt.ok)
        if receipt.ok:
            costs.append(receipt.cost_pico_usd)

    begun_at, asked = loop.time(), 0
    while loop.time() - begun_at < seconds and any((*last, len(last) < REFUSED_IN_A_ROW)):
        task = loop.create_task(ask())
        running.add(task)
        asked += 1
        await asyncio.sleep(max(begun_at + asked / rate - loop.time(), 0))
        running = {one for one in running if not one.done() or one.result()}
    await asyncio.gather(*running)
    return costs


async def serve(config, rate, seconds):
    async with ServiceClient(config) as client:
        costs = await ask_often(client, rate, seconds)
    return {"answered": len(costs), "spent": sum(costs)}


def print_line(text):
    os.write(1, f"{text}\n".encode())


def fork_service(config, rate, seconds, gate):
    """A child that begins once nobody can write to the gate any more."""
    child = os.fork()
    if child == 0:
        os.close(gate[1])
        os.read(gate[0], 1)
        print_line(json.dumps(asyncio.run(serve(config, rate, seconds))))
        os._exit(0)
    return child


def main(config, count, rate, seconds):
    gate = os.pipe()
    children = [fork_service(config, float(rate), float(seconds), gate) for _ in range(int(count))]
    print_line(json.dumps(children))
    sys.stdin.readline()
    os.close(gate[1])
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
