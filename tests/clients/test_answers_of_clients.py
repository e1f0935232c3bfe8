"""R1, R3 and R4: whole and streamed answers, tools over three turns, and signatures across vendors, read by
every client from every wire.
"""

import json

import pytest
from gateway import TARGETS

CLIENTS = {
    "python openai": "stop",
    "python responses": "completed",
    "python anthropic": "end_turn",
    "python google": "STOP",
    "node openai": "stop",
    "node responses": "completed",
    "node anthropic": "end_turn",
    "node google": "STOP",
    "node ai-responses": "stop",
    "node ai-chat": "stop",
    "node ai-compatible": "stop",
    "node ai-anthropic": "stop",
    "node ai-google": "stop",
    "frameworks langchain-openai": "stop",
    "frameworks langchain-responses": "completed",
    "frameworks langchain-anthropic": "end_turn",
    "frameworks llama-index": None,
    "frameworks pydantic-ai": None,
}
"""Each client, and how it says that an answer is whole."""
CALLING = {
    "openai": "tool_calls",
    "anthropic": "tool_use",
    "ai-chat": "tool-calls",
    "ai-responses": "tool-calls",
    "ai-compatible": "tool-calls",
    "ai-anthropic": "tool-calls",
    "ai-google": "tool-calls",
    "langchain-openai": "tool_calls",
    "langchain-anthropic": "tool_use",
    "pydantic-ai": "tool_call",
}
"""How a client says that tools are called, where it does."""
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS)
IN_TURNS = [
    (client, wire, (number + place) % 2 == 0)
    for number, client in enumerate(CLIENTS)
    for place, wire in enumerate(TARGETS)
]
"""Each client from each wire, from every other one streamed; each dialect from each wire is both."""
CALLS = [("weather", {"city": "simulated"}), ("time", {"city": "simulated"})]


@STREAMED
@EVERY_CLIENT
def test_a_text_is_whole_whoever_answers(ask, client, stream):
    for wire, target in TARGETS.items():
        said = ask(client, "text", model=f"to-{wire}", stream=stream)
        assert said.get("text") == f"Hello from {target} (simulated). You said: hi", (wire, said)
        assert said.get("finish") == CLIENTS[client], (wire, said)
        assert not stream or said["pieces"] > 1, (wire, said)


@pytest.mark.parametrize(("client", "wire", "stream"), IN_TURNS)
def test_two_calls_of_tools_and_their_results_over_three_turns(ask, simulator, client, wire, stream):
    before = simulator.count()
    said = ask(client, "tools", model=f"to-{wire}", stream=stream)
    check_turns(client, said)
    asked = simulator.requests[before:]
    assert [request.target for request in asked] == [TARGETS[wire]] * 4
    for request in asked[1:]:
        turns = json.dumps([request.document.get(key) for key in ("messages", "contents", "input")])
        assert 0 < turns.index("of weather") < turns.index("of time")


def check_turns(client, said):
    assert "error" not in said, said
    called, answered, called_again, answered_again = said["turns"]
    for turn in (called, called_again):
        assert [(call["name"], call["arguments"]) for call in turn["calls"]] == CALLS
        assert turn["finish"] == CALLING.get(client.split(" ")[1], turn["finish"])
    for turn in (answered, answered_again):
        assert turn["calls"] == []
        assert "(simulated)" in turn["text"]
        assert turn["finish"] in {CLIENTS[client], "stop"}
    ids = [call.get("id") for turn in said["turns"] for call in turn["calls"]]
    assert None in ids or len(set(ids)) == 4


ROUTES = [
    ("anthropic", "chat", "anthropic"),
    ("anthropic", "gemini", "anthropic"),
    ("gemini", "anthropic", "gemini"),
    ("responses", "anthropic", "responses"),
    ("gemini", "responses", "chat"),
]
"""Who answers the turns of a conversation."""
TRAVELLERS = [client for client in CLIENTS if not client.startswith("frameworks")]
JOURNEYS = [
    (client, route)
    for number, client in enumerate(TRAVELLERS)
    for place, route in enumerate(ROUTES)
    if (number + place) % 2 == 0
]
"""Every other route for each client; each dialect takes all of them."""


@pytest.mark.parametrize(("client", "route"), JOURNEYS)
def test_a_conversation_that_changes_vendors_meets_no_400(ask, simulator, client, route):
    """The simulator refuses signatures that are not its own, as the vendors do."""
    before = simulator.count()
    said = ask(client, "tools", models=[f"to-{wire}" for wire in route])
    assert "error" not in said, said
    asked = [request.target for request in simulator.requests[before:]]
    assert asked == [TARGETS[wire] for wire in route for _ in range(2)]
