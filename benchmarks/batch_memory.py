"""The peak of memory of ``llmfail batch`` for a long file over that for a tenth of it.

python benchmarks/batch_memory.py [LINES]
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pairs import LLMFAIL, place, simulator

LINES, CONCURRENCY = 50_000, 64
PEAK = """\
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@contextlib.contextmanager
def numbered(number: int, directory: Path) -> Iterator[tuple[Path, Path]]:
    """An input of so many lines, and where its receipts go."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        lines = Path(name) / "in.jsonl"
        with lines.open("w") as file:
            for n in range(number):
                file.write(json.dumps({"id": f"line-{n}", "prompt": f"Say hello to {n}"}) + "\n")
        yield lines, Path(name) / "out.jsonl"


def batch(config: Path, state: Path, lines: Path, receipts: Path, concurrency: int) -> list[str]:
    """The command line."""
    options = ["--concurrency", str(concurrency), "-o", str(receipts)]
    return [LLMFAIL, "--config", str(config), "--state-dir", str(state), "batch", str(lines), *options]


def peak(number: int) -> int:
    """In KiB."""
    with (
        simulator() as urls,
        place(urls) as (config, state),
        numbered(number, Path(config).parent) as (lines, receipts),
    ):
        command = [sys.executable, "-c", PEAK, *batch(config, state, lines, receipts, CONCURRENCY)]
        done = subprocess.run(command, capture_output=True, check=True)
        assert receipts.read_bytes().count(b"\n") == number
    return int(done.stdout)


def main() -> int:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    long, short = peak(lines), peak(lines // 10)
    ratio = long / short
    print(
        f"peak memory of batch for {lines} lines over {lines // 10}: ratio {ratio:.2f} "
        f"({'within' if ratio <= 1.3 else 'ABOVE'} 1.3; {long / 1024:.0f} MiB against {short / 1024:.0f} MiB)"
    )
    return 0 if ratio <= 1.3 else 1


if __name__ == "__main__":
    sys.exit(main())
