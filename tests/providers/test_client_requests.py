"""What programs ask over HTTP, by the dialect of the path; and that a signature comes back to its vendor."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from request_round_trips import write_again

from llmfail.client.options import ask_of
from llmfail.core.conversation import (
    Message,
    Text,
    Tool,
    ToolChoice,
)
from llmfail.core.errors import UsageError
from llmfail.core.model import Endpoint, Request
from llmfail.core.request.fitted_request import fit_request
from llmfail.providers import load_wire_format
from llmfail.providers.dialects import chat_request
from llmfail.providers.dialects.client_request import read_client_request, read_count_request
from llmfail.providers.replies.reply_writer import AskedReply

RESPONSES = Endpoint("openai", "https://api.openai.com/v1", "m", None, door="responses", vendor="openai")
ENDPOINTS = {
    "anthropic": Endpoint("anthropic", "https://a.example", "claude-sonnet-5-5", None, vendor="anthropic"),
    "openai": RESPONSES,
    "google": Endpoint("gemini", "https://g.example", "gemini-3.8-flash", None, vendor="google"),
    "groq": Endpoint("openai", "https://api.groq.com/openai/v1", "m", None, vendor="groq"),
}
CODEX = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Rules."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "low"},
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,JVBERg==",
                },
                {"type": "input_text", "text": "Look."},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "send",
            "namespace": "mail",
            "arguments": '{"to":1}',
        },
        {"type": "function_call", "call_id": "call_2", "name": "f", "arguments": "{}"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sent"},
        {
            "type": "function_call_output",
            "call_id": "call_2",
            "output": [
                {"type": "input_text", "text": "one"},
                {"type": "input_image", "image_url": "https://a.example/a.png"},
            ],
        },
        {"role": "developer", "content": "Go on."},
        {"role": "user", "content": "And?"},
    ],
    "tools": [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": {"type": "object"},
            "strict": True,
        },
        {
            "type": "namespace",
            "name": "mail",
            "description": "Of mails.",
            "tools": [
                {"type": "function", "name": "send", "parameters": {"type": "object"}, "strict": False},
                {"type": "function", "name": "read", "parameters": {"type": "object"}, "strict": False},
            ],
        },
        {"type": "web_search", "external_web_access": False},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "max_output_tokens": 99,
    "reasoning": {"effort": "high", "summary": "auto"},
    "text": {
        "format": {"type": "json_schema", "name": "out", "schema": {"type": "object"}, "strict": True},
        "verbosity": "low",
    },
    "include": ["reasoning.encrypted_content"],
    "store": False,
    "prompt_cache_key": "k",
    "client_metadata": {"a": "b"},
    "metadata": {"m": "1"},
    "service_tier": "flex",
    "top_p": 0.5,
}


def read(dialect, document, **more):
    return read_client_request(dialect, json.dumps(document).encode(), **more)


def request_of(document):
    fields = {name: one for name, one in document.fields.items() if one is not None}
    return Request(document.messages, **fields)


def test_a_whole_request_to_responses_comes_back_as_it_was():
    again = write_again(CODEX, RESPONSES)
    assert again == CODEX


def test_the_words_of_a_request_to_responses_are_those_of_all():
    ask = ask_of(read("responses", CODEX).document, feature="chat")
    assert [part.text for part in ask.system] == ["Be brief.", "Rules."]
    assert [message.role for message in ask.messages] == ["user", "assistant", "user", "system", "user"]
    thought, text, call, other, _ = ask.messages[1].parts
    assert (text.text, thought.signature.vendor) == ("I look.", "openai")
    assert (call.name, call.id, other.name) == ("mail__send", "call_1", "f")
    sent, seen = ask.messages[2].parts
    assert (sent.content, seen.parts[0], seen.parts[1].url) == (
        "sent",
        Text("one"),
        "https://a.example/a.png",
    )
    assert [tool.name for tool in ask.tools[:3]] == ["f", "mail__send", "mail__read"]
    assert (ask.max_tokens, ask.schema_name, ask.options.effort) == (99, "out", "high")


def test_other_wires_get_namespaces_as_longer_names():
    """Without what only OpenAI's own servers do."""
    items = [item for item in CODEX["input"] if item.get("type") != "web_search_call"]
    items[-3] = {**items[-3], "output": "one"}
    document = {**CODEX, "tools": CODEX["tools"][:2], "input": items}
    request = request_of(read("responses", document).document)
    for vendor in ("anthropic", "groq", "google"):
        fitted = fit_request(request, ENDPOINTS[vendor])
        there = ENDPOINTS[vendor]
        body = load_wire_format(there.api, there.door).encode(fitted.request, there).body.decode()
        assert body.count("mail__send") == (3 if vendor == "google" else 2), body
        assert "sealed" not in body
    assert {"prompt_cache_key", "thoughts", "include"} & set(fitted.dropped) == {
        "prompt_cache_key",
        "thoughts",
    }


@pytest.mark.parametrize(
    "field",
    [
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"conversation": "conv_1"},
        {"store": True},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
    ],
    ids=str,
)
def test_what_only_a_server_of_responses_can_do_suits_no_other(field):
    request = request_of(read("responses", {"model": "m", "input": "Hi", **field}).document)
    assert fit_request(request, RESPONSES).unsuited == ""
    for vendor in ("anthropic", "groq", "google"):
        assert fit_request(request, ENDPOINTS[vendor]).unsuited
    off = {name: False for name in field if name in {"background", "store"}}
    harmless = request_of(read("responses", {"model": "m", "input": "Hi", **off}).document)
    assert fit_request(harmless, ENDPOINTS["anthropic"]).unsuited == ""


def test_an_effort_that_only_openai_knows_is_the_nearest_elsewhere():
    document = {"model": "m", "input": "Hi", "reasoning": {"effort": "xhigh"}}
    assert write_again(document, RESPONSES)["reasoning"] == {"effort": "xhigh"}
    request = request_of(read("responses", document).document)
    assert request.options.effort == "high"


def test_cursor_is_answered_as_chat_completions_answers():
    body = {"model": "gpt", "input": "Hi", "stream": True, "stream_options": {"include_usage": True}}
    found = read("chat", {**body, "tools": [{"type": "function", "name": "f", "parameters": {}}]})
    assert found.document.messages == (Message("user", "Hi"),)
    assert found.document.fields["tools"][0].name == "f"
    wanted = AskedReply("chat", "gpt", stream=True, include_usage=True, may_relay=False)
    assert found.asked == wanted


def test_a_request_to_gemini_has_its_model_and_its_way_in_the_path():
    document = {
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "-_8="}}]}]
    }
    found = read("gemini", document, model="chat/x", verb="streamGenerateContent", query={"alt": "sse"})
    assert (found.asked.model, found.asked.stream, found.asked.as_array) == ("chat/x", True, False)
    assert found.document.messages[0].attachments[0].data == b"\xfb\xff"
    found = read("gemini", document, model="chat", verb="streamGenerateContent")
    assert (found.asked.stream, found.asked.as_array) == (False, True)
    assert not read("gemini", document, model="chat", verb="generateContent").asked.stream


def test_messages_are_read_by_their_path_and_not_by_what_they_look_like():
    plain = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    found = read("anthropic", {**plain, "tools": tools, "metadata": {"user_id": "u"}})
    assert found.document.fields["marks"] == {"anthropic": {"metadata": {"user_id": "u"}}}
    assert found.document.fields["tools"] == (Tool("f", parameters={"type": "object"}),)
    assert "anthropic" not in (read("chat", {**plain, "seed": 1}).document.fields.get("marks") or {})


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("anthropic", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("responses", {"input": "Hi"}),
        ("gemini", {"generateContentRequest": {"model": "models/m", "contents": "Hi"}}),
        ("gemini", {"contents": "Hi"}),
    ],
)
def test_what_is_to_be_counted_is_read(dialect, body):
    found = read_count_request(dialect, json.dumps({"model": "m", **body}).encode(), model="m")
    assert [message.text for message in found.document.messages] == ["Hi"]
    assert found.asked.model == "m"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b'{"model":1,"messages":[]}', b"[" * 9999])
def test_a_body_that_is_no_request_is_told(body):
    for dialect in ("chat", "responses", "anthropic", "gemini"):
        with pytest.raises(UsageError):
            read_client_request(dialect, body)


NAMES = """role content type text input messages contents parts tools name parameters input_schema function
tool_calls call_id id system instructions tool_choice reasoning effort format schema stop stop_sequences
generationConfig thinkingConfig functionCall functionResponse response signature thinking data source
encrypted_content summary namespace include store stream_options reasoning_details output arguments
systemInstruction inlineData toolConfig functionCallingConfig allowedFunctionNames max_tokens top_k
output_config response_format json_schema image_url file file_data logprobs user assistant function_call
function_call_output tool_use tool_result text input_text"""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(NAMES.split()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=5)
    ),
    max_leaves=30,
)
TURNS = st.lists(
    st.dictionaries(st.sampled_from(NAMES.split()), VALUES, max_size=5).map(
        lambda said: {"role": "user", "content": "x", "parts": [said], **said}
    ),
    max_size=3,
)


@pytest.mark.parametrize(
    ("dialect", "turns"),
    [("chat", "messages"), ("anthropic", "messages"), ("responses", "input"), ("gemini", "contents")],
)
@given(document=st.dictionaries(st.sampled_from(NAMES.split()), VALUES, max_size=6), said=TURNS)
@example(
    document={}, said=[{"role": "user", "content": [{"type": []}], "parts": [{"content": [{"type": []}]}]}]
)
def test_nothing_that_a_program_may_send_is_a_bug_of_ours(dialect, turns, document, said):
    """It is a request, or a UsageError."""
    document = {**document, turns: said}
    try:
        ask = ask_of(read(dialect, document).document)
    except UsageError:
        return
    request = Request(
        ask.messages, ask.system, 9, tools=ask.tools, options=ask.options, marks=ask.marks, schema=ask.schema
    )
    for there in ENDPOINTS.values():
        fitted = fit_request(request, there)
        if not fitted.unsuited:
            try:
                load_wire_format(there.api, there.door).encode(fitted.request, there)
            except UsageError:
                continue


def test_a_choice_of_tools_by_name_is_read():
    tools = {"tools": CODEX["tools"], "tool_choice": {"type": "function", "name": "f"}}
    document = {"model": "m", "input": "Hi", **tools}
    assert read("responses", document).document.fields["tool_choice"] == ToolChoice("named", "f")
    assert write_again(document, RESPONSES)["tool_choice"] == tools["tool_choice"]


_NO_TEXTS = st.sampled_from(
    [5, 1.5, True, [], {}, [5], [[]], {"a": 5}, {"type": []}, {"type": {}}, "abc", None]
)
_WHOLE = {
    "chat": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "stop": ["a"],
        "response_format": {"type": "json_object"},
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    },
    "anthropic": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "stop_sequences": ["a"],
        "tool_choice": {"type": "tool", "name": "f"},
    },
    "responses": {
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
        ],
        "tool_choice": {"type": "function", "name": "f"},
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}],
        "generationConfig": {"stopSequences": ["a"]},
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    },
}


def _places_of(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from _places_of(inner, (*path, name))


@pytest.mark.parametrize("dialect", _WHOLE)
@given(data=st.data())
def test_a_field_of_another_kind_is_told_or_taken_and_never_a_fault(dialect, data):
    document = json.loads(json.dumps(_WHOLE[dialect]))
    *path, name = data.draw(st.sampled_from(list(_places_of(document))))
    place = document
    for step in path:
        place = place[step]
    place[name] = data.draw(_NO_TEXTS)
    try:
        ask_of(read(dialect, {"model": "m", **document}).document)
    except UsageError:
        return


@pytest.mark.parametrize(("dialect", "name"), [("chat", "stop"), ("anthropic", "stop_sequences")])
def test_one_text_at_which_to_stop_is_not_its_letters(dialect, name):
    asked = read(dialect, {"model": "m", **_WHOLE[dialect], "tool_choice": None, name: "abc"})
    assert ask_of(asked.document).stop == ("abc",)


def test_what_has_no_name_here_is_always_in_one_order():
    """It is part of the identity of a request, by which stored answers are found."""
    document = {"messages": [], "reasoning_effort": "own", "tool_choice": "own", "x": 1}
    marks = chat_request.read_fields(document)["marks"]["chat"]
    assert list(marks) == ["x", "tool_choice", "reasoning_effort"]
