"""Recorded replies of real providers: text, tokens and end are those of the recorded body, however it is cut.

The recordings lie beside the checkout, where they are kept; elsewhere there is nothing to read.
"""

import base64
import json
import random
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
from llmfail.engine.planning.codec import completion_codec, result_from_reply
from llmfail.providers import load_wire_format
from llmfail.providers.stream import BrokenStream, Finished, StreamError, TextDelta

FILE = Path(__file__).parents[3] / "shared" / "recorded" / "replies.jsonl"
CHATS = ("openai", "anthropic", "gemini")


def load():
    if not FILE.exists():
        return []
    with FILE.open() as lines:
        found = [json.loads(line) for line in lines]
    return [one | {"bytes": base64.b64decode(one["body"])} for one in found]


def select(*, stream, healthy=True):
    chosen = [
        one
        for one in load()
        if one["kind"] in CHATS and one["stream"] is stream and (one["status"] == 200) is healthy
    ]
    return [
        pytest.param(one, id=f"{number}-{one['kind']}-{one['model']}") for number, one in enumerate(chosen)
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
        usage = event.get("usage") or usage
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


def read_whole(recorded):
    codec = completion_codec(Request(to_messages("hi"), max_tokens=9), Expectation())
    endpoint = Endpoint(recorded["kind"], "http://127.0.0.1:1", recorded["model"] or "m", None)
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
    assert answer.finish_reason in {read_finish_reason(finish), "refusal"}
    if answer.usage is not None:
        thoughts = answer.usage.reasoning_tokens
        assert answer.usage.input_tokens == prompt
        assert answer.usage.output_tokens in {output, output + thoughts}  # xAI counts them apart


@pytest.mark.parametrize("recorded", select(stream=True))
def test_a_stream_says_what_was_recorded_however_it_is_cut(recorded):
    body = recorded["bytes"]
    text, finish, _, _ = facts(recorded["kind"], list(documents(body)), stream=True)
    draw = random.Random(recorded["index"])
    for cuts in ([], sorted(draw.randrange(len(body)) for _ in range(9)), range(1, min(len(body), 3000))):
        decoder = load_wire_format(recorded["kind"]).make_stream_decoder()
        places = [0, *cuts, len(body)]
        events = [event for a, b in pairwise(places) for event in decoder.feed(body[a:b])]
        events += decoder.finish()
        last = events[-1]
        shown = "".join(one.text for one in events if isinstance(one, TextDelta))
        if isinstance(last, Finished):
            assert shown == last.completion.text
            assert shown == split_thoughts(text)[1]
            assert last.completion.finish_reason in {read_finish_reason(finish), "refusal"}
        else:
            assert isinstance(last, StreamError | BrokenStream)
            assert text.startswith(shown)


@pytest.mark.parametrize("recorded", select(stream=False, healthy=False) + select(stream=True, healthy=False))
def test_an_error_reply_is_never_an_answer(recorded):
    result = read_whole(recorded)
    assert result.answer is None
    assert result.outcome.kind is not Kind.OK
    assert result.outcome.note
