"""The installed program in front of a simulator: its configuration, its keys, its state directory."""

import json

import pytest
from program import KEYS, Program, build_config
from stream_asks import build_stream_config
from terminal import Terminal


@pytest.fixture
def state(tmp_path):
    """The state directory; it does not exist yet."""
    return tmp_path / "state"


@pytest.fixture
def here(tmp_path):
    """The current directory of every process; nothing is in it."""
    directory = tmp_path / "here"
    directory.mkdir()
    return directory


@pytest.fixture
def simulator(simulator):
    """Every target answers with its name and the prompt."""
    simulator.set_answer(lambda seen: f"{seen.target} heard: {seen.prompt}")
    return simulator


@pytest.fixture
def configure(tmp_path, here):
    """The program with a configuration: of a feature over openai, anthropic and google, unless told."""

    def configure(document):
        path = tmp_path / "llmfail.yaml"
        path.write_text(json.dumps(document, indent=1))
        return Program(here, KEYS, ("--config", path))

    return configure


@pytest.fixture
def llmfail(simulator, configure):
    """The program with three providers that are the simulator: openai, then anthropic, then google."""
    return configure(build_config(simulator))


@pytest.fixture
def screen():
    """A terminal for standard output."""
    with Terminal() as screen:
        yield screen


@pytest.fixture
def errors():
    """A terminal for standard error."""
    with Terminal() as errors:
        yield errors


@pytest.fixture
def chained(streams, configure):
    """The program with such a chain over scripted providers, as a terminal's program."""

    def chained(*chain, limits=None, **sections):
        document = build_stream_config(streams, *chain, limits=limits, **sections)
        return configure(document).with_environ(TERM="xterm-256color")

    return chained
