"""The official SDKs speak to the simulator: one for the tests of a module, because they only read it."""

import pytest

from llmfail.simulator import Simulator, parse_faults


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


@pytest.fixture
def play_faults(simulator):
    """``play_faults("openai=503")``, until the test is over."""
    yield lambda text: simulator.set_faults(parse_faults(text))
    simulator.set_faults(parse_faults("none"))
