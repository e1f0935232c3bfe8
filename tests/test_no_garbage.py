"""An answered ask leaves nothing behind that only a search for garbage would free: a gateway has requests of
megabytes, and a search is seldom.
"""

import asyncio
import gc
import json

import pytest

from llmfail import AsyncClient
from llmfail.core.answer_piece import OriginalRequest
from llmfail.core.request.ask import Ask, to_messages
from llmfail.simulator import parse_faults

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 5s}}
cache: {{enabled: false}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
"""
BODY = {"model": "gpt-6.1-terra", "messages": [{"role": "user", "content": "Say hello"}]}


@pytest.fixture
def client_of(tmp_path, simulator):
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("openai", "anthropic")}))
    return lambda: AsyncClient(file, write_delay=600.0)


async def ask(client):
    await client.ask("Say hello")


async def serve(client, *, streamed=False):
    async def show(_piece):
        pass

    body = json.dumps({**BODY, "stream": streamed}).encode()
    asked = Ask(to_messages("Say hello"))
    await client.serve(asked, original=OriginalRequest("chat", body), on_piece=show if streamed else None)


async def serve_a_stream(client):
    await serve(client, streamed=True)


@pytest.mark.parametrize("faults", ["none", "openai=500"])
@pytest.mark.parametrize("work", [ask, serve, serve_a_stream])
def test_no_part_of_an_ask_keeps_another_alive(client_of, simulator, work, faults):
    simulator.set_faults(parse_faults(faults))

    async def run():
        async with client_of() as client:
            for _ in range(2):
                await work(client)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await work(client)
                gc.collect()
            finally:
                gc.set_debug(0)
            return {type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("llmfail")}

    try:
        assert asyncio.run(run()) == set()
    finally:
        gc.garbage.clear()
