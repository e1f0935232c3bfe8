"""A dead first target in a warm process over two sequential httpx calls, the first of which fails likewise;
and a circuit that is open over a healthy call.
"""

import sys
from contextlib import suppress

import httpx
from pairs import QUESTION, compare, place, simulator

from llmfail import Client

FAULTS = {
    "refused": "anthropic=refuse",
    "500": "anthropic=500",
    "503": "anthropic=503",
    "429": "anthropic=429",
    "reset": "anthropic/claude-sonnet-5-5=refuse",  # the model is known only once the request was read
    "cut body": "anthropic=cut",
    "garbage": "anthropic=garbage",
}
NEVER = 1_000_000_000
"""A threshold that is not reached: every call meets the dead target."""


def dead(name: str, fault: str) -> bool:
    with (
        simulator(fault) as urls,
        place(urls, threshold=NEVER) as (config, state),
        Client(config, state_dir=state) as client,
        httpx.Client(timeout=30) as bare,
    ):

        def engine() -> None:
            receipt = client.ask("Say hello")
            assert (receipt.tier, receipt.trail[0].action) == (2, "called")

        def two_calls() -> None:
            with suppress(httpx.HTTPError, ValueError):
                bare.post(f"{urls['anthropic']}/v1/messages", json=QUESTION).json()
            assert bare.post(f"{urls['openai']}/chat/completions", json=QUESTION).json()["choices"]

        return compare(
            f"a first target that is dead ({name}) over two httpx calls",
            engine,
            two_calls,
            limit=1.5,
            pairs=101,
        )


def opened() -> bool:
    with (
        simulator() as urls,
        place(urls) as (config, state),
        place(urls) as (other_config, other_state),
        Client(config, state_dir=state) as skipping,
        Client(other_config, state_dir=other_state) as healthy,
    ):
        skipping.trip("anthropic")

        def skipped() -> None:
            assert skipping.ask("Say hello").trail[0].action == "skipped"

        return compare(
            "a circuit that is open over a healthy call",
            skipped,
            lambda: healthy.ask("Say hello", model="openai/gpt-6.1-terra"),
            limit=1.15,
            pairs=301,
        )


def main() -> int:
    return 0 if all([*(dead(*fault) for fault in FAULTS.items()), opened()]) else 1


if __name__ == "__main__":
    sys.exit(main())
