"""Run the programs of benchmarks/ in a fresh environment that has what a user's has.

    python scripts/clean_bench.py [--venv DIR] [NAME ...]

It gets llmfail as `pip install .` gives it, and httpx, which the baselines use; nothing that linters and
tests would bring along, since a baseline whose imports are shared with them flatters us. All programs, or
those named, run one after the other; each says its ratio, and the exit code is 1 when one misses its limit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
BASELINE = "httpx>=0.28.1"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks in a clean environment.")
    parser.add_argument("--venv", type=Path, help="made anew at each run; else a temporary one")
    parser.add_argument("names", nargs="*", help="without .py; all of them without a name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        venv = options.venv or Path(directory) / "venv"
        python = build_environment(venv)
        codes = [run(python, program) for program in list_programs(options.names)]
    return 1 if any(codes) else 0


def build_environment(venv: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", ROOT, BASELINE], check=True)
    return python


def list_programs(names: list[str]) -> list[Path]:
    found = sorted(file for file in BENCHMARKS.glob("*.py") if "def main" in file.read_text())
    return [file for file in found if not names or file.stem in names]


def run(python: Path, program: Path) -> int:
    return subprocess.run([python, program], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
