"""A dead first target in a warm process over two sequential httpx calls, the first of which fails likewise;
and a circuit that is open over a healthy call.
"""

import sys
from contextlib import suppress

import httpx
from pairs import QUESTION, compare, place, simulator

from llmfail import Client

FAULTS = ("refuse", "500", "503", "429", "cut", "garbage")
NEVER = 1_000_000_000
"""A threshold that is not reached: every call meets the dead target."""


def dead(fault: str) -> bool:
    with simulator(f"anthropic={fault}") as urls, place(urls, threshold=NEVER) as (config, state):
        with Client(config, state_dir=state) as client, httpx.Client(timeout=30) as bare:

            def engine() -> None:
                assert client.ask("Say hello").tier == 2

            def two_calls() -> None:
                with suppress(httpx.HTTPError, ValueError):
                    bare.post(f"{urls['anthropic']}/v1/messages", json=QUESTION).json()
                assert bare.post(f"{urls['openai']}/chat/completions", json=QUESTION).json()["choices"]

            return compare(
                f"a first target that is dead ({fault}) over two httpx calls",
                engine,
                two_calls,
                limit=1.5,
                pairs=101,
            )


def opened() -> bool:
    with simulator() as urls, place(urls) as (config, state), place(urls) as (config2, state2):
        with Client(config, state_dir=state) as skipping, Client(config2, state_dir=state2) as healthy:
            skipping.trip("anthropic")
            return compare(
                "a circuit that is open over a healthy call",
                lambda: skipping.ask("Say hello"),
                lambda: healthy.ask("Say hello", model="openai/gpt-6.1-terra"),
                limit=1.15,
                pairs=301,
            )


def main() -> int:
    return 0 if all([*map(dead, FAULTS), opened()]) else 1


if __name__ == "__main__":
    sys.exit(main())
