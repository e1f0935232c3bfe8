"""What an answer says: text, end, usage in all its parts."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed_documents import DOCUMENTS

from llmfail.core.classification.body import parse
from llmfail.core.conversation import Signature, Text, Thought, ToolCall
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Completion, Embedding, Usage
from llmfail.providers import load_wire_format

APIS = ["anthropic", "openai", "gemini", "vertex"]


def decode(api, document):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return load_wire_format(api).decode(parse(raw))


def claude(content=({"type": "text", "text": "Hello"},), stop_reason="end_turn", **more):
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    return {**head, "content": list(content), "stop_reason": stop_reason, **more}


def chat(message=None, finish="stop", **more):
    message = {"role": "assistant", "content": "Hello"} if message is None else message
    return {"model": "gpt-x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def gemini(parts=({"text": "Hello"},), reason="STOP", **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason, "index": 0}
    return {"candidates": [candidate], "modelVersion": "gemini-x", **more}


@pytest.mark.parametrize("api", ["anthropic", "vertex"])
@pytest.mark.parametrize(
    ("document", "completion"),
    [
        (claude(), Completion("Hello", "stop", model="claude-x")),
        (claude(stop_reason="stop_sequence"), Completion("Hello", "stop", model="claude-x")),
        (claude(stop_reason="max_tokens"), Completion("Hello", "length", model="claude-x")),
        (
            claude(stop_reason="model_context_window_exceeded"),
            Completion("Hello", "length", model="claude-x", detail="model_context_window_exceeded"),
        ),
        (claude(stop_reason="tool_use"), Completion("Hello", "tool_calls", model="claude-x")),
        (
            claude(stop_reason="pause_turn"),
            Completion("Hello", "other", model="claude-x", detail="pause_turn"),
        ),
        (claude([]), Completion("", "stop", model="claude-x")),
        (
            claude(
                [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "Hel"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "lo"},
                    {"type": "tool_use", "id": "t", "name": "look", "input": {"at": 1}},
                ]
            ),
            Completion(
                "Hello",
                "tool_calls",
                model="claude-x",
                parts=(
                    Thought("hm", Signature("", "s")),
                    Text("Hel"),
                    Thought("", Signature("", "redacted_thinking:x")),
                    Text("lo"),
                    ToolCall("t", "look", '{"at":1}'),
                ),
            ),
        ),
        (
            claude(
                [],
                "refusal",
                stop_details={"type": "refusal", "category": "cyber", "explanation": "No."},
                usage={"input_tokens": 7, "output_tokens": 3},
            ),
            Completion(
                "",
                "refusal",
                Usage(7, output_tokens=3),
                model="claude-x",
                detail="cyber: No.",
                billed=False,
            ),
        ),
        (claude(stop_reason="refusal", stop_details=None), Completion("Hello", "refusal", model="claude-x")),
    ],
)
def test_a_message_of_claude(api, document, completion):
    assert decode(api, document) == completion


def test_the_whole_input_of_claude_is_the_sum_of_its_three_parts():
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 800,
        "cache_creation_input_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    assert decode("anthropic", claude(usage=usage)).usage == Usage(
        950, 800, 50, output_tokens=40, reasoning_tokens=30
    )


@pytest.mark.parametrize(
    ("document", "completion"),
    [
        (chat(), Completion("Hello", "stop", model="gpt-x")),
        (chat(finish="length"), Completion("Hello", "length", model="gpt-x")),
        (chat(finish="model_length"), Completion("Hello", "length", model="gpt-x")),
        (chat(finish="content_filter"), Completion("Hello", "content_filter", model="gpt-x")),
        (chat(finish="function_call"), Completion("Hello", "tool_calls", model="gpt-x")),
        (chat(finish=None), Completion("Hello", "other", model="gpt-x")),
        (
            chat(finish="insufficient_system_resource"),
            Completion("Hello", "other", model="gpt-x", detail="insufficient_system_resource"),
        ),
        (chat({"content": None}, "tool_calls"), Completion("", "tool_calls", model="gpt-x")),
        (
            chat({"content": None, "refusal": "I can't."}),
            Completion("", "refusal", model="gpt-x", detail="I can't."),
        ),
        (
            chat({"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "Hello"}]}),
            Completion("Hello", "stop", model="gpt-x"),
        ),
        ({"choices": [{"message": {"content": "Hello"}}]}, Completion("Hello", "other")),
        (
            b'\n\n\n{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}',
            Completion("Hello", "stop"),
        ),
    ],
)
def test_a_chat_completion(document, completion):
    assert decode("openai", document) == completion


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(10, output_tokens=5)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(100, 60, 20, output_tokens=50, reasoning_tokens=30),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 0,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            Usage(100, 64),
        ),
        # xAI: the reasoning stands beside the completion, and the total tells.
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, output_tokens=103, reasoning_tokens=94),
        ),
        # Without a total nobody knows; the reasoning stays a part of the output.
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, output_tokens=9, reasoning_tokens=9),
        ),
        # OpenRouter's own bill, to the pico-dollar.
        (
            {"prompt_tokens": 1, "completion_tokens": 0, "cost": 0.00021234567},
            Usage(1, reported_cost=212_345_670),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 0, "cost": 1.23e-7}, Usage(1, reported_cost=123_000)),
        (
            {"prompt_tokens": 1, "completion_tokens": 0, "cost": 999.123456789012},
            Usage(1, reported_cost=999_123_456_789_012),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 0, "cost": 0}, Usage(1, reported_cost=0)),
        ({"prompt_tokens": 1, "completion_tokens": 0, "cost": -1}, Usage(1)),
        ({"prompt_tokens": 1, "completion_tokens": 0, "cost": "0.1"}, Usage(1)),
        ({"prompt_tokens": 1, "completion_tokens": 0, "cost": True}, Usage(1)),
        ({"prompt_tokens": 1, "completion_tokens": 0, "cost": 1e300}, Usage(1)),
        ({"prompt_tokens": 1.0, "completion_tokens": 3.0}, Usage(1, output_tokens=3)),
        # Nothing that counts.
        ({"total_tokens": 15}, None),
        # Half of it is not known to be nothing.
        ({"prompt_tokens": 15}, None),
        ({"completion_tokens": 15}, None),
        ({"prompt_tokens": None, "completion_tokens": None}, None),
        ("lots", None),
        # A part is never larger than the whole.
        (
            {"prompt_tokens": 1, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 999}},
            Usage(1, 1),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 0, "prompt_cache_hit_tokens": 999}, Usage(5, 5)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 0,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 4},
            },
            Usage(5, 4, 1),
        ),
        # A part that nobody can read is none; what it costs is in the whole.
        (
            {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": "all"}},
            Usage(5),
        ),
    ],
)
def test_the_usage_of_a_chat_completion(usage, expected):
    assert decode("openai", chat(usage=usage)).usage == expected


UNREADABLE = ["five", "3", "", -1, 2.5, True, [], 10**30, 1e308, 10**400, math.nan, math.inf, 10**9 + 1]
COUNTS = [
    ("openai", "prompt_tokens"),
    ("openai", "completion_tokens"),
    ("anthropic", "input_tokens"),
    ("anthropic", "output_tokens"),
    ("anthropic", "cache_read_input_tokens"),
    ("anthropic", "cache_creation_input_tokens"),
    ("gemini", "promptTokenCount"),
    ("gemini", "toolUsePromptTokenCount"),
    ("gemini", "candidatesTokenCount"),
    ("gemini", "thoughtsTokenCount"),
]
NEEDED = {
    "openai": ("prompt_tokens", "completion_tokens"),
    "anthropic": ("input_tokens", "output_tokens"),
    "gemini": ("promptTokenCount",),
}


def answer_with(api, usage):
    match api:
        case "openai":
            return chat(usage=usage)
        case "anthropic":
            return claude(usage=usage)
        case _:
            return gemini(usageMetadata=usage)


@pytest.mark.parametrize("value", UNREADABLE, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(("api", "name"), COUNTS)
def test_a_usage_with_a_count_that_is_none_is_unknown_and_the_answer_is_kept(api, name, value):
    needed = dict.fromkeys(NEEDED[api], 3)
    answer = decode(api, answer_with(api, {**needed, name: value}))
    assert answer.text == "Hello"
    assert answer.usage is None
    assert decode(api, answer_with(api, {**needed, name: 7})).usage is not None


@pytest.mark.parametrize(("api", "name"), [(api, name) for api, names in NEEDED.items() for name in names])
def test_half_a_usage_is_none(api, name):
    half = dict.fromkeys(NEEDED[api], 3)
    del half[name]
    assert decode(api, answer_with(api, half)).usage is None


@pytest.mark.parametrize("digits", ["NaN", "-Infinity", "1" * 5000])
def test_a_body_with_a_number_that_json_or_python_does_not_know_is_still_an_answer(digits):
    raw = json.dumps(chat(usage={"prompt_tokens": "?", "completion_tokens": 3})).replace('"?"', digits)
    answer = decode("openai", raw.encode())
    assert (answer.text, answer.usage) == ("Hello", None)


def test_what_gemini_cached_is_no_more_than_its_input():
    usage = {"promptTokenCount": 5, "cachedContentTokenCount": 999}
    assert decode("gemini", gemini(usageMetadata=usage)).usage == Usage(5, 5)


def test_what_claude_thought_is_no_more_than_its_output():
    usage = {"input_tokens": 5, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 9}}
    assert decode("anthropic", claude(usage=usage)).usage == Usage(5, output_tokens=2, reasoning_tokens=2)


@pytest.mark.parametrize("api", ["gemini", "vertex"])
@pytest.mark.parametrize(
    ("document", "completion"),
    [
        (gemini(), Completion("Hello", "stop", model="gemini-x")),
        (gemini(reason="MAX_TOKENS"), Completion("Hello", "length", model="gemini-x")),
        (
            gemini([{"text": "hm", "thought": True}, {"text": "Hel"}, {"text": "lo"}]),
            Completion("Hello", "stop", model="gemini-x", parts=(Thought("hm"), Text("Hello"))),
        ),
        (gemini(reason="SAFETY"), Completion("Hello", "content_filter", model="gemini-x", detail="SAFETY")),
        (
            gemini([], "IMAGE_SAFETY"),
            Completion("", "content_filter", model="gemini-x", detail="IMAGE_SAFETY"),
        ),
        (
            gemini([], "PUP_LIMITED_DISABLED"),
            Completion("", "other", model="gemini-x", detail="PUP_LIMITED_DISABLED"),
        ),
        (
            {"candidates": [{"finishReason": "RECITATION"}]},
            Completion("", "content_filter", detail="RECITATION"),
        ),
        (
            {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]},
            Completion("", "length"),
        ),
        (
            {
                "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                "usageMetadata": {"promptTokenCount": 4},
            },
            Completion("", "content_filter", Usage(4), detail="the prompt was blocked: PROHIBITED_CONTENT"),
        ),
        ([gemini()], Completion("Hello", "stop", model="gemini-x")),
    ],
)
def test_an_answer_of_gemini(api, document, completion):
    assert decode(api, document) == completion


def test_the_usage_of_gemini_counts_thoughts_as_output_and_tool_results_as_input():
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 157,
    }
    assert decode("gemini", gemini(usageMetadata=usage)).usage == Usage(
        107, 60, output_tokens=50, reasoning_tokens=30
    )


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"  \n",
        b"<html>",
        b'{"choices"',
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"choices":[]}',
        b'{"content":5}',
    ],
)
def test_a_body_that_is_no_answer_is_malformed(api, raw):
    with pytest.raises(MalformedReply):
        decode(api, raw)


def test_a_choice_without_a_message_is_malformed():
    with pytest.raises(MalformedReply, match="no message"):
        decode("openai", {"choices": [{"text": "Hello"}]})


def test_halves_of_surrogate_pairs_in_an_answer_become_printable():
    raw = b'{"choices":[{"message":{"content":"a\\ud800b\\ud83d\\ude00"},"finish_reason":"stop"}]}'
    assert decode("openai", raw).text == "a\ufffdb😀"


@pytest.mark.parametrize(
    ("api", "document", "embedding"),
    [
        (
            "openai",
            {
                "model": "e",
                "data": [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1.0, 2.0]}],
                "usage": {"prompt_tokens": 4, "total_tokens": 4},
            },
            Embedding(((1.0, 2.0), (3.0, 4.5)), Usage(4), "e"),
        ),
        ("gemini", {"embeddings": [{"values": [1]}, {"values": [2]}]}, Embedding(((1.0,), (2.0,)))),
        ("gemini", {"embedding": {"values": [1]}}, Embedding(((1.0,),))),
        (
            "vertex",
            {
                "predictions": [
                    {"embeddings": {"values": [1], "statistics": {"token_count": 2}}},
                    {"embeddings": {"values": [2], "statistics": {"token_count": 3}}},
                ]
            },
            Embedding(((1.0,), (2.0,)), Usage(5)),
        ),
        ("vertex", {"predictions": [{"embeddings": {"values": [1]}}]}, Embedding(((1.0,),))),
        (
            "vertex",
            {
                "predictions": [
                    {"embeddings": {"values": [1], "statistics": {"token_count": 2}}},
                    {"embeddings": {"values": [2], "statistics": {"token_count": "x"}}},
                ]
            },
            Embedding(((1.0,), (2.0,))),
        ),
        (
            "openai",
            {"data": [{"embedding": [1]}], "usage": {"prompt_tokens": "x", "total_tokens": 4}},
            Embedding(((1.0,),)),
        ),
    ],
)
def test_embeddings_come_in_the_order_of_the_texts(api, document, embedding):
    assert load_wire_format(api).decode_embedding(parse(json.dumps(document).encode())) == embedding


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"data": [{"embedding": []}], "embeddings": [{"values": []}], "predictions": []},
        {
            "data": [{"embedding": ["x"]}],
            "embeddings": [{"values": [None]}],
            "predictions": [{"embeddings": {"values": [[1]]}}],
        },
        {
            "data": [{"embedding": [1e999]}],
            "embeddings": [{"values": [10**400]}],
            "predictions": [{"embeddings": {"values": ["nan"]}}],
        },
    ],
    ids=["nothing", "empty", "no numbers", "no finite numbers"],
)
def test_what_is_no_embedding_is_malformed(api, document):
    with pytest.raises(MalformedReply):
        load_wire_format(api).decode_embedding(parse(json.dumps(document).encode()))


@given(
    st.sampled_from(APIS),
    st.binary(max_size=100) | DOCUMENTS.map(lambda document: json.dumps(document).encode()),
)
def test_no_body_breaks_a_decoder_but_with_malformed_reply(api, raw):
    for read in (load_wire_format(api).decode, load_wire_format(api).decode_embedding):
        try:
            answer = read(parse(raw))
        except MalformedReply:
            continue
        else:
            assert answer.usage is None or answer.usage.input_tokens >= 0
