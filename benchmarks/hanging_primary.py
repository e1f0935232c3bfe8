"""Ten ``ask`` processes in a row with a primary that hangs (timeout 1 s, threshold 3) over what that must
cost: three timeouts and ten healthy asks.
"""

import os
import subprocess
import sys

from pairs import LLMFAIL, place, simulator, wall

TIMEOUT, THRESHOLD, ASKS = 1.0, 3, 10


def ten_asks(config: str, state: str) -> float:
    environment = {**os.environ, "LLMFAIL_CONFIG": config, "LLMFAIL_STATE_DIR": state}

    def run() -> None:
        for _ in range(ASKS):
            subprocess.run(
                [LLMFAIL, "ask", "Say hello"],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )

    return wall(run)


def main() -> int:
    ratios = []
    for _ in range(3):
        with (
            simulator("anthropic=hang") as hanging,
            place(hanging, "1s", THRESHOLD) as (config, state),
            simulator() as healthy,
            place(healthy, "1s", THRESHOLD) as (calm, calm_state),
        ):
            must = THRESHOLD * TIMEOUT + ten_asks(str(calm), str(calm_state))
            ratios.append(ten_asks(str(config), str(state)) / must)
    ratio = sorted(ratios)[1]
    print(
        f"ten asks with a hanging primary over three timeouts and ten healthy asks: ratio {ratio:.2f} "
        f"({'within' if ratio <= 1.1 else 'ABOVE'} 1.1; runs: {', '.join(f'{one:.2f}' for one in ratios)})"
    )
    return 0 if ratio <= 1.1 else 1


if __name__ == "__main__":
    sys.exit(main())
