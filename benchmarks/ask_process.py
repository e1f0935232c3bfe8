"""The whole process of ``llmfail ask``, which stores its answer too, over a four-line httpx script, both to
the same server on loopback.
"""

import os
import subprocess
import sys
from itertools import count

from pairs import LLMFAIL, QUESTION, compare, place, simulator

SCRIPT = """\
import httpx
body = {body!r}
reply = httpx.post("{url}/v1/messages", json=body, headers={{"x-api-key": "benchmark-key"}}, timeout=30)
print(reply.json()["content"][0]["text"])
"""


def main() -> int:
    with simulator() as urls, place(urls, cache=True) as (config, state):
        script = SCRIPT.format(body=QUESTION, url=urls["anthropic"])
        prompts = (f"Say hello {number}" for number in count())
        environment = {**os.environ, "LLMFAIL_CONFIG": str(config), "LLMFAIL_STATE_DIR": str(state)}

        def run(*command: str) -> None:
            subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
            )

        fine = compare(
            "llmfail ask over a four-line httpx script",
            lambda: run(LLMFAIL, "ask", next(prompts)),
            lambda: run(sys.executable, "-c", script),
            limit=1.5,
            pairs=31,
        )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
