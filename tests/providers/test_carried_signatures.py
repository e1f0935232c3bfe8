"""A signature comes back to the vendor that made it, through programs of every dialect, to nobody else."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmfail.core.answer_piece import OriginalRequest
from llmfail.core.conversation import Message, Signature, Text, Thought, ToolCall, ToolResult
from llmfail.core.model import Endpoint, Request, Target
from llmfail.core.receipt import Receipt
from llmfail.core.request.fitted_request import fit_request
from llmfail.providers import load_wire_format
from llmfail.providers.dialects.carried_signature import PREFIX, PREFIX_IN_BASE64
from llmfail.providers.dialects.client_request import read_client_request
from llmfail.providers.dialects.relayed_body import clear_carried, decode_fields
from llmfail.providers.relay import Relay
from llmfail.providers.replies.reply_writer import AskedReply, make_reply_writer

RESPONSES = Endpoint("openai", "https://api.openai.com/v1", "m", None, door="responses", vendor="openai")
ENDPOINTS = {
    "anthropic": Endpoint("anthropic", "https://a.example", "claude-sonnet-5-5", None, vendor="anthropic"),
    "openai": RESPONSES,
    "google": Endpoint("gemini", "https://g.example", "gemini-3.8-flash", None, vendor="google"),
    "groq": Endpoint("openai", "https://api.groq.com/openai/v1", "m", None, vendor="groq"),
}
VALUES = st.recursive(
    st.none() | st.integers(-2, 9) | st.sampled_from(["text", "thinking", PREFIX, PREFIX_IN_BASE64]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["content", "type", "signature", "data", "parts", "thoughtSignature", "functionCall", "id"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


def request_of(dialect, document):
    read = read_client_request(dialect, json.dumps(document).encode()).document
    return Request(read.messages, **{name: one for name, one in read.fields.items() if one is not None})


SEALED = {
    "anthropic": (Thought("hm", Signature("anthropic", "SEAL")), Text("So.")),
    "google": (Text("So."), ToolCall("call_1", "f", '{"a":1}', Signature("google", "SEAL"))),
    "openai": (
        Thought(
            "",
            Signature("openai", '{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"SEAL"}'),
        ),
        Text("So."),
    ),
}
OWN = {"anthropic": "anthropic", "responses": "openai", "gemini": "google"}


def answer_in(dialect, vendor):
    """The turn of the assistant as a program gives it back, with the results of its calls."""
    parts = SEALED[vendor]
    receipt = Receipt("01H", "chat", answer="So.", parts=parts, target=Target("t", "m"), finish_reason="stop")
    answer = json.loads(make_reply_writer(AskedReply(dialect, "m", "01H")).write_whole(receipt))
    match dialect:
        case "chat":
            message = answer["choices"][0]["message"]
            results = [
                {"role": "tool", "tool_call_id": call["id"], "content": "ok"}
                for call in message.get("tool_calls", [])
            ]
            return {"messages": [{"role": "user", "content": "Hi"}, message, *results]}
        case "responses":
            results = [
                {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
                for item in answer["output"]
                if item["type"] == "function_call"
            ]
            return {"input": [{"role": "user", "content": "Hi"}, *answer["output"], *results]}
        case "anthropic":
            results = [
                {"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}
                for block in answer["content"]
                if block["type"] == "tool_use"
            ]
            said = [*results, {"type": "text", "text": "Go on."}]
            turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer["content"]}]
            return {"max_tokens": 9, "messages": [*turns, {"role": "user", "content": said}]}
        case "gemini":
            content = answer["candidates"][0]["content"]
            results = [
                {"functionResponse": {"name": part["functionCall"]["name"], "response": {"result": "ok"}}}
                for part in content["parts"]
                if "functionCall" in part
            ]
            last = {"role": "user", "parts": [*results, {"text": "Go on."}]}
            return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, content, last]}


@pytest.mark.parametrize("dialect", ["chat", "responses", "anthropic", "gemini"])
@pytest.mark.parametrize("vendor", SEALED)
def test_two_turns_later_a_vendor_gets_its_own_signature_back_and_nobody_else_sees_it(dialect, vendor):
    request = request_of(dialect, {"model": "m", **answer_in(dialect, vendor)})
    calls = [part for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
    results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    assert [call.id for call in calls] == [result.call_id for result in results]
    for name, there in ENDPOINTS.items():
        fitted = fit_request(request, there)
        body = load_wire_format(there.api, there.door).encode(fitted.request, there).body.decode()
        assert ("SEAL" in body) is (name == vendor), body
        assert PREFIX not in body
        assert PREFIX_IN_BASE64 not in body


@pytest.mark.parametrize(
    "damage", ["llmfail1.", "llmfail1.!!", "llmfail1.e30", "llmfail1.W10", "llmfail1." + "A" * 99]
)
def test_what_was_damaged_on_its_way_is_no_signature(damage):
    turns = [
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": damage}]},
        {"role": "user", "content": "Go on."},
    ]
    (said, _) = request_of("anthropic", {"model": "m", "max_tokens": 9, "messages": turns}).messages
    assert said.parts == (Thought("hm"),)


OF_DIALECT = {
    "chat": ENDPOINTS["groq"],
    "responses": RESPONSES,
    "anthropic": ENDPOINTS["anthropic"],
    "gemini": ENDPOINTS["google"],
}


def clear(dialect, body, endpoint):
    return msgspec.json.encode(clear_carried(dialect, decode_fields(body), endpoint))


@pytest.mark.parametrize("text", ["EpQB", "[1]", "[" * 100_000], ids=["no JSON", "no object", "deep"])
@pytest.mark.parametrize("vendor", ["openai", "groq"])
def test_what_a_vendor_has_signed_on_another_wire_is_left_out(vendor, text):
    thought = Thought("hm", Signature(vendor, text))
    said = [Message("user", "Hi"), Message("assistant", (thought, Text("Hello"))), Message("user", "Go on.")]
    endpoint = ENDPOINTS[vendor]
    wire = load_wire_format(endpoint.api, endpoint.door)
    bodies = [
        wire.encode(Request((said[0], one, said[2])), endpoint, stream=False).body
        for one in (said[1], Message("assistant", (Text("Hello"),)))
    ]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("dialect", OF_DIALECT)
@pytest.mark.parametrize("vendor", SEALED)
def test_a_body_that_is_relayed_has_nothing_of_ours_and_nothing_of_other_vendors(dialect, vendor):
    there = OF_DIALECT[dialect]
    body = json.dumps({"model": "m", **answer_in(dialect, vendor), "own_field": 1}).encode()
    cleared = clear(dialect, body, there)
    assert PREFIX.encode() not in cleared
    assert PREFIX_IN_BASE64.encode() not in cleared
    assert (b"SEAL" in cleared) is (there.vendor == vendor)
    found = json.loads(cleared)
    assert found["own_field"] == 1
    before, after = (request_of(dialect, json.loads(one)) for one in (body, cleared))
    calls = [
        [
            (part.id, part.name)
            for message in one.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        ]
        for one in (before, after)
    ]
    assert calls[0] == calls[1]
    assert "So." in cleared.decode()
    if dialect == "gemini" and vendor != "google":
        assert "thoughtSignature" not in cleared.decode()


def test_a_call_of_another_model_is_relayed_to_gemini_with_the_value_that_says_so():
    call = ToolCall("call_1", "f", "{}", Signature("openai", "SEAL"))
    receipt = Receipt(
        "01H", "chat", answer="", parts=(call, call), target=Target("t", "m"), finish_reason="stop"
    )
    answer = json.loads(make_reply_writer(AskedReply("gemini", "m", "01H")).write_whole(receipt))
    body = json.dumps({"contents": [answer["candidates"][0]["content"]]}).encode()
    parts = json.loads(clear("gemini", body, ENDPOINTS["google"]))["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]


def test_a_body_without_anything_of_ours_is_relayed_as_the_same_bytes():
    body = b'{"model":"m", "messages" : [ {"role":"user","content":"\xc3\xa4"} ]}'
    fields = decode_fields(body)
    assert clear_carried("anthropic", fields, ENDPOINTS["anthropic"]) is fields


@pytest.mark.parametrize(
    ("dialect", "turns"), [("chat", "messages"), ("responses", "input"), ("gemini", "contents")]
)
@given(said=st.lists(VALUES, max_size=3))
def test_whatever_stands_around_what_is_ours_is_relayed_without_a_bug(dialect, turns, said):
    body = json.dumps({turns: [*said, {"id": f"~{PREFIX}", "parts": ["bGxtZmFpbDEu"]}]}).encode()
    assert isinstance(clear(dialect, body, OF_DIALECT[dialect]), bytes)


DAMAGED = f"{PREFIX}%%%"
THOUGHT = {"type": "redacted_thinking", "data": DAMAGED}
SIGNED = {"text": "So.", "thoughtSignature": f"{PREFIX_IN_BASE64}AAAA"}


@pytest.mark.parametrize(
    ("dialect", "turns", "damaged"),
    [
        (
            "chat",
            "messages",
            {"role": "assistant", "content": "So.", "reasoning_details": [{"data": DAMAGED}]},
        ),
        ("chat", "messages", {"role": "tool", "tool_call_id": f"call_1~{DAMAGED}", "content": "ok"}),
        ("responses", "input", {"type": "reasoning", "summary": [], "encrypted_content": DAMAGED}),
        ("anthropic", "messages", {"role": "assistant", "content": [THOUGHT]}),
        ("gemini", "contents", {"role": "model", "parts": [SIGNED]}),
    ],
)
def test_what_was_damaged_on_its_way_is_relayed_to_nobody(dialect, turns, damaged):
    document = {turns: [damaged]}
    original = OriginalRequest(dialect, json.dumps(document).encode())
    relay = Relay(original, request_of(dialect, document))
    body = relay.encode(OF_DIALECT[dialect], stream=False).body
    assert PREFIX.encode() not in body
    assert PREFIX_IN_BASE64.encode() not in body


@pytest.mark.parametrize("dialect", ["responses", "anthropic", "gemini"])
@pytest.mark.parametrize("vendor", SEALED)
def test_a_conversation_in_which_another_vendor_answered_still_goes_on_as_it_was_written(dialect, vendor):
    there = OF_DIALECT[dialect]
    document = {"model": "m", **answer_in(dialect, vendor), "own_field": 1}
    original = OriginalRequest(dialect, json.dumps(document).encode(), {"anthropic-beta": "x"})
    relay = Relay(original, request_of(dialect, document))
    assert relay.reaches(there)
    call = relay.encode(there, stream=False)
    assert (b"SEAL" in call.body, PREFIX.encode() in call.body) == (there.vendor == vendor, False)
    assert json.loads(call.body)["own_field"] == 1
    stranger = replace(there, vendor="x.example")
    assert relay.reaches(stranger) is (there.vendor != vendor)
