"""A streamed answer as events, however its bytes are cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from malformed_documents import DOCUMENTS

from llmfail.core.conversation import Text, Thought
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Completion, Usage
from llmfail.providers import load_wire_format
from llmfail.providers.stream import (
    BrokenStream,
    Finished,
    StreamError,
    StreamPiece,
    TextPiece,
    Thinking,
    ThoughtPiece,
)

APIS = ["anthropic", "openai", "gemini", "vertex"]


def sse(*documents, end="\n"):
    return "".join(f"data: {json.dumps(document)}{end}{end}" for document in documents).encode()


def named(*documents):
    return "".join(f"event: {d['type']}\ndata: {json.dumps(d)}\n\n" for d in documents).encode()


def play(api, *pieces):
    """The events of a body, texts joined, because cuts may fall anywhere."""
    stream = load_wire_format(api).make_stream_decoder()
    events = [event for piece in pieces for event in stream.feed(piece)] + stream.finish()
    assert stream.finish() == []
    texts = "".join(event.text for event in events if isinstance(event, TextPiece))
    rest = [event for event in events if not isinstance(event, StreamPiece)]
    assert len(rest) == 1
    assert events[-1] == rest[0]
    last = str(rest[0].error) if isinstance(rest[0], BrokenStream) else rest[0]
    return texts, last


def chunk(content=None, finish=None, **more):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return {"id": "c", "model": "gpt-x", "choices": [choice], **more}


START = {
    "type": "message_start",
    "message": {
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
    },
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP = {"type": "message_stop"}


def test_h1_a_stream_of_more_text_than_any_model_writes_is_broken():
    stream = load_wire_format("openai").make_stream_decoder()
    piece = sse(chunk("x" * 60_000))
    last = next(one for one in iter(lambda: stream.feed(piece)[-1], None) if not isinstance(one, TextPiece))
    assert str(last.error) == "the answer is longer than 4,194,304 characters"


def delta(text):
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def closing(reason, **usage):
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


THOUGHT = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
CLAUDE = named(
    START,
    BLOCK,
    {"type": "ping"},
    THOUGHT,
    delta("Grüß "),
    delta("dich 😀"),
    {"type": "content_block_stop", "index": 0},
    {"type": "something_new", "data": 1},
    closing("end_turn", output_tokens=7, cache_read_input_tokens=None),
    STOP,
)
DONE = b"data: [DONE]\n\n"
CHAT = (
    b": OPENROUTER PROCESSING\n\n"
    + sse(chunk(""), chunk("Grüß "), {"choices": [], "usage": None}, chunk("dich 😀"), chunk(None, "stop"))
    + sse({"choices": [], "model": "gpt-x", "usage": {"prompt_tokens": 10, "completion_tokens": 7}})
    + DONE
)
GEMINI = sse(
    {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
    {"candidates": [{"content": {"parts": [{"text": "Grüß "}]}}], "usageMetadata": {"promptTokenCount": 1}},
    {
        "candidates": [{"content": {"parts": [{"text": "dich 😀"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3},
        "modelVersion": "gemini-x",
    },
    end="\r\n",
)
WHOLE = {
    "anthropic": (CLAUDE, Completion("Grüß dich 😀", "stop", Usage(15, 5, output_tokens=7), "claude-x")),
    "openai": (CHAT, Completion("Grüß dich 😀", "stop", Usage(10, output_tokens=7), "gpt-x")),
    "gemini": (
        GEMINI,
        Completion(
            "Grüß dich 😀",
            "stop",
            Usage(10, output_tokens=7, reasoning_tokens=3),
            "gemini-x",
            parts=(Thought("hm"), Text("Grüß dich 😀")),
        ),
    ),
}
BODIES = [(api, *WHOLE[api]) for api in WHOLE] + [
    ("vertex", *WHOLE["anthropic"]),
    ("vertex", *WHOLE["gemini"]),
]


def thinking(text):
    return {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": text}}


def part(**said):
    return {"candidates": [{"content": {"parts": [said]}}]}


SIGNS = [
    ("anthropic", delta("x"), [TextPiece("x")]),
    ("anthropic", delta(""), []),
    ("anthropic", thinking("hm"), [ThoughtPiece("hm")]),
    ("anthropic", thinking(""), []),
    ("anthropic", {"type": "ping"}, []),
    ("anthropic", BLOCK, []),
    ("openai", chunk("x"), [TextPiece("x")]),
    ("openai", chunk(""), []),
    ("openai", {"choices": [{"delta": {"reasoning_content": "hm"}}]}, [ThoughtPiece("hm")]),
    ("openai", {"choices": [{"delta": {"reasoning_content": ""}}]}, []),
    ("gemini", part(text="x"), [TextPiece("x")]),
    ("gemini", part(text=""), []),
    ("gemini", part(text="hm", thought=True), [ThoughtPiece("hm")]),
    ("gemini", part(text="", thought=True), []),
    ("gemini", part(inlineData={}), []),
    ("openai", {"choices": [{"delta": {"refusal": "no"}}]}, [Thinking()]),
]


@pytest.mark.parametrize(("api", "document", "events"), SIGNS)
def test_only_what_says_something_is_a_sign_of_life(api, document, events):
    assert load_wire_format(api).make_stream_decoder().feed(sse(document)) == events


@pytest.mark.parametrize(("api", "raw", "completion"), BODIES)
def test_a_whole_stream_ends_in_its_completion(api, raw, completion):
    assert play(api, raw) == ("Grüß dich 😀", Finished(completion))


@pytest.mark.parametrize(("api", "raw", "completion"), BODIES)
def test_a_stream_says_the_same_byte_by_byte(api, raw, completion):
    pieces = [raw[i : i + 1] for i in range(len(raw))]
    assert play(api, *pieces) == ("Grüß dich 😀", Finished(completion))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"data: ", b"data:"),
        lambda raw: raw.replace(b"data: ", b": keep-alive\n\nid: 7\nretry: 10\ndata: "),
        lambda raw: b"\n\n\n" + raw,
        lambda raw: raw.removesuffix(b"\n\n") + b"\n",
        lambda raw: raw.removesuffix(b"\n\n"),
    ],
    ids=["CRLF", "no blank", "comments", "blank lines first", "last blank line missing", "no newline"],
)
@pytest.mark.parametrize("api", ["anthropic", "openai"])
def test_the_parser_is_tolerant(api, change):
    raw, completion = WHOLE[api]
    assert play(api, change(raw)) == ("Grüß dich 😀", Finished(completion))


def test_a_mark_of_the_byte_order_is_no_part_of_the_first_line():
    raw = b"\xef\xbb\xbf" + sse(chunk("Hello"), chunk(None, "stop")) + DONE
    assert play("openai", raw) == ("Hello", Finished(Completion("Hello", "stop", model="gpt-x")))


@pytest.mark.parametrize(("api", "raw"), [("anthropic", CLAUDE), ("openai", CHAT)])
def test_after_its_mark_a_stream_is_over_although_the_body_goes_on(api, raw):
    stream = load_wire_format(api).make_stream_decoder()
    assert isinstance(stream.feed(raw)[-1], Finished)
    assert stream.feed(sse({"error": {"message": "late"}}) + sse(chunk("late"), delta("late"))) == []
    assert stream.finish() == []


@pytest.mark.parametrize(("api", "raw", "completion"), BODIES)
def test_a_stream_cut_before_its_end_mark_is_broken_and_keeps_what_it_had(api, raw, completion):
    half = raw[: raw.index(b"dich")]
    stream = load_wire_format(api).make_stream_decoder()
    texts = "".join(event.text for event in stream.feed(half) if isinstance(event, TextPiece))
    assert texts == "Grüß "
    (last,) = stream.finish()
    assert isinstance(last, BrokenStream)
    assert isinstance(last.error, MalformedReply)
    assert stream.completion.text == "Grüß "
    assert stream.completion.finish_reason == "other"


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "the stream ended without its end mark"),
        (b"\n\n", "the stream ended without its end mark"),
        (b": keep-alive\n\n", "the stream ended without its end mark"),
        (b"<html>\n<p>\n", "the answer is an HTML page instead of JSON"),
        (b"data: {\n\n", "an event of the stream is a body that is not JSON"),
        (b"data:\n\n", "the stream ended without its end mark"),
        (b"{}", "the answer has no"),
        (b'{"choices', "the answer is a body that is not JSON"),
    ],
)
def test_what_is_no_stream_is_broken(api, raw, why):
    texts, last = play(api, raw)
    assert texts == ""
    assert last.startswith(why)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"error": {"code": 502, "message": "gone"}, "choices": [{"delta": {}, "finish_reason": "error"}]},
        {"choices": [{"error": {"code": 502, "message": "gone"}}]},
        {"error": "gone"},
    ],
)
def test_an_error_inside_a_200_ends_the_stream(api, error):
    assert play(api, sse(error) + DONE) == ("", StreamError(error))
    assert play(api, json.dumps(error).encode()) == ("", StreamError(error))


@pytest.mark.parametrize(
    ("api", "document", "completion"),
    [
        (
            "openai",
            {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]},
            Completion("Hello", "stop"),
        ),
        (
            "anthropic",
            {"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"},
            Completion("Hello", "stop"),
        ),
        (
            "gemini",
            {"candidates": [{"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]},
            Completion("Hello", "stop"),
        ),
    ],
)
def test_a_plain_json_body_where_a_stream_was_asked_for_is_an_answer(api, document, completion):
    raw = json.dumps(document, indent=1).encode()
    assert play(api, b"\n", raw[:20], raw[20:]) == ("Hello", Finished(completion))


def test_a_compatible_server_that_forgets_its_mark_has_ended_with_its_finish_reason():
    completion = Completion("Hello", "length", model="gpt-x")
    assert play("openai", sse(chunk("Hello"), chunk(None, "length"))) == ("Hello", Finished(completion))


def test_the_last_usage_of_a_compatible_server_wins_wherever_it_stands():
    first = chunk("Hel", usage={"prompt_tokens": 1, "completion_tokens": 1})
    last = chunk("lo", "stop", x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    _, finished = play("openai", sse(first, last) + DONE)
    assert finished.completion.usage == Usage(3, output_tokens=2)
    assert finished.completion.text == "Hello"


def test_a_streamed_refusal_of_a_compatible_server_has_its_words_in_the_detail():
    refusal = {"choices": [{"delta": {"refusal": "I can't"}, "finish_reason": "stop"}]}
    assert play("openai", sse(refusal) + DONE) == ("", Finished(Completion("", "refusal", detail="I can't")))


def test_a_refusal_of_claude_is_billed_only_when_something_came_before_it():
    details = {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal", "stop_details": {"category": "bio"}},
    }
    _, before = play("anthropic", named(START, details, STOP))
    assert (before.completion.billed, before.completion.detail) == (False, "bio")
    text, after = play("anthropic", named(START, BLOCK, delta("Well"), details, STOP))
    assert (text, after.completion.billed) == ("Well", True)


@pytest.mark.parametrize("api", ["gemini", "vertex"])
def test_a_blocked_prompt_ends_the_stream_of_gemini(api):
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    completion = Completion("", "content_filter", Usage(4), detail="the prompt was blocked: SAFETY")
    assert play(api, sse(blocked)) == ("", Finished(completion))


LINES = st.sampled_from(
    [
        b"",
        b"data: [DONE]",
        b"data: {",
        b": comment",
        b"event: ping",
        b"data",
        b"\r",
        b'data: {"error": "x"}',
        b"data: 1",
        sse(delta("ü")).strip(),
        sse(STOP).strip(),
        sse(chunk("😀", "stop")).strip(),
        sse(json.loads('{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}')).strip(),
    ]
)
RAW = st.binary(max_size=60) | st.lists(LINES, max_size=12).map(b"\n".join)


@given(st.sampled_from(APIS), RAW, st.lists(st.integers(0, 400), max_size=6))
@example("openai", CHAT, [40, 41, 200])
@example("anthropic", CLAUDE, [1, 300, 301])
def test_the_events_are_the_same_however_the_bytes_are_cut(api, raw, cuts):
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[a:b] for a, b in pairwise(places)]
    assert play(api, *pieces) == play(api, raw)


@given(st.sampled_from(APIS), st.lists(DOCUMENTS, max_size=5))
def test_no_event_breaks_a_stream(api, documents):
    play(api, sse(*documents))


@pytest.mark.parametrize(
    ("api", "say"),
    [
        ("openai", lambda half: sse(chunk(half))),
        (
            "anthropic",
            lambda half: named(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": half}}
            ),
        ),
        ("gemini", lambda half: sse({"candidates": [{"content": {"parts": [{"text": half}]}}]})),
    ],
)
def test_a_character_in_two_halves_is_one(api, say):
    stream = load_wire_format(api).make_stream_decoder()
    events = [event for half in ("a\ud83d", "\ude00b") for event in stream.feed(say(half))]
    assert "".join(event.text for event in events) == "a😀b"
    assert stream.completion.text == "a😀b"


def test_of_several_answers_only_the_first_is_read():
    def of(index, text, finish=None):
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}

    told = sse(of(0, "A"), of(1, "B"), of(1, "B", "stop"), of(0, "a", "stop"))
    assert play("openai", told)[0] == "Aa"
    assert play("openai", sse(of(1, "A"), of(None, "a", "stop")))[0] == "Aa"
    assert play("openai", sse(of(None, "A"), of(1, "B"), of(None, "a", "stop")))[0] == "Aa"
    assert play("openai", sse(of(None, ""), of(1, "A"), of(1, "a", "stop")))[0] == "Aa"


@pytest.mark.parametrize(
    "more",
    [b"id: 7", b": alive", b"event: x", b"retry", b'data: {"choices": []}', b'error: {"message": "gone"}'],
)
def test_what_stands_beside_the_data_of_an_event_is_read_alike_whole_and_cut(more):
    first, second = sse(chunk("one ")), sse(chunk("two"))
    body = first + second[:-1] + more + b"\n\n" + sse(chunk(finish="stop")) + DONE
    text, last = play("openai", body)
    assert (text, last) == play("openai", *(bytes([byte]) for byte in body))
    assert isinstance(last, StreamError if more.startswith(b"error") else Finished)


PLAIN_CHUNKS = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {
                    "delta": st.fixed_dictionaries(
                        {},
                        optional={
                            "content": st.sampled_from(["a", "", "<think>", None, "\ud83d"]),
                            "role": st.sampled_from(["assistant", None, 1]),
                            "tool_calls": st.sampled_from([None, []]),
                        },
                    )
                },
                optional={
                    "index": st.sampled_from([0, 1, None, "0", True]),
                    "finish_reason": st.sampled_from([None, "stop", "LENGTH", "null", "abort", 1]),
                },
            ),
            max_size=2,
        )
    },
    optional={
        "model": st.sampled_from(["gpt-x", "", None]),
        "object": st.sampled_from(["chat.completion.chunk", "error", None]),
        "usage": st.sampled_from([None, {}, {"prompt_tokens": 3, "completion_tokens": 2}, {"x": 1.5}, []]),
        "service_tier": st.sampled_from(["flex", None]),
    },
)


@given(st.lists(PLAIN_CHUNKS, max_size=6), st.booleans())
def test_a_chunk_says_the_same_beside_a_field_that_nobody_knows(chunks, is_done):
    end = DONE if is_done else b""
    text, last = play("openai", sse(*[{**one, "nobody": None} for one in chunks]) + end)
    if isinstance(last, StreamError):
        last.payload.pop("nobody")
    assert (text, last) == play("openai", sse(*chunks) + end)
