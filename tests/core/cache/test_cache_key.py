"""Whatever shapes an answer is part of its identity; what does not is none."""

import pytest
from msgspec.structs import replace

from llmfail.core.cache import cache_key as fingerprints
from llmfail.core.conversation import (
    Attachment,
    GenerationOptions,
    Message,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmfail.core.model import Endpoint, Request, Secret

IMAGE = Attachment("cat.png", "image/png", b"cat")


def fingerprint(request, endpoint):
    return fingerprints.fingerprint(fingerprints.digest_of(request), endpoint)


SAID = Message("user", (IMAGE, Text("hello")))
REQUEST = Request(
    (Message("user", "first"), Message("assistant", "second"), SAID),
    system="be brief",
    max_tokens=100,
    temperature=0.5,
    stop=("END",),
    schema={"type": "object", "properties": {"a": {}, "b": {}}},
)
ENDPOINT = Endpoint("openai", "https://a.example/v1", "one", Secret("key-0123456789"), "v1", "p", "eu")


def said(message):
    return replace(REQUEST, messages=(*REQUEST.messages[:2], message))


def with_image(**changes):
    return said(replace(SAID, content=(replace(IMAGE, **changes), Text("hello"))))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(REQUEST, system="be long"), id="system"),
        pytest.param(replace(REQUEST, max_tokens=101), id="max_tokens"),
        pytest.param(replace(REQUEST, temperature=0.6), id="temperature"),
        pytest.param(replace(REQUEST, temperature=None), id="no temperature"),
        pytest.param(replace(REQUEST, stop=()), id="stop"),
        pytest.param(replace(REQUEST, schema=None), id="no schema"),
        pytest.param(replace(REQUEST, schema={"type": "object"}), id="schema"),
        pytest.param(replace(REQUEST, schema_name="other"), id="name of a schema"),
        pytest.param(replace(REQUEST, schema_strict=True), id="strictness of a schema"),
        pytest.param(replace(REQUEST, json=True), id="any JSON"),
        pytest.param(replace(REQUEST, tools=(Tool("f"),)), id="a tool"),
        pytest.param(replace(REQUEST, tool_choice=ToolChoice("none")), id="choice of tools"),
        pytest.param(replace(REQUEST, parallel_tools=False), id="one tool at a time"),
        pytest.param(replace(REQUEST, options=GenerationOptions(effort="low")), id="an option"),
        pytest.param(replace(REQUEST, marks={"chat": {"n": 1}}), id="a field of one dialect"),
        pytest.param(
            replace(REQUEST, system=(Text("be brief", {"anthropic": {"cache_control": {}}}),)),
            id="marks of the system prompt",
        ),
        pytest.param(said(replace(SAID, marks={"chat": {"name": "ann"}})), id="marks of a message"),
        pytest.param(said(replace(SAID, content=(IMAGE, Thought("hello")))), id="a thought"),
        pytest.param(said(replace(SAID, content=(IMAGE, ToolCall("a", "f", "{}")))), id="a call"),
        pytest.param(said(replace(SAID, content=(ToolResult("a", "x"),))), id="a result"),
        pytest.param(said(replace(SAID, content=(ToolResult("a", (IMAGE,)),))), id="a result with an image"),
        pytest.param(
            replace(REQUEST, schema={"type": "object", "properties": {"b": {}, "a": {}}}),
            id="order of a schema",
        ),
        pytest.param(replace(REQUEST, messages=REQUEST.messages[1:]), id="a message less"),
        pytest.param(replace(REQUEST, messages=REQUEST.messages[::-1]), id="order of messages"),
        pytest.param(said(replace(SAID, content=(IMAGE, Text("hello ")))), id="text"),
        pytest.param(said(replace(SAID, role="assistant")), id="role"),
        pytest.param(said(replace(SAID, content="hello")), id="no attachment"),
        pytest.param(said(replace(SAID, content=(IMAGE, IMAGE, Text("hello")))), id="attachment twice"),
        pytest.param(with_image(data=b"dog"), id="its bytes"),
        pytest.param(with_image(name="dog.png"), id="its name"),
        pytest.param(with_image(media_type="image/gif"), id="its type"),
    ],
)
def test_another_question_is_another(other):
    assert fingerprint(other, ENDPOINT) != fingerprint(REQUEST, ENDPOINT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api", "anthropic"),
        ("base_url", "https://b.example/v1"),
        ("model", "two"),
        ("api_version", "v2"),
        ("project", "q"),
        ("location", "us"),
        ("door", "responses"),
        ("options", GenerationOptions(seed=1)),
        ("body", {"a": 1}),
        ("query", {"api-version": "1"}),
        ("headers", {"X-Feature": Secret("on")}),
    ],
)
def test_another_target_is_another(field, value):
    assert fingerprint(REQUEST, replace(ENDPOINT, **{field: value})) != fingerprint(REQUEST, ENDPOINT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", None),
        ("dropped_parameters", frozenset({"temperature"})),
        ("headers", {"api-key": Secret("another-key-0123")}),
        ("vendor", "openai"),
    ],
)
def test_whose_key_it_is_and_what_is_left_out_for_it_is_no_part(field, value):
    assert fingerprint(REQUEST, replace(ENDPOINT, **{field: value})) == fingerprint(REQUEST, ENDPOINT)


def test_no_system_prompt_and_an_empty_one_are_the_same():
    """Neither is sent."""
    without = replace(REQUEST, system=None)
    assert fingerprint(replace(REQUEST, system=""), ENDPOINT) == fingerprint(without, ENDPOINT)


def test_it_is_the_same_in_every_process_and_version():
    """What is stored under it must be found again."""
    request = Request((Message("user", "hello"),))
    endpoint = Endpoint("openai", "https://a.example/v1", "one", None)
    known = "1e1d5c1d87d448ab896e086e76b8902df985ebd164d991706ad5919b3e8bdbf3"
    assert fingerprint(request, endpoint) == known


def test_what_is_no_text_has_an_identity_too():
    halves = [Request((Message("user", f"half a pair: {half}"),)) for half in ("\ud83d", "\ud83e", "?")]
    assert len({fingerprint(one, ENDPOINT) for one in halves}) == 3


HALF = "half a pair: \ud83d"
LONG = "A long text. " * 500


@pytest.mark.parametrize(
    ("request_", "known"),
    [
        pytest.param(
            Request((Message("user", HALF),)),
            "11565e91a41cd6b517b02a2078123100bc0cb664ffa07ea52c8f241ea612e5c3",
            id="a message",
        ),
        pytest.param(
            Request((Message("user", LONG), Message("assistant", "said"), Message("user", HALF))),
            "aa7216e7a8e385823c8985db77208adc74e1cf485d2a06383140b9202da386aa",
            id="a later message",
        ),
        pytest.param(
            Request((Message("user", "hello"),), system=HALF),
            "b88d0d545f192abb7ebb2088f337f7130ef6e7c6a8d4620800f828acdedf40a1",
            id="the system prompt",
        ),
        pytest.param(
            Request((Message("user", "hello"),), marks={"chat": {"x": HALF}}),
            "1266742c1956231d052f80bb9c0ef71df1afc3b9d3bb9066f52f750c241f2308",
            id="a mark",
        ),
    ],
)
def test_that_of_what_is_no_text_is_the_same_in_every_version_too(request_, known):
    assert fingerprints.digest_of(request_) == known
