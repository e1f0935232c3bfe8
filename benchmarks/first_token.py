"""From the start of the process to the first token that is to be seen on a terminal: ``llmfail ask`` over a
minimal httpx script that prints the tokens of the same stream. The rest of the answer comes half a second
later, so who waits for all of it is caught.
"""

import os
import pty
import subprocess
import sys
from itertools import count

from pairs import LLMFAIL, QUESTION, compare, place
from trickle import TOKEN, trickle

SCRIPT = """\
import httpx, json
body, headers = {body!r}, {{"x-api-key": "benchmark-key"}}
with httpx.stream("POST", "{url}/v1/messages", json=body, headers=headers, timeout=30) as reply:
    for line in reply.iter_lines():
        if line.startswith("data: ") and (event := json.loads(line[6:]))["type"] == "content_block_delta":
            print(event["delta"]["text"], end="", flush=True)
"""


def until_a_token_is_seen(command: list[str], environment: dict[str, str]) -> None:
    """Run it on a terminal, and stop it once the token is there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    seen = b""
    while TOKEN.strip().encode() not in seen:
        seen += os.read(ours, 65_536)
    process.kill()
    process.wait()
    os.close(ours)


def main() -> int:
    with trickle(tokens=2, pause=0.5) as urls, place(urls) as (config, state):
        script = SCRIPT.format(body=QUESTION | {"stream": True}, url=urls["anthropic"])
        prompts = (f"Say hello {number}" for number in count())
        environment = {**os.environ, "LLMFAIL_CONFIG": str(config), "LLMFAIL_STATE_DIR": str(state)}
        fine = compare(
            "first visible token of llmfail ask over a minimal httpx script",
            lambda: until_a_token_is_seen([LLMFAIL, "ask", next(prompts)], environment),
            lambda: until_a_token_is_seen([sys.executable, "-c", script], environment),
            limit=1.2,
            pairs=31,
        )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
