"""One gateway for all of these tests, its providers, and the programs in which the clients run."""

import shutil
import sys

import pytest
from gateway import FRAMEWORKS_PYTHON, HERE, KEY, NODE_MODULES, ClientProgram, Gateway, build_config, require
from scripted_streams import ScriptedStreams

from llmfail.simulator import Simulator
from llmfail.simulator.canned_turn import answer_as_model
from llmfail.simulator.faults import parse_faults


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="session")
def providers():
    """The simulator and the scripted streams of all tests."""
    with Simulator() as simulator, ScriptedStreams() as streams:
        yield simulator, streams


@pytest.fixture
def simulator(providers):
    """Healthy at the beginning of each test."""
    simulator = providers[0]
    simulator.set_faults(parse_faults("none"))
    simulator.set_answer(answer_as_model)
    return simulator


@pytest.fixture
def streams(providers):
    streams = providers[1]
    for provider in ("anthropic", "openai", "google"):
        streams.plays(provider)
    return streams


@pytest.fixture(scope="session")
def gateway(room, providers):
    directory = room / "gateway"
    directory.mkdir()
    with Gateway(directory, build_config(*providers)) as running:
        yield running


@pytest.fixture(scope="session")
def programs(room):
    """The programs by their names, each started when it is first needed."""
    commands = {
        "node": ([shutil.which("node") or "node", str(HERE / "node_clients.mjs")], NODE_MODULES),
        "python": ([sys.executable, str(HERE / "python_clients.py")], HERE),
        "frameworks": ([str(FRAMEWORKS_PYTHON), str(HERE / "python_clients.py")], FRAMEWORKS_PYTHON),
    }
    started = {}

    def find(name):
        if name not in started:
            arguments, needed = commands[name]
            require(needed, f"the clients of {name}")
            started[name] = ClientProgram(arguments, room)
        return started[name]

    yield find
    for program in started.values():
        program.close()


@pytest.fixture
def ask(gateway, simulator, streams, programs):
    """``ask("node openai", "text", model="to-chat", stream=True)``: what that client says to that."""

    def ask(client, do, **job):
        program, name = client.split(" ")
        return programs(program).run(name, do, **{"base": gateway.url, "key": KEY, "prompt": "hi", **job})

    return ask
