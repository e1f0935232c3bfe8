"""Every test starts on a machine without keys, configuration, proxies or earlier state."""

import gc
import os
import re
import signal
from pathlib import Path

import hypothesis
import pytest
from redis_servers import RedisProcess, start_cluster
from scripted_streams import ScriptedStreams

from llmfail.simulator import Simulator

OUTSIDE = re.compile(
    r".*_(API_KEY|PROXY|TOKEN)|(LLMFAIL|ANTHROPIC|OPENAI|GOOGLE|GEMINI|VERTEX|CLOUDSDK|OLLAMA|XDG)_.*|TZ|COLUMNS",
    re.IGNORECASE,
)


# How long an example takes says something of the machine, not of a rule.
hypothesis.settings.register_profile("llmfail", deadline=None)
hypothesis.settings.load_profile("llmfail")

SLOW_PLACES = frozenset({"cli", "drill", "e2e", "store"})
"""Folders whose tests start real processes, as those beside them in ``tests`` itself do."""


STORES = ("disk", "redis")


def pytest_generate_tests(metafunc):
    """What is marked as ``stores`` runs on each of them, unless ``--store`` names one."""
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if "stores" in marks and "disk" not in marks and metafunc.config.getoption("--store") is None:
        metafunc.parametrize("store_kind", STORES, indirect=True)


def pytest_xdist_auto_num_workers():
    """One more than there are cores, since tests wait for half of their time: for processes, for limits."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """More than ten thousand tests stay until the end: there is no garbage among them, neither while they are
    collected nor whenever it is looked for afterwards, which would take a quarter of a second.
    """
    gc.disable()
    result = yield
    gc.enable()
    gc.freeze()
    return result


def pytest_collection_modifyitems(config, items):
    for item in items:
        if config.getoption("--store") == "redis" and item.get_closest_marker("disk"):
            item.add_marker(pytest.mark.skip(reason="about files, or about a clock that is set"))
        place = item.path.relative_to(Path(__file__).parent).parts[0]
        if place in SLOW_PLACES or place.endswith(".py"):
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser):
    parser.addoption("--store", choices=STORES, help="where the state of all tests is kept")


@pytest.fixture
def store_kind(request):
    """Where the state of this test is kept."""
    return getattr(request, "param", request.config.getoption("--store") or "disk")


@pytest.fixture(autouse=True)
def hermetic(monkeypatch, tmp_path, request, store_kind):
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
    if store_kind == "redis":
        server = request.getfixturevalue("redis_server")
        monkeypatch.setenv("LLMFAIL_STORE", f"{server.url}?name=test-{os.urandom(4).hex()}")


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


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """One server of Redis for all tests of this process; ``redis_url`` empties it for each."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes, as redis-cli makes them."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture
def redis_url(redis_server):
    redis_server.run("FLUSHALL")
    return redis_server.url
