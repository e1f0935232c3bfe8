"""Recorded replies of real providers: text, tokens and end are those of the recorded body, however it is cut.

The recordings lie beside the checkout, where they are kept; elsewhere there is nothing to read.
"""

import base64
import json
import random
import struct
from itertools import pairwise
from pathlib import Path

import pytest

from llmfail.core.classification.body import NotJson, parse
from llmfail.core.classification.finish_reason import read_finish_reason
from llmfail.core.classification.outcome import Kind
from llmfail.core.model import Endpoint, Reply, Request
from llmfail.core.request.ask import to_messages
from llmfail.core.request.expectation import Expectation
from llmfail.core.request.thoughts import split_thoughts
from llmfail.engine.planning.codec import completion_codec, embedding_codec, result_from_reply
from llmfail.providers import load_wire_format
from llmfail.providers.stream import BrokenStream, Finished, StreamError, TextPiece

FILE = Path(__file__).parents[3] / "shared" / "recorded" / "replies.jsonl"
CHATS = ("openai", "anthropic", "gemini")
EMBEDDINGS = ("embed-openai", "embed-gemini", "embed-vertex")


def load():
    if not FILE.exists():
        return []
    with FILE.open() as lines:
        found = [json.loads(line) for line in lines]
    return [one | {"bytes": base64.b64decode(one["body"])} for one in found]


def choose(*, stream, healthy=True, kinds=CHATS):
    return [
        one
        for one in load()
        if one["kind"] in kinds and one["stream"] is stream and (one["status"] == 200) is healthy
    ]


def select(**wanted):
    return [
        pytest.param(one, id=f"{number}-{one['kind']}-{one['model']}")
        for number, one in enumerate(choose(**wanted))
    ] or [pytest.param(None, marks=pytest.mark.skip(reason="the recordings are not here"))]


NUMBERS = {1: "STOP", 2: "MAX_TOKENS"}


def is_answer(payload):
    return isinstance(payload, list) or bool({"choices", "candidates", "content"} & set(payload))


def documents(body):
    if body.lstrip()[:1] in {b"[", b"{"}:
        yield from found if isinstance(found := json.loads(body), list) else [found]
        return
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:") and line[5:].strip() not in {b"", b"[DONE]"}:
            yield json.loads(line[5:])


def openai_facts(events, key):
    text, finish, usage = "", "", {}
    for event in events:
        for choice in event.get("choices") or []:
            if choice.get("index", 0) == 0:
                text += flat((choice.get(key) or {}).get("content"))
                finish = choice.get("finish_reason") or finish
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage") or usage
    return text, finish, usage.get("prompt_tokens"), usage.get("completion_tokens")


def flat(content):
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
    return content or ""


def anthropic_facts(events):
    text, finish, usage = "", "", {}
    for event in events:
        message = event.get("message") or (event if event.get("type") == "message" else {})
        text += "".join(one.get("text") or "" for one in message.get("content") or [])
        delta = event.get("delta") or {}
        text += delta.get("text") or "" if event.get("type") == "content_block_delta" else ""
        finish = delta.get("stop_reason") or message.get("stop_reason") or finish
        usage |= {
            k: v for k, v in (message.get("usage") or event.get("usage") or {}).items() if v is not None
        }
    read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return text, finish, sum(usage.get(name) or 0 for name in read), usage.get("output_tokens")


def gemini_facts(events):
    text, finish, usage = "", "", {}
    for event in events:
        for candidate in (event.get("candidates") or [])[:1]:
            parts = (candidate.get("content") or {}).get("parts") or []
            text += "".join(part.get("text") or "" for part in parts if not part.get("thought"))
            reason = candidate.get("finishReason")
            finish = NUMBERS.get(reason, reason) or finish
        usage = event.get("usageMetadata") or usage
    said, thought = usage.get("candidatesTokenCount") or 0, usage.get("thoughtsTokenCount") or 0
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    return text, finish, prompt, said + thought


def facts(kind, events, *, stream):
    if kind == "openai":
        return openai_facts(events, "delta" if stream else "message")
    return (anthropic_facts if kind == "anthropic" else gemini_facts)(events)


CHAT_CODEC = completion_codec(Request(to_messages("hi"), max_tokens=9), Expectation())


def read_whole(recorded, codec=CHAT_CODEC):
    api = recorded["kind"].removeprefix("embed-")
    endpoint = Endpoint(api, "http://127.0.0.1:1", recorded["model"] or "m", None)
    headers = {name.lower(): value for name, value in recorded["headers"]}
    reply = Reply(recorded["status"], headers, recorded["bytes"])
    return result_from_reply(codec, endpoint, reply, 1_790_000_000.0)


@pytest.mark.parametrize("recorded", select(stream=False))
def test_a_whole_reply_says_what_was_recorded(recorded):
    payload = parse(recorded["bytes"])
    if isinstance(payload, NotJson) or not is_answer(payload):
        assert read_whole(recorded).outcome.kind is not Kind.OK
        return
    text, finish, prompt, output = facts(
        recorded["kind"], payload if isinstance(payload, list) else [payload], stream=False
    )
    answer = read_whole(recorded).answer
    assert answer is not None
    assert answer.text == split_thoughts(text)[1].encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )
    assert_end(answer, finish)
    assert_counts(answer.usage, prompt, output)


def assert_end(answer, finish):
    """Gemini ends with the same word whether or not it calls tools."""
    called = {"tool_calls"} if answer.tool_calls else set()
    assert answer.finish_reason in {read_finish_reason(finish), "refusal"} | called


def assert_counts(usage, prompt, output):
    if usage is not None and not usage.estimated:
        assert usage.input_tokens == prompt
        assert usage.output_tokens in {output, output + usage.reasoning_tokens}  # xAI counts them apart


@pytest.mark.parametrize("recorded", select(stream=True))
def test_a_stream_says_what_was_recorded_however_it_is_cut(recorded):
    body = recorded["bytes"]
    text, finish, prompt, output = facts(recorded["kind"], list(documents(body)), stream=True)
    draw = random.Random(recorded["index"])
    for cuts in ([], sorted(draw.randrange(len(body)) for _ in range(9)), range(1, min(len(body), 3000))):
        decoder = load_wire_format(recorded["kind"]).make_stream_decoder()
        places = [0, *cuts, len(body)]
        events = [event for a, b in pairwise(places) for event in decoder.feed(body[a:b])]
        events += decoder.finish()
        last = events[-1]
        shown = "".join(one.text for one in events if isinstance(one, TextPiece))
        if isinstance(last, Finished):
            assert shown == last.completion.text
            assert shown == split_thoughts(text)[1]
            assert_end(last.completion, finish)
            assert_counts(last.completion.usage, prompt, output)
        else:
            assert isinstance(last, StreamError | BrokenStream)
            assert text.startswith(shown)


def vector_of(row):
    found = row.get("embedding") or row["values"]
    if isinstance(found, str):
        return tuple(number for (number,) in struct.iter_unpack("<f", base64.b64decode(found)))
    return tuple(found)


@pytest.mark.parametrize("recorded", select(stream=False, kinds=EMBEDDINGS))
def test_vectors_are_those_that_were_recorded(recorded):
    payload = json.loads(recorded["bytes"])
    rows = payload.get("data") or payload["embeddings"]
    result = read_whole(recorded, embedding_codec(("text",) * len(rows)))
    if "perplexity" in recorded["url"]:  # base64 of single bytes, which a call of ours does not ask for
        assert result.outcome.kind is Kind.MALFORMED
        return
    assert result.outcome.kind is Kind.OK
    assert result.answer.vectors == tuple(map(vector_of, rows))
    usage = payload.get("usage") or payload.get("usageMetadata")
    if usage is None:
        assert result.answer.usage.estimated
        return
    names = ("prompt_tokens", "promptTokenCount", "total_tokens")
    assert result.answer.usage.input_tokens == next(usage[name] for name in names if name in usage)
    assert not result.answer.usage.estimated


def test_h5_every_recorded_reply_is_read():
    """Each is in one of the groups below, so that none is forgotten."""
    recorded = load()
    groups = [
        one
        for kinds in (CHATS, EMBEDDINGS)
        for stream in (False, True)
        for healthy in (False, True)
        for one in choose(stream=stream, healthy=healthy, kinds=kinds)
    ]
    assert len(groups) == len(recorded)


@pytest.mark.parametrize(
    "recorded",
    select(stream=False, healthy=False)
    + select(stream=True, healthy=False)
    + select(stream=False, healthy=False, kinds=EMBEDDINGS),
)
def test_an_error_reply_is_never_an_answer(recorded):
    result = read_whole(recorded)
    assert result.answer is None
    assert result.outcome.kind is not Kind.OK
    assert result.outcome.note
