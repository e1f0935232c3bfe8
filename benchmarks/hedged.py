"""200 asks with ``--hedge 0.2`` where every tenth call to the server hangs for 5 s: the 99th percentile over
one second, and the extra requests over 15 % of the asks.
"""

import os
import subprocess
import sys
import threading

from pairs import LLMFAIL, place, wall

from llmfail.simulator import RecordedRequest, Simulator

ASKS, HANG = 200, 5.0
SLOWEST, MOST = 1.0, 0.15


def percentile_99(times: list[float]) -> float:
    """The time that 99 of 100 asks stay within."""
    return sorted(times)[-(len(times) // 100) - 1]


def main() -> int:
    over = threading.Event()

    def answer(seen: RecordedRequest) -> str:
        if seen.number % 10 == 0:
            over.wait(HANG)
        return "hello"

    with Simulator(answer=answer) as server:
        urls = {name: server.base_url(name) for name in ("anthropic", "openai")}
        with place(urls) as (config, state):
            environment = {**os.environ, "LLMFAIL_CONFIG": str(config), "LLMFAIL_STATE_DIR": str(state)}
            command = [LLMFAIL, "-q", "ask", "Say hello", "--hedge", "0.2"]

            def ask() -> None:
                subprocess.run(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
                )

            slow = percentile_99([wall(ask) for _ in range(ASKS)]) / SLOWEST
        extra = (server.count() - ASKS) / ASKS / MOST
        over.set()
    print(
        f"99th percentile of {ASKS} asks with --hedge 0.2 over {SLOWEST:g} s: ratio {slow:.2f} "
        f"({'within' if slow < 1 else 'ABOVE'} 1)"
    )
    print(
        f"extra requests over {MOST:.0%} of the asks: ratio {extra:.2f} "
        f"({'within' if extra <= 1 else 'ABOVE'} 1; {server.count()} requests for {ASKS} asks)"
    )
    return 0 if slow < 1 and extra <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
