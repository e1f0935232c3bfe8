"""The simulator as a process of its own, for benchmarks and for tests with many processes.

Prints one line of JSON, the URLs to use, then serves until SIGTERM or the end of its standard input.
``GET /__requests`` tells what has arrived, ``POST /__faults`` (the text of ``--faults``) changes the faults.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable

from llmfail.core.errors import UsageError
from llmfail.simulator.faults import parse_faults
from llmfail.simulator.server import APIS, Simulator


def main() -> int:
    options = _parse_options()
    try:
        faults = parse_faults(options.faults)
        _serve(Simulator(faults, port=options.port), options.provider or APIS)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error.strerror}; try --port 0\n")
        return UsageError.exit_code
    return 0


def _serve(simulator: Simulator, providers: Iterable[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    with simulator:
        base_urls = {provider: simulator.base_url(provider) for provider in providers}
        sys.stdout.write(json.dumps({"url": simulator.url, "base_urls": base_urls}) + "\n")
        sys.stdout.flush()
        while sys.stdin.buffer.read(65_536):
            pass


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m llmfail.simulator", description=__doc__)
    parser.add_argument(
        "--port", type=_parse_port, default=0, help="the port that serves every provider; 0 takes a free one"
    )
    parser.add_argument("--faults", default="none", help="as for ask --drill")
    parser.add_argument(
        "--provider", action="append", help="a provider to have a port of its own; repeatable"
    )
    return parser.parse_args()


def _parse_port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, got {text}")
    return port


if __name__ == "__main__":
    sys.exit(main())
