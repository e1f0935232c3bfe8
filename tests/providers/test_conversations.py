"""A conversation with tools on every wire: what is sent, and what a reply says, whole and streamed."""

import json

import pytest

from llmfail.core.classification.body import parse
from llmfail.core.conversation import (
    Attachment,
    Message,
    Opaque,
    Signature,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmfail.core.model import Endpoint, Request
from llmfail.providers import load_wire_format
from llmfail.providers.stream import Finished

PNG = Attachment("dot.png", "image/png", b"\x89PNG")
PDF = Attachment("three.pdf", "application/pdf", b"%PDF-1.4")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "The weather of a city.", SCHEMA)
WIRES = {
    "anthropic": ("anthropic", "chat", "claude-sonnet-5-5"),
    "chat": ("openai", "chat", "gpt-x"),
    "responses": ("openai", "responses", "gpt-x"),
    "gemini": ("gemini", "chat", "gemini-3.8-flash"),
    "vertex gemini": ("vertex", "chat", "gemini-3.8-flash"),
    "vertex claude": ("vertex", "chat", "claude-sonnet-5-5"),
}
TURNS = Request(
    (
        Message("user", "Weather in Rome and Oslo?"),
        Message(
            "assistant",
            (
                Text("I look."),
                ToolCall("call_1", "weather", '{"city":"Rome"}'),
                ToolCall("call_2", "weather", '{"city":"Oslo"}'),
            ),
        ),
        Message(
            "user",
            (
                ToolResult("call_1", "sunny", "weather"),
                ToolResult("call_2", (Text("snow"), PNG), "weather"),
            ),
        ),
    ),
    system="Be brief.",
    max_tokens=9,
    tools=(WEATHER,),
    tool_choice=ToolChoice("auto"),
    parallel_tools=True,
)


def encode(wire, request, **more):
    api, door, model = WIRES[wire]
    base = {"base_url": "https://a.example/v1", "project": "p", "location": "global"} | more
    endpoint = Endpoint(api, base.pop("base_url"), model, None, door=door, **base)
    return json.loads(load_wire_format(api, door).encode(request, endpoint).body)


def load(wire):
    return load_wire_format(*WIRES[wire][:2])


SENT = {
    "anthropic": {
        "model": "claude-sonnet-5-5",
        "max_tokens": 9,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather in Rome and Oslo?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_2",
                        "content": [
                            {"type": "text", "text": "snow"},
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
                            },
                        ],
                    },
                ],
            },
        ],
        "tools": [{"name": "weather", "description": "The weather of a city.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
    },
    "chat": {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather in Rome and Oslo?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {
                        "id": f"call_{number}",
                        "type": "function",
                        "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'},
                    }
                    for number, city in ((1, "Rome"), (2, "Oslo"))
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "content": "snow"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}],
            },
        ],
        "max_tokens": 9,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "The weather of a city.",
                    "parameters": SCHEMA,
                },
            }
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "stream": False,
    },
    "responses": {
        "model": "gpt-x",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "Weather in Rome and Oslo?"},
            {"role": "assistant", "content": "I look."},
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "weather",
                "arguments": '{"city":"Rome"}',
            },
            {
                "type": "function_call",
                "call_id": "call_2",
                "name": "weather",
                "arguments": '{"city":"Oslo"}',
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {
                "type": "function_call_output",
                "call_id": "call_2",
                "output": [
                    {"type": "input_text", "text": "snow"},
                    {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="},
                ],
            },
        ],
        "tools": [
            {
                "type": "function",
                "parameters": SCHEMA,
                "name": "weather",
                "description": "The weather of a city.",
                "strict": False,
            }
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": 9,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather in Rome and Oslo?"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "I look."},
                    {
                        "functionCall": {"name": "weather", "args": {"city": "Rome"}},
                        "thoughtSignature": "skip_thought_signature_validator",
                    },
                    {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "weather", "response": {"result": "sunny"}}},
                    {
                        "functionResponse": {
                            "name": "weather",
                            "response": {"result": "snow"},
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}],
                        }
                    },
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "The weather of a city.",
                        "parametersJsonSchema": SCHEMA,
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {"maxOutputTokens": 9},
    },
}
SENT["vertex gemini"] = SENT["gemini"]
SENT["vertex claude"] = {
    "anthropic_version": "vertex-2023-10-16",
    **{name: value for name, value in SENT["anthropic"].items() if name != "model"},
}


@pytest.mark.parametrize("wire", WIRES)
def test_two_calls_and_their_results_are_sent_in_the_words_of_the_wire(wire):
    assert encode(wire, TURNS) == SENT[wire]


ROME, OSLO = '{"city":"Rome"}', '{"city":"Oslo"}'


def call(id_, arguments):
    return {"id": id_, "type": "function", "function": {"name": "weather", "arguments": arguments}}


THOUGHT_ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
WHOLE = {
    "anthropic": {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sealed"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "b", "name": "weather", "input": {"city": "Oslo"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    "chat": {
        "model": "m",
        "choices": [
            {
                "message": {
                    "content": "I look.",
                    "reasoning_content": "hm",
                    "tool_calls": [call("a", ROME), call("b", OSLO)],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    },
    "responses": {
        "model": "m",
        "status": "completed",
        "output": [
            THOUGHT_ITEM,
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "I look."}],
            },
            {"type": "function_call", "call_id": "a", "name": "weather", "arguments": ROME},
            {"type": "function_call", "call_id": "b", "name": "weather", "arguments": OSLO},
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    "gemini": {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "I look."},
                        {
                            "functionCall": {"id": "a", "name": "weather", "args": {"city": "Rome"}},
                            "thoughtSignature": "sealed",
                        },
                        {"functionCall": {"id": "b", "name": "weather", "args": {"city": "Oslo"}}},
                    ]
                },
                "finishReason": "STOP",
            }
        ],
        "modelVersion": "m",
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2},
    },
}
GIVEN = {
    "anthropic": (Thought("hm", Signature("", "sealed")), Text("I look.")),
    "chat": (Thought("hm", Signature("", '{"reasoning_content":"hm"}')), Text("I look.")),
    "responses": (
        Thought("", Signature("", json.dumps(THOUGHT_ITEM, separators=(",", ":")))),
        Text("I look."),
    ),
    "gemini": (Thought("hm"), Text("I look.")),
}
CALLS = (ToolCall("a", "weather", ROME), ToolCall("b", "weather", OSLO))
GEMINI_CALLS = (
    ToolCall("a", "weather", ROME, Signature("", "sealed"), {"gemini": {"id": "a"}}),
    ToolCall("b", "weather", OSLO, marks={"gemini": {"id": "b"}}),
)


def delta(index, **said):
    return {"type": "content_block_delta", "index": index, "delta": said}


def started(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def chunk(finish=None, **delta):
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def piece(index, arguments, **more):
    return chunk(tool_calls=[{"index": index, "function": {"arguments": arguments}, **more}])


def opening(index, id_):
    function = {"name": "weather", "arguments": ""}
    return chunk(tool_calls=[{"index": index, "id": id_, "type": "function", "function": function}])


def item_event(kind, index, **said):
    return {"type": f"response.{kind}", "output_index": index, **said}


STREAMS = {
    "anthropic": [
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}},
        started(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="h"),
        delta(0, type="thinking_delta", thinking="m"),
        delta(0, type="signature_delta", signature="sealed"),
        started(1, type="text", text=""),
        delta(1, type="text_delta", text="I "),
        delta(1, type="text_delta", text="look."),
        started(2, type="tool_use", id="a", name="weather", input={}),
        started(3, type="tool_use", id="b", name="weather", input={}),
        delta(2, type="input_json_delta", partial_json='{"ci'),
        delta(3, type="input_json_delta", partial_json='{"city": "Oslo"}'),
        delta(2, type="input_json_delta", partial_json='ty": "Rome"}'),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ],
    "chat": [
        chunk(reasoning_content="h"),
        chunk(reasoning_content="m"),
        chunk(content="I "),
        chunk(content="look."),
        opening(0, "a"),
        piece(0, '{"ci'),
        opening(1, "b"),
        piece(1, '{"city": "Oslo"}'),
        piece(0, 'ty": "Rome"}'),
        chunk("tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ],
    "responses": [
        {"type": "response.created", "response": {"model": "m"}},
        item_event("output_item.done", 0, item=THOUGHT_ITEM),
        item_event("output_item.added", 1, item={"type": "message", "content": []}),
        item_event("output_text.delta", 1, delta="I "),
        item_event("output_text.delta", 1, delta="look."),
        item_event("output_item.added", 2, item={"type": "function_call", "call_id": "a", "name": "weather"}),
        item_event("function_call_arguments.delta", 2, delta='{"city": '),
        item_event("function_call_arguments.delta", 2, delta='"Rome"}'),
        item_event("output_item.done", 3, item=WHOLE["responses"]["output"][3]),
        {
            "type": "response.completed",
            "response": {k: v for k, v in WHOLE["responses"].items() if k != "output"},
        },
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"text": "h", "thought": True}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "m", "thought": True}, {"text": "I "}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "look."}]}}]},
        *(
            {"candidates": [{"content": {"parts": [part]}}]}
            for part in WHOLE["gemini"]["candidates"][0]["content"]["parts"][2:]
        ),
        {
            "candidates": [{"content": {"parts": []}, "finishReason": "STOP"}],
            "modelVersion": "m",
            "usageMetadata": WHOLE["gemini"]["usageMetadata"],
        },
    ],
}
READ = [("anthropic", "anthropic"), ("chat", "chat"), ("responses", "responses"), ("gemini", "gemini")]
READ += [("vertex claude", "anthropic"), ("vertex gemini", "gemini")]


@pytest.mark.parametrize(("wire", "dialect"), READ)
def test_a_reply_with_two_calls_says_the_same_whole_and_streamed(wire, dialect):
    whole = load(wire).decode(parse(json.dumps(WHOLE[dialect]).encode()))
    calls = GEMINI_CALLS if dialect == "gemini" else CALLS
    assert whole.parts == (*GIVEN[dialect], *calls)
    assert (whole.text, whole.finish_reason, whole.model) == ("I look.", "tool_calls", "m")
    decoder = load(wire).make_stream_decoder()
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in STREAMS[dialect])
    *_, last = [*decoder.feed(body), *decoder.finish()]
    assert last == Finished(whole)


@pytest.mark.parametrize(("wire", "dialect"), READ)
def test_an_answer_goes_back_to_its_own_wire_as_it_came(wire, dialect):
    answer = load(wire).decode(parse(json.dumps(WHOLE[dialect]).encode()))
    sent = encode(wire, Request((Message("user", "Hi"), Message("assistant", answer.parts))))
    given = WHOLE[dialect]
    if dialect == "anthropic":
        assert sent["messages"][1]["content"] == given["content"]
    elif dialect == "chat":
        assert sent["messages"][1] == {"role": "assistant", **given["choices"][0]["message"]}
    elif dialect == "gemini":
        assert sent["contents"][1]["parts"] == given["candidates"][0]["content"]["parts"]
    else:
        said = {"role": "assistant", "content": "I look."}
        assert sent["input"][1:] == [given["output"][0], said, *given["output"][2:]]


def test_calls_without_an_index_or_in_one_piece_or_with_one_index_are_kept_apart():
    """All three are seen: Gemini's compatible endpoint, Ollama, and servers that count none."""
    whole = [call("a", ROME), call("b", OSLO)]
    for calls in (
        whole,
        [{**one, "index": 0} for one in whole],
        [{**one, "function": {"name": "weather", "arguments": json.loads(one["function"]["arguments"])}}
         for one in whole],
    ):  # fmt: skip
        decoder = load("chat").make_stream_decoder()
        events = [chunk(tool_calls=[one]) for one in calls] + [chunk("stop")]
        body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
        *_, last = [*decoder.feed(body), *decoder.finish()]
        assert last.completion.tool_calls == CALLS
        assert last.completion.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("wire", "mode", "sent"),
    [
        ("anthropic", "required", {"type": "any"}),
        ("anthropic", "named", {"type": "tool", "name": "weather"}),
        ("anthropic", "none", {"type": "none"}),
        ("chat", "required", "required"),
        ("chat", "named", {"type": "function", "function": {"name": "weather"}}),
        ("responses", "named", {"type": "function", "name": "weather"}),
        ("responses", "none", "none"),
        ("gemini", "required", {"functionCallingConfig": {"mode": "ANY"}}),
        (
            "gemini",
            "named",
            {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        ),
    ],
)
def test_a_choice_of_tools_is_made_in_the_words_of_the_wire(wire, mode, sent):
    choice = ToolChoice(mode, "weather" if mode == "named" else "")
    body = encode(wire, Request((Message("user", "Hi"),), tools=(WEATHER,), tool_choice=choice))
    assert body["toolConfig" if wire == "gemini" else "tool_choice"] == sent


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        (
            "anthropic",
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="},
            },
        ),
        (
            "chat",
            {
                "type": "file",
                "file": {
                    "filename": "three.pdf",
                    "file_data": "data:application/pdf;base64,JVBERi0xLjQ=",
                },
            },
        ),
        (
            "responses",
            {
                "type": "input_file",
                "filename": "three.pdf",
                "file_data": "data:application/pdf;base64,JVBERi0xLjQ=",
            },
        ),
        ("gemini", {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0xLjQ="}}),
    ],
)
def test_a_pdf_is_sent_in_the_words_of_the_wire(wire, part):
    body = encode(wire, Request((Message("user", (PDF, Text("Sum up."))),)))
    turn = (body.get("messages") or body.get("input") or body.get("contents"))[0]
    assert (turn.get("content") or turn["parts"])[0] == part


def test_what_only_one_dialect_can_say_goes_there_as_it_is():
    search = Opaque("anthropic", {"type": "web_search_20250305", "name": "web_search"})
    body = encode("anthropic", Request((Message("user", "Hi"),), tools=(search,)))
    assert body["tools"] == [search.json]


def test_arguments_that_are_no_object_are_not_lost():
    for arguments, sent in (
        ("", {}),
        ('{"ci', {"raw_arguments": '{"ci'}),
        ("[1]", {"value": [1]}),
    ):
        turn = Message("assistant", (ToolCall("a", "weather", arguments),))
        body = encode("anthropic", Request((turn,)))
        assert body["messages"][0]["content"][0]["input"] == sent


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "server_error", "message": "sorry"}},
            },
            "StreamError",
        ),
        ({"type": "error", "code": "server_error", "message": "sorry"}, "StreamError"),
        ({"type": "response.incomplete", "response": {"output": []}}, "Finished"),
    ],
)
def test_the_last_events_of_responses(event, kind):
    decoder = load("responses").make_stream_decoder()
    *_, last = decoder.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert type(last).__name__ == kind


def test_a_response_that_was_cut_says_so():
    reply = {
        **WHOLE["responses"],
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
    }
    assert load("responses").decode(parse(json.dumps(reply).encode())).finish_reason == "length"
