"""The whole process of ``llmfail --help`` over ``python -c pass``."""

import subprocess
import sys

from pairs import LLMFAIL, compare


def main() -> int:
    def run(*command: str) -> None:
        subprocess.run(command, stdout=subprocess.PIPE, check=True)

    fine = compare(
        "llmfail --help over python -c pass",
        lambda: run(LLMFAIL, "--help"),
        lambda: run(sys.executable, "-c", "pass"),
        limit=6.0,
        pairs=31,
    )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
