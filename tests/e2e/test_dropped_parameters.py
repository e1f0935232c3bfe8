"""A parameter that a provider refuses by name is left out once, and by every later process."""

import json

from program import OPENAI

from llmfail.core.model import Reply
from llmfail.simulator import parse_faults

REFUSED = {
    "error": {
        "message": "Unsupported value: 'temperature' does not support 0.5 with this model. "
        "Only the default (1) value is supported.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    }
}


def refuses_temperature(seen):
    if "temperature" in seen.document:
        return Reply(400, {"content-type": "application/json"}, json.dumps(REFUSED).encode())
    return f"{seen.target} heard: {seen.prompt}"


def test_it_is_dropped_once_and_remembered_by_the_next_process(llmfail, simulator):
    simulator.set_answer(refuses_temperature)
    first = llmfail.ask("--temperature", "0.5")
    assert first.code == 0
    assert first.trail == [(OPENAI, "called", "bad_request"), (OPENAI, "called", "ok")]
    assert ["temperature" in seen.document for seen in simulator.requests] == [True, False]
    second = llmfail.ask("--temperature", "0.5")
    assert second.trail == [(OPENAI, "called", "ok")]
    assert simulator.count() == 3
    assert llmfail.status(OPENAI)["state"] == "closed"


def test_it_is_sent_again_after_a_reset(llmfail, simulator):
    simulator.set_answer(refuses_temperature)
    llmfail.ask("--temperature", "0.5")
    llmfail("reset", "openai")
    simulator.set_answer(lambda _seen: "Hello")
    llmfail.ask("--temperature", "0.5")
    assert "temperature" in simulator.requests[-1].document


def test_one_that_was_not_sent_cannot_be_dropped(llmfail, simulator):
    simulator.set_answer(
        lambda _seen: Reply(400, {"content-type": "application/json"}, json.dumps(REFUSED).encode())
    )
    assert llmfail.ask().trail[0] == (OPENAI, "called", "bad_request")
    assert simulator.count("openai") == 1


def test_it_is_not_dropped_for_a_refusal_of_something_else(llmfail, simulator):
    simulator.set_faults(parse_faults("all=400"))
    assert llmfail.ask("--temperature", "0.5").code == 5
    assert simulator.count("openai") == 1
