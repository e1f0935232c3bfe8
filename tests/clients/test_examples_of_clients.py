"""The programs of examples/clients, run as they are against the gateway."""

import os
import shutil
import subprocess
import sys

import pytest
from gateway import HERE, KEY, NODE_MODULES, TARGETS, require
from scripted_streams import CUT

EXAMPLES = HERE.parent.parent / "examples" / "clients"
PROGRAMS = {"ask.py": [sys.executable], "ask.mjs": ["node"], "ask.sh": ["sh"]}


@pytest.fixture
def example(gateway, simulator, streams, tmp_path):
    """A copy, because Node.js looks for packages where the program is."""

    def run(name, prompt):
        if name == "ask.mjs":
            require(NODE_MODULES, "Anthropic's SDK for Node.js")
            (tmp_path / "node_modules").symlink_to(NODE_MODULES)
        copy = shutil.copy(EXAMPLES / name, tmp_path)
        return subprocess.run(
            [*PROGRAMS[name], copy, prompt],
            env={"PATH": os.environ["PATH"], "LLMFAIL_URL": gateway.url, "LLMFAIL_KEY": KEY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_shows_an_answer(example, name):
    said = example(name, 'Say "hi"')
    assert said.returncode == 0, said.stderr
    if name != "ask.sh":
        assert said.stdout == f'{TARGETS["anthropic"]} heard: Say "hi"\n'
    assert said.stdout.strip().endswith("[DONE]") or name != "ask.sh"


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_fails_when_the_answer_breaks_off(example, streams, name):
    streams.plays("anthropic", ["one", " two", CUT])
    said = example(name, "hi")
    assert said.returncode == (18 if name == "ask.sh" else 1)
    assert "two" in said.stdout
