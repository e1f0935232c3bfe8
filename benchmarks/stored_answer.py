"""The whole process of an ask that has been answered before over that of one that has not, and the processor
time of the two in one process.
"""

import os
import subprocess
import sys
from itertools import count

from pairs import LLMFAIL, compare, place, processor, simulator

from llmfail import Client

CALLS = 50


def main() -> int:
    prompts = (f"Say hello {number}" for number in count())
    with simulator() as urls, place(urls, cache=True) as (config, state):
        environment = {**os.environ, "LLMFAIL_CONFIG": str(config), "LLMFAIL_STATE_DIR": str(state)}

        def ask(prompt: str) -> None:
            subprocess.run(
                [LLMFAIL, "ask", prompt],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                check=True,
            )

        process = compare(
            "a stored answer over a new one, whole processes",
            lambda: ask("Say hello"),
            lambda: ask(next(prompts)),
            limit=0.5,
            pairs=31,
        )
        with Client(config, state_dir=state) as client:
            engine = compare(
                "a stored answer over a new one, processor time in one process",
                lambda: [client.ask("Say hello") for _ in range(CALLS)],
                lambda: [client.ask(next(prompts)) for _ in range(CALLS)],
                limit=0.5,
                pairs=11,
                clock=processor,
            )
    return 0 if process and engine else 1


if __name__ == "__main__":
    sys.exit(main())
