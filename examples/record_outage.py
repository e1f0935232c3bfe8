"""Records what happens when a provider dies, as a picture: docs/outage.svg.

Runs the installed ``llmfail`` for real, against the simulator on loopback, and draws what it printed. Run it
again after a change of the output: ``python examples/record_outage.py``.
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
CONFIG = """\
version: 1
defaults: {{retries: 0}}
breaker: {{failure_threshold: 3, recovery_timeout: 60s, success_threshold: 1}}
providers:
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: none}}
  openai: {{api: openai, base_url: "{openai}", api_key: none}}
models:
  anthropic/claude-sonnet-5-5: {{price: {{input: 2, output: 10}}}}
  openai/gpt-6.1-terra: {{price: {{input: 1, output: 5}}}}
features:
  default: {{primary: anthropic/claude-sonnet-5-5, fallbacks: [openai/gpt-6.1-terra]}}
"""


def main() -> None:
    command = [sys.executable, "-m", "llmfail.simulator", "--provider", "anthropic", "--provider", "openai"]
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as simulator,
    ):
        assert simulator.stdout is not None
        urls = json.loads(simulator.stdout.readline())
        config = Path(place) / "llmfail.yaml"
        config.write_text(CONFIG.format(**urls["base_urls"]))
        os.environ.update(LLMFAIL_CONFIG=str(config), LLMFAIL_STATE_DIR=f"{place}/state")
        screen = Console(record=True, width=128, file=io.StringIO())
        play(screen, urls["url"])
        simulator.terminate()
    picture = re.sub(r"@font-face \{.*?\}", "", screen.export_svg(title="a provider dies"), flags=re.DOTALL)
    (HERE.parent / "docs" / "outage.svg").write_text(picture)


def play(screen: Console, control: str) -> None:
    note(screen, "anthropic is healthy")
    run(screen, "ask", "Say hello")
    faults(control, "anthropic=503")
    note(screen, "anthropic goes down: another provider answers, at once")
    for _ in range(3):
        run(screen, "ask", "Say hello")
    note(screen, "after three failures its circuit is open: nobody calls it any more, from any process")
    run(screen, "ask", "Say hello")
    run(screen, "status")


def note(screen: Console, text: str) -> None:
    screen.print(Text(f"# {text}", style="dim"))


def run(screen: Console, *arguments: str) -> None:
    shown = " ".join(f'"{argument}"' if " " in argument else argument for argument in arguments)
    screen.print(Text(f"$ llmfail {shown}", style="bold"))
    done = subprocess.run(
        [Path(sys.executable).parent / "llmfail", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    screen.print(
        Text(done.stderr.rstrip(), style="yellow") if done.stderr else "", end="\n" if done.stderr else ""
    )
    screen.print(Text(done.stdout.rstrip()))
    screen.print()


def faults(control: str, text: str) -> None:
    request = urllib.request.Request(f"{control}/__faults", data=text.encode(), method="POST")
    urllib.request.urlopen(request).close()


if __name__ == "__main__":
    main()
