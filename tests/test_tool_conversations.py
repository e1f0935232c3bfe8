"""Tools over real HTTP: three turns on every wire, and a conversation that goes from vendor to vendor."""

import json

import pytest

from llmfail import Client, Message, RequestRefused
from llmfail.core.conversation import Attachment, Text, ToolCall, ToolResult

TOOLS = [
    {
        "name": name,
        "description": f"The {name} of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    for name in ("weather", "time")
]
WIRES = {
    "anthropic": "anthropic/claude-sonnet-5-5",
    "chat": "openai/gpt-6.1-terra",
    "responses": "openai/gpt-6.1-sol",
    "gemini": "google/gemini-3.8-flash",
    "vertex": "vertex/gemini-3.8-flash",
    "vertex claude": "vertex/claude-sonnet-5-5",
    "compatible": "deepseek/deepseek-v4-pro",
}


@pytest.fixture
def client(tmp_path, simulator):
    def provider(api, name, **more):
        return {"api": api, "base_url": simulator.base_url(name), "api_key": f"made-up-key-{name}", **more}

    document = {
        "version": 1,
        "store": "memory",
        "defaults": {"retries": 0, "timeout": "5s"},
        "providers": {
            "anthropic": provider("anthropic", "anthropic"),
            "openai": provider("openai", "openai"),
            "deepseek": provider("openai", "deepseek"),
            "groq": provider("openai", "groq"),
            "google": provider("gemini", "google"),
            "vertex": {**provider("vertex", "vertex"), "project": "p", "token": "made-up-token"},
        },
        "models": {"openai/gpt-6.1-sol": {"endpoint": "responses"}},
    }
    del document["providers"]["vertex"]["api_key"]
    file = tmp_path / "llmfail.yaml"
    file.write_text(json.dumps(document))
    with Client(file) as opened:
        yield opened


def ask(client, turns, target, *, stream=False):
    return client.ask(turns, model=target, tools=TOOLS, no_fallback=True, stream=stream)


def results_of(receipt):
    return Message(
        "user", tuple(ToolResult(one.id, f"of {one.name}", one.name) for one in receipt.tool_calls)
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
def test_two_parallel_calls_and_their_results_over_three_turns(client, simulator, wire, stream):
    turns = [Message("user", "Weather and time in Rome?")]
    for _ in range(2):
        called = ask(client, turns, WIRES[wire], stream=stream)
        assert called.finish_reason == "tool_calls"
        assert [(one.name, json.loads(one.arguments)) for one in called.tool_calls] == [
            ("weather", {"city": "simulated"}),
            ("time", {"city": "simulated"}),
        ]
        assert len({one.id for one in called.tool_calls}) == 2
        turns += [called.message, results_of(called)]
        answered = ask(client, turns, WIRES[wire], stream=stream)
        assert (answered.finish_reason, answered.tool_calls) == ("stop", ())
        assert "of time" in answered.answer or wire in {"gemini", "vertex"}
        turns += [answered.message, Message("user", "And now?")]
    ids = [part.id for turn in turns for part in turn.parts if isinstance(part, ToolCall)]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    "route",
    [
        ("anthropic", "chat", "anthropic"),
        ("gemini", "anthropic", "gemini"),
        ("anthropic", "gemini", "anthropic"),
        ("responses", "anthropic", "responses"),
        ("vertex claude", "gemini", "anthropic"),
        ("chat", "gemini", "compatible"),
        ("gemini", "vertex", "responses"),
    ],
    ids="-".join,
)
def test_a_conversation_that_changes_vendors_meets_no_400(client, simulator, route):
    """The simulator refuses signatures that are not its own, as the vendors do."""
    turns = [Message("user", "Weather and time in Rome?")]
    for wire in route:
        called = ask(client, turns, WIRES[wire])
        answered = ask(client, [*turns, called.message, results_of(called)], WIRES[wire])
        for receipt in (called, answered):
            assert [entry.status for entry in receipt.trail] == [200]
        turns += [called.message, results_of(called), answered.message, Message("user", "And now?")]


def test_a_foreign_signature_is_what_the_simulator_refuses(client, simulator):
    called = ask(client, [Message("user", "Hi")], WIRES["anthropic"])
    thought, *_ = called.message.parts
    forged = thought.__class__("another thought", thought.signature)
    turns = [Message("user", "Hi"), Message("assistant", (forged, Text("So.")))]
    with pytest.raises(RequestRefused, match="Invalid `signature`"):
        ask(client, [*turns, Message("user", "Go on")], WIRES["anthropic"])


def test_a_target_that_takes_no_pdf_is_unsuited_and_the_next_is_asked(client, simulator):
    pdf = Attachment("three.pdf", "application/pdf", b"%PDF-1.4\n/Type /Page /Type /Page /Type /Page")
    chain = ["groq/openai/gpt-oss-120b", "anthropic/claude-sonnet-5-5"]
    receipt = client.ask("Sum up.", attachments=[pdf], model=chain)
    assert [(entry.action, entry.outcome) for entry in receipt.trail] == [
        ("skipped", "unsuited"),
        ("called", "ok"),
    ]
    assert simulator.count("groq") == 0
    with pytest.raises(RequestRefused, match=r"groq/openai/gpt-oss-120b unsuited .*PDF") as refused:
        client.ask("Sum up.", attachments=[pdf], model=chain[0], no_fallback=True)
    assert refused.value.receipt.error.kind == "unsuited"


def test_what_a_wire_has_no_word_for_is_named_in_the_trail(client):
    receipt = client.ask("Hi", model="anthropic/claude-sonnet-5-5", options={"seed": 1, "effort": "low"})
    assert receipt.trail[0].to_json()["dropped"] == ["seed"]
    planned = client.plan("Hi", model="anthropic/claude-sonnet-5-5", options={"seed": 1})
    assert planned.to_json()["candidates"][0]["dropped"] == ["seed"]


def test_a_request_with_tools_is_not_answered_from_the_cache_unless_the_feature_says_so(client, simulator):
    for _ in range(2):
        ask(client, [Message("user", "Weather?")], WIRES["chat"])
    assert simulator.count("openai") == 2


def test_a_receipt_as_json_can_be_gone_on_with(client):
    called = ask(client, [Message("user", "Hi")], WIRES["anthropic"])
    shown = json.loads(json.dumps(called.to_json()))
    assert [one["arguments"] for one in shown["tool_calls"]] == [{"city": "simulated"}] * 2
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "fine"} for one in shown["tool_calls"]]
    turns = [{"role": "user", "content": "Hi"}, shown["message"], *results]
    assert ask(client, turns, WIRES["anthropic"]).finish_reason == "stop"


def test_body_headers_and_query_go_along_as_they_are(tmp_path, simulator):
    file = tmp_path / "azure.yaml"
    file.write_text(
        json.dumps(
            {
                "version": 1,
                "store": "memory",
                "providers": {
                    "azure": {
                        "api": "openai",
                        "base_url": simulator.base_url("openai"),
                        "api_key": "none",
                        "headers": {"api-key": "made-up-azure-key-4711", "X-Title": "my app"},
                        "query": {"api-version": "2024-10-21"},
                        "body": {"metadata": {"team": "a"}, "reasoning": {"a": 1}},
                    }
                },
                "models": {
                    "azure/gpt": {"body": {"reasoning": {"b": 2}}, "price": {"input": 1, "output": 1}}
                },
            }
        )
    )
    simulator.set_answer(lambda seen: f"the key is {seen.headers['api-key']}")
    with Client(file) as client:
        receipt = client.ask("Hi", model="azure/gpt")
    (seen,) = simulator.requests
    assert (seen.headers["api-key"], seen.headers["x-title"]) == ("made-up-azure-key-4711", "my app")
    assert seen.path.endswith("/chat/completions?api-version=2024-10-21")
    assert seen.document["metadata"] == {"team": "a"}
    assert seen.document["reasoning"] == {"a": 1, "b": 2}
    assert receipt.answer == "the key is [key]"


def test_a_template_of_the_feature_is_for_what_the_user_says_and_not_for_results(tmp_path, simulator):
    provider = {"api": "openai", "base_url": simulator.base_url("openai"), "api_key": "made-up-key-4711"}
    document = {
        "version": 1,
        "store": "memory",
        "providers": {"openai": provider},
        "templates": {"polite": "Please: $prompt"},
        "features": {"default": {"primary": "openai/gpt", "template": "polite"}},
    }
    file = tmp_path / "polite.yaml"
    file.write_text(json.dumps(document))
    with Client(file) as client:
        called = client.ask("Weather?", tools=TOOLS)
        assert simulator.requests[0].document["messages"][-1]["content"] == "Please: Weather?"
        client.ask([Message("user", "Weather?"), called.message, results_of(called)], tools=TOOLS)
    assert [one["role"] for one in simulator.requests[1].document["messages"]][-1] == "tool"


def test_options_are_no_matter_of_vectors(tmp_path, simulator):
    provider = {"api": "openai", "base_url": simulator.base_url("openai"), "api_key": "made-up-key-4711"}
    document = {
        "version": 1,
        "store": "memory",
        "providers": {"openai": {**provider, "options": {"top_k": 5}}},
        "features": {"default": {"primary": "openai/text-embedding-3-small"}},
    }
    file = tmp_path / "vectors.yaml"
    file.write_text(json.dumps(document))
    with Client(file) as client:
        assert "dropped" not in client.embed("Hi").trail[0].to_json()
        assert client.ask("Hi").trail[0].to_json()["dropped"] == ["top_k"]
