"""Answers are whole or they are none, whichever wire and whatever shape (facts A2 to A14 of the field)."""

import json

import pytest

from llmfail.core.classification import classify
from llmfail.core.classification.body import parse
from llmfail.core.classification.outcome import Kind
from llmfail.core.errors import MalformedReply
from llmfail.core.model import Endpoint, Reply, Request
from llmfail.core.request.ask import to_messages
from llmfail.core.request.expectation import Expectation
from llmfail.core.request.thoughts import ThoughtFilter, split_thoughts
from llmfail.engine.planning.codec import completion_codec, result_from_reply
from llmfail.providers import load_wire_format
from llmfail.providers.stream import BrokenStream, Finished, StreamError, TextPiece

APIS = ["openai", "anthropic", "gemini", "vertex"]


def reply_document(api, text, finish):
    """A reply of that wire, whole."""
    if api == "openai":
        message = {"role": "assistant", "content": text}
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3},
        }
    if api == "anthropic":
        usage = {"input_tokens": 5, "output_tokens": 3}
        content = [{"type": "text", "text": text}]
        return {"type": "message", "content": content, "stop_reason": finish, "usage": usage}
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3}}


def stream_documents(api, texts, finish):
    """The events of the same, without an end mark of their own beyond the finish reason."""
    if api == "openai":
        return [
            *({"choices": [{"index": 0, "delta": {"content": one}, "finish_reason": None}]} for one in texts),
            *([{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}] if finish else []),
        ]
    if api == "anthropic":
        return [
            {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5}}},
            *({"type": "content_block_delta", "delta": {"type": "text_delta", "text": one}} for one in texts),
            *([{"type": "message_delta", "delta": {"stop_reason": finish}}] if finish else []),
        ]
    return [reply_document(api, one, None) for one in texts] + (
        [reply_document(api, "", finish)] if finish else []
    )


def sse(*documents):
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents)


DONE = b"data: [DONE]\n\n"


def read(api, document, status=200):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    codec = completion_codec(Request(to_messages("hi"), max_tokens=9), Expectation(nonempty=True))
    endpoint = Endpoint(api, "http://127.0.0.1:1", "m", None)
    return result_from_reply(codec, endpoint, Reply(status, {}, body), 0.0)


def stream(api, body):
    decoder = load_wire_format(api).make_stream_decoder()
    events = [*decoder.feed(body), *decoder.finish()]
    return "".join(one.text for one in events if isinstance(one, TextPiece)), events[-1]


class TestA2GeminiArrays:
    PARTS = ("hel", "lo")

    @pytest.mark.parametrize("api", ["gemini", "vertex"])
    def test_A2_every_element_is_read(self, api):
        chunks = [reply_document(api, "hel", None), reply_document(api, "lo", "STOP")]
        result = read(api, chunks)
        assert (result.outcome.kind, result.answer.text, result.answer.finish_reason) == (
            Kind.OK,
            "hello",
            "stop",
        )

    @pytest.mark.parametrize("api", ["gemini", "vertex"])
    def test_A2_an_error_in_any_element_is_the_outcome(self, api):
        error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
        assert read(api, [reply_document(api, "hel", None), error]).outcome.kind is Kind.OVERLOADED

    @pytest.mark.parametrize("api", ["gemini", "vertex", "anthropic"])
    def test_A2_without_a_finish_reason_it_is_half_an_answer(self, api):
        result = read(api, reply_document(api, "hel", None))
        assert result.outcome.kind is Kind.SERVER_ERROR
        assert result.answer.text == "hel"

    def test_A2_a_list_of_several_replies_is_no_answer_on_the_other_wires(self):
        reply = reply_document("openai", "one", "stop")
        assert read("openai", [reply, reply]).outcome.kind is Kind.MALFORMED
        assert read("openai", [reply]).outcome.kind is Kind.OK


BROKEN = [
    "abort",
    "aborted",
    "cancelled",
    "timeout",
    "engine_error",
    "incomplete",
    "network_error",
    "error",
    "OTHER",
    "MALFORMED_FUNCTION_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "pause_turn",
    "not_finished",
    "a word of tomorrow",
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("reason", BROKEN)
def test_A3_an_end_that_no_list_knows_is_broken(api, reason):
    result = read(api, reply_document(api, "half an ans", reason))
    assert result.outcome.kind is Kind.SERVER_ERROR
    assert reason in result.outcome.note
    _, last = stream(api, sse(*stream_documents(api, ["half", " an"], reason)) + DONE)
    assert isinstance(last, Finished)
    assert classify.classify_completion(last.completion).kind is Kind.SERVER_ERROR


def test_A3_what_an_end_says_of_its_target_counts():
    ends = {
        "insufficient_system_resource": Kind.OVERLOADED,
        "malformed_response": Kind.MALFORMED,
        "pup_limited_disabled": Kind.PERMISSION,
    }
    for reason, kind in ends.items():
        assert read("openai", reply_document("openai", "x", reason)).outcome.kind is kind


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ("stop", ["stop", "STOP", "end", "end_turn", "eos", "stop_sequence", "COMPLETE"]),
        ("length", ["length", "max_tokens", "MAX_TOKENS", "model_context_window_exceeded", "model_length"]),
        ("content_filter", ["content_filter", "content_filtered", "safety", "SAFETY", "recitation"]),
        ("content_filter", ["guardrail_intervened", "sensitive", "IMAGE_SAFETY"]),
        ("tool_calls", ["tool_calls", "tool_use", "function_call", "TOOL_CALL"]),
    ],
)
def test_A4_a_finish_reason_means_the_same_on_every_wire_in_every_case(api, finish, words):
    for word in words:
        assert read(api, reply_document(api, "text", word)).answer.finish_reason == finish


FOREIGN = [
    {"code": 500, "msg": "inference error", "success": False},
    {"detail": "Internal Server Error"},
    {"message": "Engine loop is dead", "code": 500},
    {"errors": [{"message": "boom"}]},
    {"status": "error", "error_message": "x"},
    {"fault": {"faultstring": "Gateway"}},
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_A5_an_event_of_a_foreign_shape_before_the_end_is_an_error(api, foreign):
    text, last = stream(api, sse(*stream_documents(api, ["hel", "lo"], None), foreign) + DONE)
    assert (text, type(last)) == ("hello", StreamError)
    outcome = classify.classify_reply(Reply(200, {}, b""), last.payload, 0.0)
    assert outcome.kind not in {None, Kind.OK}


@pytest.mark.parametrize(
    "harmless",
    [
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"},
        {"choices": [], "prompt_filter_results": []},
        {"usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {},
    ],
)
def test_A5_a_chunk_that_says_nothing_is_none(harmless):
    text, last = stream("openai", sse(harmless, *stream_documents("openai", ["hello"], "stop")) + DONE)
    assert (text, type(last)) == ("hello", Finished)


def test_A6_done_ends_an_openai_stream_also_without_a_finish_reason():
    _, last = stream("openai", sse(*stream_documents("openai", ["hel", "lo"], None)) + DONE)
    assert isinstance(last, Finished)
    assert (last.completion.text, last.completion.finish_reason) == ("hello", "other")
    assert classify.classify_completion(last.completion).kind is Kind.OK


@pytest.mark.parametrize("api", ["anthropic", "gemini", "vertex"])
@pytest.mark.parametrize("end", [DONE, b"", sse({"type": "message_stop"})])
def test_A6_the_other_wires_always_name_their_end(api, end):
    _, last = stream(api, sse(*stream_documents(api, ["hel", "lo"], None)) + end)
    assert isinstance(last, BrokenStream | StreamError)


@pytest.mark.parametrize("api", APIS)
def test_A7_a_decoder_knows_that_the_answer_is_whole_before_its_end_mark(api):
    decoder = load_wire_format(api).make_stream_decoder()
    reason = "STOP" if api in {"gemini", "vertex"} else "stop"
    decoder.feed(sse(*stream_documents(api, ["hello"], None)))
    assert not decoder.is_complete
    decoder.feed(sse(stream_documents(api, [], reason)[-1]))
    assert decoder.is_complete
    assert decoder.completion.text == "hello"


@pytest.mark.parametrize("api", APIS)
def test_A8_a_body_of_events_is_read_as_events(api):
    result = read(api, sse(*stream_documents(api, ["hel", "lo"], "stop")) + DONE)
    assert (result.outcome.kind, result.answer.text) == (Kind.OK, "hello")
    cut = read(api, sse(*stream_documents(api, ["hel", "lo"], None)))
    assert cut.outcome.kind is Kind.MALFORMED


@pytest.mark.parametrize("api", ["openai"])
def test_A8_an_answer_in_one_piece_is_asked_for_in_so_many_words(api):
    call = load_wire_format(api).encode(
        Request(to_messages("hi"), max_tokens=9), Endpoint(api, "http://x", "m", None)
    )
    assert json.loads(call.body)["stream"] is False


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "alive", [b"data:\n\n", b"data: \n\n", b": ping\n\n", b"data: ping\n\n", b"data: : OPENROUTER\n\n"]
)
def test_A9_a_keep_alive_is_no_event_whatever_form_it_has(api, alive):
    first, *rest = stream_documents(api, ["hel", "lo"], "stop")
    text, last = stream(api, sse(first) + alive + sse(*rest) + DONE)
    assert (text, type(last)) == ("hello", Finished)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r", b"\r\n"])
def test_A9_events_may_be_divided_by_less_than_a_blank_line(api, end):
    lines = [b"data: " + json.dumps(one).encode() for one in stream_documents(api, ["hel", "lo"], "stop")]
    body = end.join([*lines, b""])
    for size in (len(body), 1, 7):
        decoder = load_wire_format(api).make_stream_decoder()
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()
        assert "".join(one.text for one in events if isinstance(one, TextPiece)) == "hello"
        assert isinstance(events[-1], Finished)


@pytest.mark.parametrize(
    "error", [{"message": "", "type": "", "param": "", "code": None}, {}, {"code": 0, "message": " "}, ""]
)
def test_A10_an_error_that_says_nothing_beside_an_answer_is_none(error):
    document = {**reply_document("openai", "hello", "stop"), "error": error}
    assert read("openai", document).outcome.kind is Kind.OK
    assert read("openai", {"error": error or {"message": ""}}, 500).outcome.kind is Kind.SERVER_ERROR


def test_A10_an_error_that_says_something_is_one():
    document = {**reply_document("openai", "hello", "stop"), "error": {"message": "boom"}}
    assert read("openai", document).outcome.kind is not Kind.OK


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "content",
    [
        "hello",
        {"type": "text", "text": "hello"},
        [{"type": "output_text", "text": "hello"}],
        [{"text": "hello"}],
        ["hel", {"type": "text", "text": "lo"}],
        [{"type": "thinking", "thinking": "hm", "text": "no"}, {"type": "text", "text": "hello"}],
    ],
)
def test_A12_text_is_read_in_every_shape(api, content):
    document = reply_document(api, "", "stop")
    if api == "openai":
        document["choices"][0]["message"]["content"] = content
    elif isinstance(content, dict):
        pytest.skip("no server of this wire is known to send a single block")
    else:
        document["content"] = content
    assert read(api, document).answer.text == "hello"


def test_A12_a_stream_may_carry_messages_instead_of_deltas():
    whole = reply_document("openai", "hello", "stop")
    text, last = stream("openai", sse(whole) + DONE)
    assert (text, type(last)) == ("hello", Finished)


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>\nhmm\n</think>\n\nhello", "hmm", "hello"),
        ("  <think>a</think>b", "a", "b"),
        ("<think>a</think>\n<think>b</think>\nanswer", "a\nb", "answer"),
        ("<think>a</think> < b", "a", "< b"),
        ("<think>\nhmm", "hmm", ""),
        ("hello <think>no</think>", "", "hello <think>no</think>"),
        ("<thin air>", "", "<thin air>"),
        ("<", "", "<"),
        ("", "", ""),
    ],
)
def test_A13_leading_thoughts_are_no_part_of_the_answer(text, thoughts, answer):
    assert split_thoughts(text) == (thoughts, answer)
    for size in (1, 3, 100):
        kept = ThoughtFilter()
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert "".join(map(kept.feed, pieces)) + kept.flush() == answer


@pytest.mark.parametrize("api", APIS)
def test_A13_thoughts_alone_are_no_answer(api):
    result = read(api, reply_document(api, "<think>\nhmm", "length"))
    assert result.outcome.kind is Kind.REJECTED_ANSWER
    assert result.answer.thoughts == "hmm"
    text, last = stream(
        api, sse(*stream_documents(api, ["<thi", "nk>a</th", "ink>\n", "hello"], "stop")) + DONE
    )
    assert (text, last.completion.text, last.completion.thoughts) == ("hello", "hello", "a")


@pytest.mark.parametrize("api", APIS)
def test_A14_an_error_field_says_why(api):
    error = b'error: {"detail":"...","error":{"message":"failed to decode, try increasing context size"}}\n\n'
    _, last = stream(api, sse(*stream_documents(api, ["hel"], None)) + error)
    assert isinstance(last, StreamError)
    outcome = classify.classify_reply(Reply(200, {}, b""), last.payload, 0.0)
    assert "failed to decode" in outcome.note


def test_ruins_of_an_event_still_break_the_stream():
    _, last = stream("openai", sse(*stream_documents("openai", ["hel"], None)) + b'data: {"choi\n\n' + DONE)
    assert isinstance(last, BrokenStream)
    assert isinstance(last.error, MalformedReply)
    assert parse(b"") is not None


@pytest.mark.parametrize("said", ["null", "none", "FINISH_REASON_UNSPECIFIED"])
def test_a_word_for_no_finish_reason_is_none(said):
    text, last = stream(
        "openai",
        sse(
            {"choices": [{"index": 0, "delta": {"content": "One "}, "finish_reason": said}]},
            *stream_documents("openai", ["two"], "stop"),
        )
        + DONE,
    )
    assert (text, last.completion.finish_reason) == ("One two", "stop")
    assert read("gemini", reply_document("gemini", "hel", said)).outcome.kind is Kind.SERVER_ERROR


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("line", [b"error: boom", b"error: 5", b"error: [1]", b"error: {}"])
def test_an_error_line_of_any_shape_is_an_error_and_an_empty_one_is_none(api, line):
    documents = stream_documents(api, ["hel"], None)
    _, last = stream(api, sse(*documents) + line + b"\n\n")
    assert classify.classify_reply(Reply(200, {}, b""), last.payload, 0.0).kind is not Kind.OK
    assert read(api, sse(*documents) + line + b"\n\n").outcome.kind is not Kind.OK
    whole = sse(*stream_documents(api, ["hello"], "stop")) + b"error:\n\n" + DONE
    assert stream(api, whole)[0] == "hello"


@pytest.mark.parametrize("depth", [5, 400, 600, 900])
def test_nothing_that_is_nested_deep_breaks_the_decoder(depth):
    nested = "[" * depth + "]" * depth
    read("openai", f'{{"choices":[{{}}],"error":{nested}}}'.encode())
    read("openai", f'{{"choices":[{{"message":{{"content":{nested}}}}}]}}'.encode())
    read("openai", b'{"error":' * depth + b'"x"' + b"}" * depth, 400)


def test_a_blocked_prompt_stays_blocked_whatever_follows():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    _, last = stream("gemini", sse(blocked, {"usageMetadata": {"promptTokenCount": 5}}))
    assert last.completion.finish_reason == "content_filter"


@pytest.mark.parametrize("api", APIS)
def test_plain_json_behind_a_byte_order_mark_is_read(api):
    body = b"\xef\xbb\xbf" + json.dumps(reply_document(api, "hello", "stop")).encode()
    assert stream(api, body)[0] == "hello"
