"""Two targets that hang and ``--deadline 2``: the time of the process over 2.5 s. A primary that hangs, a
healthy second and ``--deadline 4``: the time of the process over 4 s.
"""

import os
import subprocess
import sys

from pairs import LLMFAIL, place, simulator, wall

RUNS = 5


def slowest(faults: str, deadline: float, code: int) -> float:
    """Seconds of the slowest of some runs, each of which ends with this exit code."""
    with simulator(faults) as urls:
        return max(once(urls, deadline, code) for _ in range(RUNS))


def once(urls: dict[str, str], deadline: float, code: int) -> float:
    """With circuits that know of nothing yet."""
    with place(urls) as (config, state):
        environment = {**os.environ, "LLMFAIL_CONFIG": str(config), "LLMFAIL_STATE_DIR": str(state)}
        command = [LLMFAIL, "ask", "Say hello", "--deadline", str(deadline)]

        def ask() -> None:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            assert done.returncode == code, done.stderr

        return wall(ask)


def within(name: str, seconds: float, limit: float) -> bool:
    ratio = seconds / limit
    print(
        f"{name}, the slowest of {RUNS}, over {limit:g} s: ratio {ratio:.2f} "
        f"({'within' if ratio < 1 else 'ABOVE'} 1; {seconds:.2f} s)"
    )
    return ratio < 1


def main() -> int:
    nobody = within("two hanging targets and --deadline 2", slowest("all=hang", 2, 7), 2.5)
    second = within(
        "a hanging primary, a healthy second and --deadline 4", slowest("anthropic=hang", 4, 0), 4.0
    )
    return 0 if nobody and second else 1


if __name__ == "__main__":
    sys.exit(main())
