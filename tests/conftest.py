"""Every test starts on a machine without keys, configuration, proxies or earlier state."""

import os
import re
import signal
from pathlib import Path

import pytest
from scripted_streams import ScriptedStreams

from llmfail.simulator import Simulator

OUTSIDE = re.compile(
    r".*_(API_KEY|PROXY|TOKEN)|(LLMFAIL|ANTHROPIC|OPENAI|GOOGLE|GEMINI|VERTEX|CLOUDSDK|OLLAMA|XDG)_.*|TZ|COLUMNS",
    re.IGNORECASE,
)


SLOW_PLACES = frozenset({"cli", "drill", "e2e", "store"})
"""Folders whose tests start real processes, as those beside them in ``tests`` itself do."""


def pytest_collection_modifyitems(items):
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).parts[0]
        if place in SLOW_PLACES or place.endswith(".py"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def hermetic(monkeypatch, tmp_path):
    """Nothing of the outside environment reaches a test or a process that it starts."""
    for name in os.environ:
        if OUTSIDE.fullmatch(name):
            monkeypatch.delenv(name)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it as ignored
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LLMFAIL_STATE_DIR", str(tmp_path / "state"))
    for kind in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))


@pytest.fixture
def simulator():
    """Every provider on loopback, healthy until ``set_faults``."""
    with Simulator() as running:
        yield running


@pytest.fixture
def streams():
    """Every provider on loopback, playing scripts token by token; healthy without one."""
    with ScriptedStreams() as running:
        yield running
