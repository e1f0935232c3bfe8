"""What a streamed answer says besides its text, piece by piece and on every wire: thoughts with their
signatures, and calls of tools with their arguments.
"""

import json

import pytest

from llmfail.core.answer_piece import CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import ToolCall
from llmfail.providers import load_wire_format
from llmfail.providers.stream import Finished, StreamPiece

FIRST, SECOND = {"city": "Köln"}, {"zone": "CET"}


def events_of(*documents, done=True):
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in documents)
    return (body + ("data: [DONE]\n\n" if done else "")).encode()


def block(index, start, *deltas):
    yield {"type": "content_block_start", "index": index, "content_block": start}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def use(name, own, **start):
    return {"type": "tool_use", "id": own, "name": name, "input": {}, **start}


ANTHROPIC = events_of(
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}},
    *block(
        0,
        {"type": "thinking", "thinking": ""},
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "sealed"},
    ),
    *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Let me look."}),
    *block(
        2,
        use("weather", "c1"),
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"city":'},
        {"type": "input_json_delta", "partial_json": '"Köln"}'},
    ),
    *block(3, use("time", "c2", input=SECOND)),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
)


def chunk(finish=None, **delta):
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT = events_of(
    chunk(role="assistant", content=""),
    chunk(reasoning_content="h"),
    chunk(reasoning_content="m"),
    chunk(content="Let me look."),
    chunk(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": '"Köln"}'}}]),
    chunk(tool_calls=[{"index": 1, "id": "c2", "function": {"name": "time", "arguments": SECOND}}]),
    chunk("tool_calls"),
)


def item(kind, index, **fields):
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": fields}


def function(own, name, arguments=""):
    return {"type": "function_call", "call_id": own, "name": name, "arguments": arguments}


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"text": "hm"}], "encrypted_content": "sealed"}
CALLS = (function("c1", "weather", '{"city":"Köln"}'), function("c2", "time", json.dumps(SECOND)))
ANSWER = {"type": "message", "content": [{"type": "output_text", "text": "Let me look."}]}
RESPONSES = events_of(
    {"type": "response.created", "response": {"model": "m"}},
    item("added", 0, type="reasoning", id="rs_1", summary=[]),
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "h"},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "m"},
    item("done", 0, **REASONING),
    item("added", 1, type="message", content=[]),
    {"type": "response.output_text.delta", "output_index": 1, "delta": "Let me look."},
    item("done", 1, **ANSWER),
    item("added", 2, **function("c1", "weather")),
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"city":'},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '"Köln"}'},
    item("done", 2, **CALLS[0]),
    item("added", 3, **function("c2", "time")),
    {"type": "response.function_call_arguments.done", "output_index": 3, "arguments": json.dumps(SECOND)},
    item("done", 3, **CALLS[1]),
    {
        "type": "response.completed",
        "response": {"status": "completed", "model": "m", "output": [REASONING, ANSWER, *CALLS]},
    },
)


def candidate(*parts, finish=None):
    return {"modelVersion": "m", "candidates": [{"content": {"parts": parts}, "finishReason": finish}]}


GEMINI = events_of(
    candidate({"text": "h", "thought": True}),
    candidate({"text": "m", "thought": True, "thoughtSignature": "sealed"}),
    candidate({"text": "Let me look."}),
    candidate({"functionCall": {"id": "c1", "name": "weather", "args": FIRST}, "thoughtSignature": "mine"}),
    candidate({"functionCall": {"id": "c2", "name": "time", "args": SECOND}}, finish="STOP"),
    done=False,
)
STREAMS = {
    ("anthropic", "chat"): ANTHROPIC,
    ("vertex", "chat"): ANTHROPIC,
    ("openai", "chat"): CHAT,
    ("openai", "responses"): RESPONSES,
    ("gemini", "chat"): GEMINI,
}


def play(api, door, raw):
    decoder = load_wire_format(api, door).make_stream_decoder()
    *pieces, last = [*decoder.feed(raw), *decoder.finish()]
    assert isinstance(last, Finished)
    assert all(isinstance(one, StreamPiece) for one in pieces)
    return pieces, last.completion


@pytest.mark.parametrize(("api", "door"), STREAMS)
def test_what_is_said_piece_by_piece_is_the_answer(api, door):
    pieces, completion = play(api, door, STREAMS[api, door])
    thoughts = [one.text for one in pieces if isinstance(one, ThoughtPiece) and one.text]
    assert thoughts == ["h", "m"]
    assert [one for one in pieces if isinstance(one, TextPiece)] == [TextPiece("Let me look.")]
    calls = [one for one in pieces if isinstance(one, CallBegun)]
    assert [(one.index, one.id, one.name) for one in calls] == [(0, "c1", "weather"), (1, "c2", "time")]
    said = [
        "".join(one.text for one in pieces if isinstance(one, CallArguments) and one.index == index)
        for index in (0, 1)
    ]
    assert list(map(json.loads, said)) == [FIRST, SECOND]
    told = tuple(
        ToolCall(one.id, one.name, json.dumps(json.loads(text)), one.signature)
        for one, text in zip(calls, said, strict=True)
    )
    whole = tuple(
        ToolCall(one.id, one.name, json.dumps(json.loads(one.arguments)), one.signature)
        for one in completion.tool_calls
    )
    assert told == whole


@pytest.mark.parametrize(("api", "door"), STREAMS)
def test_the_signature_of_a_thought_comes_when_it_has_ended(api, door):
    pieces, completion = play(api, door, STREAMS[api, door])
    shown = [one for one in pieces if isinstance(one, ThoughtPiece | TextPiece)]
    [signed] = [one for one in shown if isinstance(one, ThoughtPiece) and one.signature]
    assert signed.text == ""
    assert isinstance(shown[shown.index(signed) + 1], TextPiece)
    assert signed.signature == completion.parts[0].signature


def test_what_was_read_is_told_at_the_start():
    decoder = load_wire_format("anthropic").make_stream_decoder()
    decoder.feed(ANTHROPIC[: ANTHROPIC.index(b"\n\n") + 2])
    model, usage = decoder.read_head()
    assert (model, usage.input_tokens) == ("m", 9)


def test_a_gemini_call_without_an_id_has_the_same_one_in_its_piece_and_in_the_answer():
    raw = events_of(
        candidate({"text": "a"}),
        candidate({"functionCall": {"name": "time"}}),
        candidate({"functionCall": {"name": "time"}}, finish="STOP"),
        done=False,
    )
    pieces, completion = play("gemini", "chat", raw)
    told = [one.id for one in pieces if isinstance(one, CallBegun)]
    assert told == [one.id for one in completion.tool_calls]
    assert len(set(told)) == 2
