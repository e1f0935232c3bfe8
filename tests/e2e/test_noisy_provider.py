"""A provider that fails four calls in ten, in four ways, in front of a batch."""

import asyncio
import json
import random

import pytest

from llmfail import AsyncClient

NOISE = ("reset", "malformed", "rate_limited", "cut")


async def noisy_provider(seed):
    """A server that fails four calls in ten, in four ways."""
    noise = random.Random(seed)
    good = json.dumps(
        {
            "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3},
        }
    ).encode()
    said = {"malformed": b"<html>", "rate_limited": b'{"error": {"message": "slow down"}}'}

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split()[0]
                await reader.readexactly(int(length))
                kind = noise.choice([*NOISE, *["ok"] * 6])
                if kind == "reset":
                    writer.transport.abort()
                    return
                body = said.get(kind, good)
                status = b"429 Too Many Requests\r\nretry-after: 1" if kind == "rate_limited" else b"200 OK"
                lines = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(lines % (status, len(body)) + (body[:20] if kind == "cut" else body))
                await writer.drain()
                if kind == "cut":
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def answered_of_200(directory, targets):
    """Waits are short, so that the test is: the breaker opens for a tenth of a second."""
    server = await noisy_provider(targets)
    port = server.sockets[0].getsockname()[1]
    chain = [f"p{number}/m" for number in range(targets)]
    document = {
        "version": 1,
        "cache": {"enabled": False},
        "breaker": {"recovery_timeout": 0.1, "max_recovery_timeout": 0.5, "max_pause": 0.05},
        "providers": {
            f"p{number}": {
                "api": "openai",
                "base_url": f"http://127.0.0.1:{port}/p{number}/v1",
                "api_key": f"made-up-key-{number}",
            }
            for number in range(targets)
        },
        "features": {"default": {"primary": chain[0], "fallbacks": chain[1:]}},
    }
    file = directory / "llmfail.yaml"
    file.write_text(json.dumps(document))
    async with server, AsyncClient(file, state_dir=directory / "state") as client:
        return sum([one.ok async for one in client.batch(map(str, range(200)), concurrency=8)])


@pytest.mark.parametrize(("targets", "least"), [(6, 198), (1, 176)])
def test_c1_a_noisy_provider_fails_almost_no_line_of_a_batch(tmp_path, targets, least):
    assert asyncio.run(asyncio.wait_for(answered_of_200(tmp_path, targets), 120)) >= least
