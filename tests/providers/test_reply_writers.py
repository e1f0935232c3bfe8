"""What is written for programs in each dialect, as the decoders of its wire read it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmfail.core.answer_piece import AnswerBegun, CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.classification.body import parse
from llmfail.core.conversation import Signature, Text, Thought, ToolCall, join_text, sign_part
from llmfail.core.model import Target, Usage
from llmfail.core.receipt import Failure, Receipt, TrailEntry
from llmfail.providers import load_wire_format
from llmfail.providers.replies.answer_blocks import list_pieces
from llmfail.providers.replies.reply_writer import AskedReply, make_reply_writer
from llmfail.providers.stream import Finished, StreamError

DIALECTS = {
    "chat": (load_wire_format("openai"), "nobody"),
    "responses": (load_wire_format("openai", "responses"), "openai"),
    "anthropic": (load_wire_format("anthropic"), "anthropic"),
    "gemini": (load_wire_format("gemini"), "google"),
}
"""The wire of each, and whose signatures stand in it as they are."""
TARGET = Target("there", "model-of-there")
USAGE = Usage(
    input_tokens=10, cached_input_tokens=4, cache_write_tokens=1, output_tokens=7, reasoning_tokens=2
)
CALL_SIGNATURE = Signature("google", "Q0FMTA==")


def asked(dialect, **more):
    return AskedReply(
        dialect, "asked", "01H", 1_700_000_000, **{"stream": True, "include_usage": True, **more}
    )


def receipt_of(*parts, finish=None, **more):
    calls = any(isinstance(part, ToolCall) for part in parts)
    said = {"answer": join_text(parts), "parts": parts, "usage": USAGE, "cost_pico_usd": 212_000_000}
    finish = finish or ("tool_calls" if calls else "stop")
    told = {"source": "model", "target": TARGET, "response_model": "served", "finish_reason": finish}
    return Receipt("01H", "chat", **{**said, **told, **more})


def begun(usage=None):
    return AnswerBegun(TARGET, "served", is_relayed=False, usage=usage)


def write_stream(dialect, pieces, receipt, **more):
    writer = make_reply_writer(asked(dialect, **more))
    return b"".join((writer.begin(begun()), *map(writer.write_piece, pieces), writer.finish(receipt)))


def read_stream(dialect, data):
    decoder = DIALECTS[dialect][0].make_stream_decoder()
    events = [*decoder.feed(data), *decoder.finish()]
    assert isinstance(events[-1], Finished), events
    return events[-1].completion


def read_whole(dialect, receipt):
    writer = make_reply_writer(asked(dialect))
    return DIALECTS[dialect][0].decode(parse(writer.write_whole(receipt)))


def thoughts_of(parts, vendor):
    signed = (sign_part(part, vendor) for part in parts if isinstance(part, Thought))
    return [(part.text, part.signature) for part in signed]


def calls_of(parts, vendor):
    signed = (sign_part(part, vendor) for part in parts if isinstance(part, ToolCall))
    return [(part.id, part.name, json.loads(part.arguments), part.signature) for part in signed]


def require_same(dialect, completion, parts):
    vendor = DIALECTS[dialect][1]
    read = completion.parts or (Text(completion.text),)
    assert join_text(read) == join_text(parts)
    assert thoughts_of(read, vendor) == thoughts_of(parts, vendor)
    assert calls_of(read, vendor) == calls_of(parts, vendor)
    assert completion.model == "served"
    told = completion.usage
    assert (told.input_tokens, told.output_tokens, told.cached_input_tokens) == (10, 7, 4)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
SEALS = st.text("abcdefXYZ0123", min_size=4, max_size=16).map(lambda text: text[: len(text) // 4 * 4])
FOREIGN = st.builds(Signature, st.sampled_from(["deepseek", "x.example", "vertex"]), WORDS)
OWN = st.builds(Signature, st.sampled_from(["anthropic", "google"]), SEALS)
CALLS = st.builds(
    lambda name, value, signature: ToolCall("", name, json.dumps({"a": value}), signature),
    st.text("abc_", min_size=1, max_size=5),
    st.integers() | WORDS,
    st.none() | st.builds(Signature, st.sampled_from(["google", "vertex"]), SEALS),
)
THOUGHTS = st.builds(Thought, WORDS, FOREIGN | OWN)
HIDDEN = SEALS.map(lambda seal: Thought("", Signature("anthropic", f"redacted_thinking:{seal}")))


def openai_thought(text):
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}]}
    said = json.dumps({**item, "encrypted_content": "sealed"}, separators=(",", ":"))
    return Thought(text, Signature("openai", said))


PARTS = st.lists(
    WORDS.map(Text) | THOUGHTS | HIDDEN | WORDS.map(openai_thought) | CALLS, min_size=1, max_size=6
).map(lambda parts: tuple(_with_id(index, part) for index, part in enumerate(parts)))


def _with_id(index, part):
    return replace(part, id=f"call_{index}") if isinstance(part, ToolCall) else part


def cut(piece, data):
    """The piece in two, as providers may send it."""
    if isinstance(piece, TextPiece | CallArguments) or (isinstance(piece, ThoughtPiece) and piece.text):
        place = data.draw(st.integers(0, len(piece.text)))
        return [replace(piece, text=piece.text[:place]), replace(piece, text=piece.text[place:])]
    return [piece]


@pytest.mark.parametrize("dialect", DIALECTS)
@given(parts=PARTS, data=st.data())
def test_an_answer_is_read_as_it_was_written_whole_in_pieces_and_at_the_end_alone(dialect, parts, data):
    receipt = receipt_of(*parts)
    pieces = [one for piece in list_pieces(parts) for one in cut(piece, data)]
    for shown in (pieces, []):
        completion = read_stream(dialect, write_stream(dialect, shown, receipt))
        require_same(dialect, completion, parts)
        assert completion.finish_reason == receipt.finish_reason
    require_same(dialect, read_whole(dialect, receipt), parts)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_not_shown_yet_follows_at_the_end(dialect):
    parts = (Text("Hello"), ToolCall("call_1", "f", '{"a":1}'), ToolCall("call_2", "g", "{}"))
    pieces = [TextPiece("Hel"), CallBegun(0, "call_1", "f")]
    completion = read_stream(dialect, write_stream(dialect, pieces, receipt_of(*parts)))
    require_same(dialect, completion, parts)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_calls_that_a_provider_writes_at_once_keep_their_arguments_apart(dialect):
    parts = (ToolCall("call_1", "f", '{"a":1}'), ToolCall("call_2", "g", '{"b":2}'))
    pieces = [
        *(CallBegun(0, "call_1", "f"), CallArguments(0, '{"a"'), CallBegun(1, "call_2", "g")),
        *(CallArguments(1, '{"b":2}'), CallArguments(0, ":1}")),
    ]
    completion = read_stream(dialect, write_stream(dialect, pieces, receipt_of(*parts)))
    require_same(dialect, completion, parts)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_that_no_model_gave_is_written_too(dialect):
    receipt = receipt_of(
        Text("Later."), source="template", target=None, response_model=None, usage=None, parts=()
    )
    for completion in (
        read_stream(dialect, write_stream(dialect, [], receipt)),
        read_whole(dialect, receipt),
    ):
        assert completion.text == "Later."
    late = make_reply_writer(asked(dialect)).finish(receipt)
    assert read_stream(dialect, late).model == "asked"


def test_thoughts_within_the_text_are_shown_as_thoughts():
    receipt = receipt_of(Text("So."), parts=(), thoughts="hm")
    assert (
        json.loads(make_reply_writer(asked("anthropic")).write_whole(receipt))["content"][0]["thinking"]
        == "hm"
    )


FINISH = {
    "chat": {"stop": "stop", "length": "length", "content_filter": "content_filter", "other": "stop"},
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"},
    "gemini": {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"},
}


@pytest.mark.parametrize(
    ("dialect", "finish", "word"),
    [(dialect, finish, word) for dialect, words in FINISH.items() for finish, word in words.items()],
)
def test_the_end_is_told_in_the_words_of_the_dialect(dialect, finish, word):
    written = make_reply_writer(asked(dialect)).write_whole(receipt_of(Text("a"), finish=finish)).decode()
    assert f'"{word}"' in written


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("stop", "completed", None),
    ],
)
def test_a_cut_response_is_incomplete(finish, status, reason):
    receipt = receipt_of(Text("a"), finish=finish)
    whole = json.loads(make_reply_writer(asked("responses")).write_whole(receipt))
    assert (whole["status"], (whole["incomplete_details"] or {}).get("reason")) == (status, reason)
    *_, last = events_of(write_stream("responses", [], receipt))
    assert (last["type"], last["response"]["status"]) == (f"response.{status}", status)


def events_of(data):
    return [
        json.loads(line.removeprefix("data: "))
        for line in data.decode().splitlines()
        if line.startswith("data: ") and line != "data: [DONE]"
    ]


EVERYTHING = (
    Thought("hm", Signature("google", "SIG=")),
    Text("Hello"),
    ToolCall("call_a", "mail__send", '{"to":1}', CALL_SIGNATURE),
    ToolCall("call_b", "g", "{}"),
)


def test_the_events_of_a_response_are_complete_and_in_order():
    data = write_stream(
        "responses",
        list_pieces(EVERYTHING),
        receipt_of(*EVERYTHING),
        tool_names={"mail__send": ("mail", "send")},
    )
    events = events_of(data)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    names = [
        line.removeprefix("event: ") for line in data.decode().splitlines() if line.startswith("event: ")
    ]
    assert names == [event["type"] for event in events]
    kinds = [event["type"].removeprefix("response.") for event in events]
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done"]
    summary = "reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done"
    assert kinds == [
        *("created", "in_progress", "output_item.added", *summary.split(), "reasoning_summary_part.done"),
        *("output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", *call, "output_item.done"),
        *(*call, "output_item.done", "completed"),
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done
    assert [item.get("namespace") for item in done] == [None, None, "mail", None]
    assert done[2]["name"] == "send"


def test_the_blocks_of_a_message_have_names_and_indices_without_gaps():
    data = write_stream("anthropic", list_pieces(EVERYTHING), receipt_of(*EVERYTHING))
    names = [
        line.removeprefix("event: ") for line in data.decode().splitlines() if line.startswith("event: ")
    ]
    events = events_of(data)
    assert names == [event["type"] for event in events]
    begun = [event["index"] for event in events if event["type"] == "content_block_start"]
    ended = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert begun == ended == list(range(5))
    assert not any(
        "text" in event.get("content_block", {}) and event["content_block"]["text"] for event in events
    )
    assert events[-2]["usage"]["cost_usd"] == "0.000212"


def test_the_first_chunk_has_the_role_and_each_call_its_index():
    events = events_of(write_stream("chat", list_pieces(EVERYTHING), receipt_of(*EVERYTHING)))
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    assert deltas[0]["role"] == "assistant"
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 0, 1, 1]
    assert [call["id"].partition("~")[0] for call in calls if "id" in call] == ["call_a", "call_b"]
    assert events[-1]["usage"]["total_tokens"] == 17
    assert "usage" not in events_of(write_stream("chat", [], receipt_of(Text("a")), include_usage=False))[-1]


def test_what_the_input_costs_stands_in_the_start_of_a_message_as_far_as_it_is_known():
    for usage, guess, told in ((USAGE, 0, 5), (None, 77, 77)):
        start = make_reply_writer(asked("anthropic", input_tokens=guess)).begin(begun(usage))
        assert events_of(start)[0]["message"]["usage"]["input_tokens"] == told


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_broken_answer_ends_with_an_error_and_cleanly_only_where_that_is_an_end(dialect):
    failed = receipt_of(
        answer=None,
        parts=(),
        error=Failure(8, "incomplete", "there/model: the answer broke off"),
        partial="Hel",
    )
    writer = make_reply_writer(asked(dialect))
    data = writer.begin(begun()) + writer.write_piece(TextPiece("Hel"))
    frame, is_clean = writer.break_off(failed)
    decoder = DIALECTS[dialect][0].make_stream_decoder()
    events = [*decoder.feed(data + frame), *decoder.finish()]
    assert isinstance(events[-1], StreamError), events
    assert "the answer broke off" in json.dumps(events[-1].payload)
    assert is_clean is (dialect == "responses")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_that_never_began_ends_with_its_own_error(dialect):
    """Behind keep-alives, when the status is long gone."""
    note = "maximum context length is 8192 tokens, however you requested 9000 tokens"
    entry = TrailEntry(TARGET, "called", "context_overflow", status=400, note=note)
    failed = receipt_of(answer=None, parts=(), error=Failure(5, "too_large", "x"), trail=(entry,))
    writer = make_reply_writer(asked(dialect))
    frame, _ = writer.break_off(failed)
    decoder = DIALECTS[dialect][0].make_stream_decoder()
    events = [*decoder.feed(writer.keep_alive + frame), *decoder.finish()]
    said = json.dumps(events[-1].payload)
    assert ("8192" in said, "9000" in said) == (True, True)
    if dialect == "responses":
        kinds = [event["type"] for event in events_of(frame)]
        assert kinds == ["response.created", "response.in_progress", "response.failed"]
        assert events_of(frame)[-1]["response"]["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_relayed_answer_that_breaks_off_gets_the_error_alone(dialect):
    writer = make_reply_writer(asked(dialect))
    assert writer.begin(AnswerBegun(TARGET, "served", is_relayed=True)) == b""
    frame, _ = writer.break_off(
        receipt_of(answer=None, parts=(), error=Failure(8, "incomplete", "broke off"))
    )
    assert frame.count(b"data: ") == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_signs_of_life_are_no_part_of_an_answer(dialect):
    writer = make_reply_writer(asked(dialect))
    receipt = receipt_of(Text("Hello"))
    alive = writer.keep_alive
    data = [alive, writer.begin(begun()), alive, writer.write_piece(TextPiece("Hel")), alive]
    assert read_stream(dialect, b"".join((*data, writer.finish(receipt)))).text == "Hello"
    assert dialect != "gemini" or not alive.strip()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_ids_that_a_dialect_would_not_take_are_replaced_alike_everywhere(dialect):
    parts = (ToolCall("functions.f:0 ü", "f", "{}"), ToolCall("", "g", "{}"))
    first, second = read_whole(dialect, receipt_of(*parts)).tool_calls
    assert first.id != second.id
    assert first.id.isascii()
    streamed = read_stream(dialect, write_stream(dialect, list_pieces(parts), receipt_of(*parts)))
    assert [call.id for call in streamed.tool_calls] == [first.id, second.id]
