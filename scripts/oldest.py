"""Run the suite with the oldest versions that pyproject.toml allows.

    python scripts/oldest.py [--venv DIR] [arguments for pytest]

A fresh virtual environment gets the lower bound of every dependency of the package and of its extras `vertex`
and `prices`, and the newest test tools. Meant for the oldest Python, because newer ones may have no wheels of
these versions.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOWER_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9][^,;\s]*)")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the suite with the oldest versions that are allowed.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-oldest", help="made anew at each run")
    options, rest = parser.parse_known_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = list(lower_bounds([*project["dependencies"], *extras["vertex"], *extras["prices"]]))
    print(*pins, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", options.venv], check=True)
    constraints = options.venv / "oldest.txt"
    constraints.write_text("\n".join(pins) + "\n")
    python = options.venv / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    subprocess.run([*install, "-e", ".[test,vertex,prices]"], cwd=ROOT, check=True)
    return subprocess.run([python, "-m", "pytest", *rest], cwd=ROOT, check=False).returncode


def lower_bounds(requirements: Iterable[str]) -> Iterator[str]:
    """`rich>=13.8,<16` -> `rich==13.8`. Raises ValueError for a requirement without a lower bound."""
    for one in requirements:
        found = LOWER_BOUND.match(one)
        if found is None:
            raise ValueError(f"{one}: no lower bound")
        yield f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    sys.exit(main())
