"""A target that comes back takes a growing share, over real HTTP and processes."""

import json
import os
from hashlib import sha256

import pytest

from llmfail import Client
from llmfail.core.admission.breaker import FIRST_SHARE
from llmfail.core.model import Address
from llmfail.core.records.state_keys import circuit_key
from llmfail.simulator import parse_faults

A, B = "openai/gpt-6.1-terra", "anthropic/claude-sonnet-5-5"
PROCESSES, ASKS = 6, 20
CONFIG = """\
version: 1
defaults: {{retries: 0, max_tokens: 100}}
breaker: {{failure_threshold: 1, recovery_timeout: 0s, success_threshold: 1, ramp: 10h}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-1}}
  anthropic: {{api: anthropic, base_url: "{anthropic}", api_key: made-up-key-2}}
cache: {{enabled: false}}
features:
  default: {{primary: openai/gpt-6.1-terra, fallbacks: [anthropic/claude-sonnet-5-5]}}
  alone: {{primary: openai/gpt-6.1-terra}}
"""


@pytest.fixture
def config(tmp_path, simulator):
    """Its primary has been down and has just come back."""
    file = tmp_path / "llmfail.yaml"
    file.write_text(CONFIG.format(**{name: simulator.base_url(name) for name in ("openai", "anthropic")}))
    simulator.set_faults(parse_faults("openai=503"))
    with Client(file) as llm:
        assert str(llm.ask("hi").target) == B
        simulator.set_faults(parse_faults("none"))
        assert str(llm.ask("hi").target) == A
    return file


def is_of_the_share(ask_id, simulator):
    key = circuit_key(Address("openai", simulator.base_url("openai"), "gpt-6.1-terra"))
    digest = sha256(f"{ask_id} {key}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48 < FIRST_SHARE


def test_every_process_takes_the_asks_whose_hash_is_below_the_share_and_no_other(config, simulator):
    ours, theirs = os.pipe()
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            with Client(config) as llm:
                for _ in range(ASKS):
                    receipt = llm.ask("hi")
                    trail = [(str(one.target), str(one.outcome)) for one in receipt.trail]
                    os.write(theirs, (json.dumps([receipt.id, trail]) + "\n").encode())
            os._exit(0)
        children.append(child)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        told = [json.loads(line) for line in pipe]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * PROCESSES
    assert len(told) == PROCESSES * ASKS
    for ask_id, trail in told:
        expected = [[A, "ok"]] if is_of_the_share(ask_id, simulator) else [[A, "ramping"], [B, "ok"]]
        assert trail == expected
    assert {len(trail) for _, trail in told} == {1, 2}


def test_everybody_says_that_it_ramps_and_a_reset_ends_it(config):
    with Client(config) as llm:
        shown = llm.status().to_json()["providers"][A]
        assert (shown["state"], shown["share"]) == ("closed", 0.1)
        assert f'llmfail_circuit_share{{target="{A}"}} 0.1' in llm.metrics()
        assert "takes 10% of the asks" in llm.plan("hi").steps[0].note
        llm.reset(A)
        assert {str(llm.ask("hi").target) for _ in range(15)} == {A}
        assert llm.status().to_json()["providers"][A]["share"] == 1


def test_an_answer_is_worth_more_than_a_ramp(config, simulator):
    """The last target that can be called is never left out."""
    simulator.set_faults(parse_faults("anthropic=503"))
    with Client(config) as llm:
        receipts = [llm.ask("hi") for _ in range(15)]
        assert {str(one.target) for one in receipts} == {A}
        longest = max((one.trail for one in receipts), key=len)
        assert [(str(one.target), one.action) for one in longest] == [
            (A, "skipped"),
            (B, "called" if longest[1].action == "called" else "skipped"),
            (A, "called"),
        ]
        alone = [llm.ask("hi", feature="alone") for _ in range(15)]
        assert all(len(one.trail) == 1 and one.ok for one in alone)


def test_a_failure_while_it_ramps_opens_it_again_and_is_no_alert_of_fallbacks(config, simulator):
    with Client(config) as llm:
        tiers = set()
        for _ in range(300):  # one in ten asks is of the share, by its random id
            tiers.add(llm.ask("hi").tier)
            if tiers == {0, 2}:
                break
        assert tiers == {0, 2}
        assert not [one for one in llm.status().alerts if one.name == "fallback_rate"]
        simulator.set_faults(parse_faults("openai=503"))
        with pytest.raises(Exception, match="no target could answer"):
            llm.ask("hi", feature="alone")
        assert llm.status().to_json()["providers"][A]["state"] in {"open", "half_open"}
