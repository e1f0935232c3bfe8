"""What the tests of streams have in common: the wire formats, a chain over scripted providers, and what a
person at a terminal sees of an answer.
"""

import contextlib
import json
from decimal import Decimal

from program import ANTHROPIC, GOOGLE, OPENAI, build_config, finish

GEMINI_ON_VERTEX = "vertex/gemini-3.8-flash"
CLAUDE_ON_VERTEX = "vertex/claude-sonnet-5-5"
FORMATS = (OPENAI, ANTHROPIC, GOOGLE, GEMINI_ON_VERTEX, CLAUDE_ON_VERTEX)
SPARE = "spare/model"
SPARE_ANSWER = f"{SPARE} heard: Say hello\n"
FOUR_TOKENS = ["one", " two", " three", " four"]
TOKEN_PRICE_USD = Decimal("0.001")
"""What a token costs, in dollars."""
PRICES = {target: {"price": {"input": 1000, "output": 1000}} for target in (*FORMATS, SPARE)}
SHORT_LIMIT = "1s"
"""A limit that is meant to be reached."""
LONG_LIMIT = "10m"
"""A limit that nobody lives to see."""


def build_stream_config(streams, *chain, limits=None, **sections):
    """A configuration of this chain over the scripted providers; ``limits`` are defaults."""
    document = build_config(streams, *chain, **{"models": PRICES} | sections)
    document["defaults"] |= {"timeout": LONG_LIMIT, "deadline": LONG_LIMIT} | (limits or {})
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
def start_ask(llmfail, *arguments, **places):
    """A process that does not outlive the block: a test that fails while it holds a stream must not wait for
    the end of it.
    """
    with llmfail.start("ask", "Say hello", *arguments, **places) as process:
        try:
            yield process
        finally:
            process.kill()


def ask_on_terminal(llmfail, screen, *options):
    """An ask whose answer goes to a terminal."""
    with start_ask(llmfail, *options, stdout=screen.fd) as process:
        return finish(process)


def read_last_receipt(llmfail):
    """The receipt of the last ask."""
    return json.loads(llmfail("log", "--json").out.splitlines()[0])


def read_spent_usd(llmfail):
    """What ``usage`` knows of."""
    return Decimal(llmfail("usage", "--json").document["total"]["cost_usd"])


def has_broken_off_message(ended, target):
    said = ended.lines[-1]
    assert ended.code == 8
    assert said.startswith(f"llmfail: {target}: the answer broke off: ")
    assert said.endswith("; what was shown is incomplete")
    assert "Traceback" not in ended.err
    return True
