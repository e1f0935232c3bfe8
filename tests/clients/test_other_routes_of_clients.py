"""R10, R29, R30, R35 and R37: vectors, models, counts, Cursor's body, and answers that no model gave."""

import http.client
import json
import math
from dataclasses import replace

import pytest
from gateway import KEY, TARGETS
from scripted_streams import ERROR, STALL
from test_broken_streams_of_clients import CLIENTS, post

from llmfail.core.model import Reply
from llmfail.simulator.canned_turn import answer_as_model
from llmfail.simulator.formats import build_answer


def test_vectors_are_the_same_numbers_in_base64_and_as_floats(ask):
    """openai-node asks for base64 by itself, and reads wrong numbers from an answer that has floats."""
    texts = ["one", "two words"]
    (floats, *others) = [
        ask("python openai", "embed", model="vectors", input=texts, extra={"encoding_format": "float"}),
        ask("python openai", "embed", model="vectors", input=texts),
        ask("node openai", "embed", model="vectors", input=texts),
    ]
    assert len(floats["vectors"]) == 2
    assert all(floats["vectors"])
    for other in others:
        for expected, found in zip(floats["vectors"], other["vectors"], strict=True):
            assert len(found) == len(expected)
            assert all(
                math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-7)
                for one, two in zip(expected, found, strict=True)
            )


@pytest.mark.parametrize("client", ["python openai", "python anthropic", "node openai"])
def test_models_are_the_features(ask, client):
    said = ask(client, "models")
    assert {"to-chat", "to-anthropic", "chain"} <= set(said["models"])


@pytest.mark.parametrize("client", ["python anthropic", "python google"])
@pytest.mark.parametrize("wire", TARGETS)
def test_tokens_are_counted_whoever_would_answer(ask, client, wire):
    assert ask(client, "count", model=f"to-{wire}", prompt="one two three four")["tokens"] > 0


def test_cursor_asks_in_one_dialect_and_reads_another(gateway, simulator):
    """A body of Responses at the place of Chat Completions, whose chunks are expected back."""
    body = {
        "model": "to-anthropic",
        "input": [{"role": "user", "content": "hi"}],
        "tools": [
            {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chunks = read_chunks(gateway, body)
    calls = [
        call
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", [])
    ]
    assert calls[0]["function"]["name"] == "weather"
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "tool_calls"
    assert chunks[-1]["usage"]["total_tokens"] > 0


def read_chunks(gateway, body):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", CLIENTS)
def test_an_answer_that_no_model_gave_is_read_by_every_client(ask, streams, dialect, stream):
    streams.plays("openai", [ERROR])
    for client in CLIENTS[dialect]:
        said = ask(client, "text", model="degraded", stream=stream, retries=0)
        assert said.get("text") == "Come back later.", (client, said)


@pytest.mark.parametrize("dialect", CLIENTS)
def test_its_source_stands_in_a_header(gateway, streams, dialect):
    streams.plays("openai", [ERROR])
    connection = post(gateway, dialect, "degraded")
    reply = connection.getresponse()
    reply.read()
    connection.close()
    assert reply.headers["x-llmfail-source"] == "text"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", CLIENTS)
def test_an_answer_of_the_second_target_beside_a_late_first_is_whole(ask, streams, dialect, stream):
    """One client of each dialect, because a feature may hedge ten asks in a row and no more."""
    streams.plays("openai", [STALL])
    said = ask(CLIENTS[dialect][int(stream)], "text", model="hedged", stream=stream, retries=0)
    assert said.get("text") == f"Hello from {TARGETS['anthropic']} (simulated). You said: hi", said


def test_arguments_that_come_in_one_piece_reach_who_reads_deltas(ask, simulator):
    """Some servers say nothing of them before ``response.function_call_arguments.done``."""

    def answer(request):
        reply = build_answer(request, answer_as_model(request))
        if isinstance(reply, Reply):
            return reply
        kept = tuple(event for event in reply.events if b"arguments.delta" not in event)
        return replace(reply, events=kept)

    simulator.set_answer(answer)
    for client in ("python openai", "node anthropic", "python google", "node responses"):
        said = ask(client, "tools", model="to-responses", stream=True)
        calls = [call["arguments"] for turn in said["turns"] for call in turn["calls"]]
        assert calls == [{"city": "simulated"}] * 4, (client, said)
