"""What the configuration that ships with llmfail makes of a primary that hangs or fails."""

from statistics import median

import pytest
from program import KEYS, Program

from llmfail import Client
from llmfail.simulator import parse_faults

FALLBACK = "openai/gpt-6-luna"
WANTED_MS = 5000
"""A failover takes no longer, whatever the fault."""
OWN_MS = 100
"""Of the time of an ask that fails over at once, no more is our own."""


@pytest.fixture
def environ(simulator, monkeypatch):
    """The shipped configuration, whose providers are the simulator."""
    urls = {
        f"LLMFAIL_PROVIDERS__{name.upper()}__BASE_URL": simulator.base_url(name)
        for name in ("anthropic", "openai", "google")
    }
    for name, value in {**urls, **KEYS}.items():
        monkeypatch.setenv(name, value)
    return urls | KEYS


def test_a_letter_is_written_in_under_5_seconds_while_the_primary_hangs(simulator, environ, here):
    simulator.set_faults(parse_faults("anthropic=hang"))
    asked = Program(here, environ)("ask", "Write a letter", "-f", "cover_letter", "--json")
    assert asked.code == 0, asked.err
    receipt = asked.document
    late, won = receipt["trail"]
    assert (late["outcome"], won["outcome"], receipt["target"]) == ("cancelled", "ok", FALLBACK)
    assert 3500 < late["latency_ms"] < WANTED_MS, "from the first call to the answer of the second"


@pytest.mark.parametrize("feature", ["cover_letter", "vpr"])
@pytest.mark.parametrize("fault", ["503", "429", "cut", "auth"])
def test_an_error_fails_over_in_under_100_ms_of_our_own_time(simulator, environ, feature, fault, tmp_path):
    own = []
    with Client(state_dir=tmp_path / "state", config=None) as client:
        client.ask("Everything is imported now", feature=feature)
        simulator.set_faults(parse_faults(f"anthropic={fault}"))
        for number in range(5):
            client.reset()
            receipt = client.ask(f"Letter {number}", feature=feature)
            called = [entry for entry in receipt.trail if entry.action == "called"]
            assert (receipt.tier, len(called)) == (2, 2)
            own.append(receipt.latency_ms - sum(entry.latency_ms for entry in called))
    assert median(own) < OWN_MS
