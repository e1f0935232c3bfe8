"""Interleaved pairs: A, B, A, B …, and the ratio of each pair: a machine that drifts drifts for both."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LLMFAIL = str(Path(sys.executable).parent / "llmfail")
CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: {timeout}, deadline: 60s}}
breaker: {{failure_threshold: {threshold}, volume_threshold: {threshold}, recovery_timeout: 10m}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: "${{BENCH_KEY}}"}}
  openai: {{api: openai, base_url: "{openai}", api_key: "${{BENCH_KEY}}"}}
cache: {{enabled: {cache}}}
features:
  default: {{primary: anthropic/claude-sonnet-5-5, fallbacks: [openai/gpt-6.1-terra]}}
"""
os.environ["BENCH_KEY"] = "benchmark-key"
QUESTION = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 2000,
    "messages": [{"role": "user", "content": "Say hello"}],
}


@contextlib.contextmanager
def simulator(faults: str = "none") -> Iterator[dict[str, str]]:
    """The simulator as a process of its own; yields its base URL per provider."""
    command = [sys.executable, "-m", "llmfail.simulator", "--faults", faults]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["base_urls"]
        finally:
            process.terminate()


@contextlib.contextmanager
def place(
    urls: dict[str, str], timeout: str = "30s", threshold: int = 5, *, cache: bool = False
) -> Iterator[tuple[Path, Path]]:
    """A configuration that uses these URLs, and a state directory of its own."""
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "llmfail.yaml"
        config.write_text(
            CONFIG.format(timeout=timeout, threshold=threshold, cache=str(cache).lower(), **urls)
        )
        yield config, Path(name) / "state"


def wall(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def processor(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(
    name: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    *,
    limit: float,
    pairs: int,
    clock: Callable[[Callable[[], object]], float] = wall,
) -> bool:
    """Time the pairs, print the ratio of the medians and of the pairs; whether it is within the limit."""
    for work in (ours, baseline) * 2:
        work()
    rows = [(clock(ours), clock(baseline)) for _ in range(pairs)]
    mine, other = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = sorted(left / right for left, right in rows)
    ratio = statistics.median(ratios)
    verdict = "within" if ratio <= limit else "ABOVE"
    low, high = ratios[pairs // 10], ratios[-1 - pairs // 10]
    print(
        f"{name}: ratio {ratio:.2f} ({verdict} {limit:g}; "
        f"10 to 90 % of {pairs} pairs: {low:.2f} to {high:.2f}; "
        f"{mine * 1000:.2f} ms against {other * 1000:.2f} ms)"
    )
    return ratio <= limit
