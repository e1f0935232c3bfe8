"""How long one call holds up the event loop that 50 healthy ones share: what a stranger sends, and what a
caller pastes. By the clock, and in processor time of the loop's thread, over what is allowed.
"""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from flood import MEBIBYTE, flood, words

from llmfail import AsyncClient, LlmfailError

CONFIG = """\
version: 1
defaults: {{retries: 0, deadline: 3s, max_tokens: 2000}}
cache: {{enabled: false}}
providers:
  fine: {{api: openai, base_url: "{url}/fine", api_key: none}}
  flood: {{api: openai, base_url: "{url}/{kind}", api_key: none}}
features:
  default: {{primary: fine/m}}
  flood: {{primary: flood/m}}
"""
KINDS = ("blank lines", "tiny events", "tokens", "words", "body", "lists", "page")
STREAMED = KINDS[:4]
HEALTHY, BY_CLOCK, BY_PROCESSOR = 50, 0.050, 0.020
LONG, SHORT, ON_TOP = 80_000, 80, 0.003
BEAT = 0.001


class Heartbeat:
    """The longest times between two turns of the event loop."""

    def __init__(self) -> None:
        self.clock = self.processor = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            clock, processor = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT)
            self.clock = max(self.clock, time.perf_counter() - clock - BEAT)
            self.processor = max(self.processor, time.thread_time() - processor)

    def stop(self) -> None:
        self._task.cancel()


async def stalls(url: str, kind: str, prompt: str) -> Heartbeat:
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "llmfail.yaml"
        config.write_text(CONFIG.format(url=url, kind=quote(kind)))
        async with AsyncClient(config, state_dir=Path(name) / "state") as client:
            await client.ask("warm up")
            over = asyncio.Event()

            async def healthy() -> None:
                while not over.is_set():
                    await asyncio.sleep(random.uniform(0.2, 1))
                    await client.ask("Say hello")

            async def flooded() -> None:
                try:
                    await client.ask(prompt, feature="flood", stream=kind in STREAMED)
                except LlmfailError as error:
                    print(f"    {kind}: {str(error)[:150]}")

            others = [asyncio.create_task(healthy()) for _ in range(HEALTHY)]
            await asyncio.sleep(0.5)
            beat = Heartbeat()
            await flooded()
            await asyncio.sleep(5 * BEAT)
            beat.stop()
            over.set()
            await asyncio.gather(*others)
    return beat


def within(name: str, took: float, limit: float) -> bool:
    fine = took <= limit
    print(f"{name}: ratio {took / limit:.2f} ({'within' if fine else 'ABOVE'} 1; {took * 1000:.1f} ms)")
    return fine


async def second_turn(url: str, size: int) -> float:
    """Processor time of the loop's thread for the second turn of a conversation that began with a long text:
    the least of several.
    """
    took = []
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "llmfail.yaml"
        config.write_text(CONFIG.format(url=url, kind="fine"))
        async with AsyncClient(config, state_dir=Path(name) / "state") as client:
            for turn in range(10):
                text = f"{turn} {words(size)}"
                await client.ask(text)
                begun = time.thread_time()
                await client.ask(text)
                took.append(time.thread_time() - begun)
    return min(took)


def main() -> int:
    fine = True
    with flood() as url:
        for name, kind, prompt in (
            ("nothing but the healthy calls", "fine", "hi"),
            *((f"a reply of {kind}", kind, "hi") for kind in KINDS),
            ("a prompt of 20 MiB", "fine", words(19 * MEBIBYTE)),
            ("a prompt of 5 MiB that is not ASCII", "fine", "é中" * MEBIBYTE),
        ):
            beat = asyncio.run(stalls(url, kind, prompt))
            what = f"the longest standstill of the loop with {name}, over {BY_CLOCK * 1000:.0f} ms"
            fine = within(what, beat.clock, BY_CLOCK) and fine
            what = f"its processor time, over {BY_PROCESSOR * 1000:.0f} ms"
            fine = within(f"  {what}", beat.processor, BY_PROCESSOR) and fine
        more = asyncio.run(second_turn(url, LONG)) - asyncio.run(second_turn(url, SHORT))
        fine = (
            within(
                f"what a prompt of {LONG} characters costs the loop on top of a short one on its second "
                f"turn, over {ON_TOP * 1000:.0f} ms",
                more,
                ON_TOP,
            )
            and fine
        )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
