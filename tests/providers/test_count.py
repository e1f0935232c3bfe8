"""Counting before asking: what the providers' own endpoints are sent and say."""

import json

import httpx
import pytest

from llmfail.core.classification.body import parse
from llmfail.core.conversation import Attachment, Message, message_of
from llmfail.core.errors import MalformedReply, UnsupportedRequest
from llmfail.core.model import Endpoint, Request, Secret
from llmfail.providers import load_wire_format

IMAGE = Attachment("i.png", "image/png", b"\x89PNG")
REQUEST = Request(
    (message_of("user", "Look", (IMAGE,)), Message("assistant", "I see"), Message("user", "More")),
    system="Be brief.",
    temperature=0.5,
    stop=("END",),
    schema={"type": "object"},
)
PLAIN = Request((Message("user", "Say hello"),), system="Be brief.")


def endpoint(api, model, base_url="", **more):
    return Endpoint(api, base_url, model, Secret("made-up"), project="p", location="global", **more)


def call(api, model, base_url="", request=REQUEST, **more):
    made = load_wire_format(api).encode_count(request, endpoint(api, model, base_url, **more))
    return made, json.loads(made.body)


def test_anthropic_is_sent_what_counts_and_nothing_that_it_refuses():
    made, body = call("anthropic", "claude-x", "https://api.anthropic.com")
    assert made.url == "https://api.anthropic.com/v1/messages/count_tokens"
    assert made.headers["x-api-key"] == "made-up"
    assert set(body) == {"model", "system", "messages", "output_config"}
    assert body["messages"][0]["content"][0]["type"] == "image"


def test_gemini_is_sent_the_whole_request_so_that_the_system_text_counts():
    made, body = call("gemini", "gemini-x", "https://host")
    assert made.url == "https://host/v1beta/models/gemini-x:countTokens"
    inner = body["generateContentRequest"]
    assert inner["model"] == "models/gemini-x"
    assert inner["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert [turn["role"] for turn in inner["contents"]] == ["user", "model", "user"]


def test_vertex_takes_the_body_of_the_call():
    made, body = call("vertex", "gemini-x")
    assert made.url.endswith("/projects/p/locations/global/publishers/google/models/gemini-x:countTokens")
    assert {"systemInstruction", "contents"} <= set(body)
    assert made.headers["authorization"] == "Bearer made-up"


def test_claude_on_vertex_is_counted_at_a_model_of_its_own_name():
    made, body = call("vertex", "claude-x@1")
    assert made.url.endswith("/publishers/anthropic/models/count-tokens:rawPredict")
    assert (body["model"], body["anthropic_version"]) == ("claude-x@1", "vertex-2023-10-16")
    assert "max_tokens" not in body


def test_openai_counts_by_the_responses_api():
    made, body = call("openai", "gpt-x", "https://api.openai.com/v1")
    assert made.url == "https://api.openai.com/v1/responses/input_tokens"
    assert body["instructions"] == "Be brief."
    assert body["text"]["format"]["schema"] == {"type": "object"}
    assert body["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="},
                {"type": "input_text", "text": "Look"},
            ],
        },
        {"role": "assistant", "content": "I see"},
        {"role": "user", "content": "More"},
    ]


@pytest.mark.parametrize("host", ["api.groq.com", "openrouter.ai", "localhost", "api.openai.com.example.org"])
def test_others_who_speak_openais_format_do_not_count(host):
    with pytest.raises(UnsupportedRequest, match="does not count tokens"):
        call("openai", "x", f"https://{host}/v1")


def test_a_schema_that_the_target_refused_is_not_counted_either():
    for api, base_url in (("anthropic", ""), ("openai", "https://api.openai.com/v1")):
        _, body = call(api, "x", base_url, dropped_parameters=frozenset({"schema"}))
        assert not {"output_config", "text"} & set(body)


@pytest.mark.parametrize(
    ("api", "document"),
    [
        ("anthropic", {"input_tokens": 7}),
        ("openai", {"object": "response.input_tokens", "input_tokens": 7}),
        ("gemini", {"totalTokens": 7, "promptTokensDetails": []}),
        ("vertex", {"totalTokens": 7, "totalBillableCharacters": 20}),
        ("vertex", {"input_tokens": 7}),
    ],
)
def test_the_count_is_read(api, document):
    assert load_wire_format(api).decode_count(parse(json.dumps(document).encode())) == 7


@pytest.mark.parametrize("api", ["anthropic", "openai", "gemini", "vertex"])
@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"input_tokens":"7","totalTokens":null}', b'{"input_tokens":-1,"totalTokens":1.5}'],
)
def test_a_reply_without_a_count_is_malformed(api, raw):
    with pytest.raises(MalformedReply):
        load_wire_format(api).decode_count(parse(raw))


@pytest.mark.parametrize(
    ("provider", "api", "model"),
    [
        ("anthropic", "anthropic", "claude-x"),
        ("openai", "openai", "gpt-x"),
        ("google", "gemini", "gemini-x"),
        ("vertex", "vertex", "gemini-x"),
        ("vertex", "vertex", "claude-x@1"),
    ],
)
def test_the_simulator_counts_what_an_answer_would_be_billed(simulator, provider, api, model):
    wire, there = load_wire_format(api), endpoint(api, model, simulator.base_url(provider))

    def reply_to(made):
        heard = httpx.post(made.url, headers=dict(made.headers), content=made.body, verify=False)
        return parse(heard.content)

    counted = wire.decode_count(reply_to(wire.encode_count(PLAIN, there)))
    assert counted == wire.decode(reply_to(wire.encode(PLAIN, there))).usage.input_tokens == 5
    assert {seen.target for seen in simulator.requests} == {f"{provider}/{model}"}
