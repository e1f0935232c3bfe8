"""What the tests of streams have in common: the wire formats, a chain over scripted providers, and what a
person at a terminal sees of an answer.
"""

import contextlib
import json
from decimal import Decimal

from program import ANTHROPIC, GOOGLE, OPENAI, configuration, finish

GEMINI_ON_VERTEX = "vertex/gemini-3.8-flash"
CLAUDE_ON_VERTEX = "vertex/claude-sonnet-5-5"
FORMATS = (OPENAI, ANTHROPIC, GOOGLE, GEMINI_ON_VERTEX, CLAUDE_ON_VERTEX)
SPARE = "spare/model"
SPARE_ANSWER = f"{SPARE} heard: Say hello\n"
FOUR = ["one", " two", " three", " four"]
MILL = Decimal("0.001")
"""What a token costs, in dollars."""
PRICES = {target: {"price": {"input": 1000, "output": 1000}} for target in (*FORMATS, SPARE)}
SHORT = "0.5s"
"""A limit that is meant to be reached."""
LONG = "10m"
"""A limit that nobody lives to see."""


def configured(streams, *chain, limits=None, **sections):
    """A configuration of this chain over the scripted providers; ``limits`` are defaults."""
    document = configuration(streams, *chain, **{"models": PRICES} | sections)
    document["defaults"] |= {"timeout": LONG, "deadline": LONG} | (limits or {})
    document["providers"] |= {
        "vertex": {
            "api": "vertex",
            "base_url": streams.base_url("vertex"),
            "project": "p",
            "token": "made-up-vertex-token",
        },
        "spare": {"api": "openai", "base_url": streams.base_url("spare"), "api_key": "none"},
    }
    return document


def provider_of(target):
    return target.partition("/")[0]


@contextlib.contextmanager
def running(llmfail, *arguments, **places):
    """A process that does not outlive the block: a test that fails while it holds a stream must not wait for
    the end of it.
    """
    with llmfail.start("ask", "Say hello", *arguments, **places) as process:
        try:
            yield process
        finally:
            process.kill()


def shown(llmfail, screen, *options):
    """An ask whose answer goes to a terminal."""
    with running(llmfail, *options, stdout=screen.fd) as process:
        return finish(process)


def logged(llmfail):
    """The receipt of the last ask."""
    return json.loads(llmfail("log", "--json").out.splitlines()[0])


def spent(llmfail):
    """What ``usage`` knows of."""
    return Decimal(llmfail("usage", "--json").document["total"]["cost_usd"])


def says_that_it_broke_off(ended, target):
    said = ended.lines[-1]
    assert ended.code == 8
    assert said.startswith(f"llmfail: {target}: the answer broke off: ")
    assert said.endswith("; what was shown is incomplete")
    assert "Traceback" not in ended.err
    return True
