"""Processor time of a call through the engine with the disk store over the bare blocking httpx call."""

import sys

import httpx
from pairs import QUESTION, compare, place, processor, simulator

from llmfail import Client

CALLS = 50


def main() -> int:
    with simulator() as urls, place(urls) as (config, state):
        url, headers = f"{urls['anthropic']}/v1/messages", {"x-api-key": "benchmark-key"}
        with Client(config, state_dir=state) as client, httpx.Client(timeout=30) as bare:

            def engine() -> None:
                for _ in range(CALLS):
                    assert client.ask("Say hello").answer

            def httpx_alone() -> None:
                for _ in range(CALLS):
                    reply = bare.post(url, json=QUESTION, headers=headers)
                    assert reply.json()["content"][0]["text"]

            fine = compare(
                "processor time of a call through the engine over bare httpx",
                engine,
                httpx_alone,
                limit=2.0,
                pairs=21,
                clock=processor,
            )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
