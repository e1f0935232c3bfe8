"""`llmfail serve` over a long time and with many at once: memory after half of the requests and after all of
them, streams at the same time, and idle connections beside others that are answered.

    python benchmarks/gateway_endurance.py --requests 100000
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from gateway import CONFIG, STREAM, WHOLE, free_port, load, resident_mib, running

CONNECTIONS = 50
STREAMS = 1000
IDLE = 2000
GROWTH_MIB = 2.0


async def ask_many(port: int, pid: int, wanted: int) -> float:
    """By how many MiB the memory grows from half of the requests to all of them."""
    made, half = 0, 0.0
    while made < wanted:
        made += len(await load(port, WHOLE, CONNECTIONS, 5.0))
        print(f"{made:>8} requests: {resident_mib(pid):.1f} MiB", flush=True)
        if not half and made >= wanted / 2:
            half = resident_mib(pid)
    return resident_mib(pid) - half


async def stream_at_once(port: int) -> int:
    """Each connection asks once, all at the same time."""
    return len(await load(port, STREAM, STREAMS, 0.0))


async def answer_beside_idle(port: int) -> int:
    """Requests that are answered in two seconds while others say nothing."""
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    answered = len(await load(port, WHOLE, CONNECTIONS, 2.0))
    for _, writer in idle:
        writer.close()
    return answered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    wanted = parser.parse_args().requests
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory, mock, port = Path(name), free_port(), free_port()
        (directory / "llmfail.yaml").write_text(CONFIG.format(url=f"http://127.0.0.1:{mock}"))
        program = str(Path(__file__).with_name("gateway.py"))
        stack.enter_context(running([sys.executable, program, "mock", str(mock)], mock, directory))
        own = {**os.environ, "LLMFAIL_STATE_DIR": str(directory / "state")}
        command = [
            sys.executable,
            "-m",
            "llmfail",
            "--config",
            str(directory / "llmfail.yaml"),
            "-q",
            "serve",
        ]
        pid = stack.enter_context(
            running([*command, "--listen", f"127.0.0.1:{port}"], port, directory, **own)
        )
        grown = asyncio.run(ask_many(port, pid, wanted))
        print(f"{asyncio.run(stream_at_once(port))} of {STREAMS} streams at once ended whole")
        print(f"{asyncio.run(answer_beside_idle(port))} requests answered beside {IDLE} idle connections")
    print(f"memory grew by {grown:.1f} MiB from half of the requests to all (aim: <= {GROWTH_MIB})")
    return 0 if grown <= GROWTH_MIB or wanted < 50_000 else 1


if __name__ == "__main__":
    sys.exit(main())
