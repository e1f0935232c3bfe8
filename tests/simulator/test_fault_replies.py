"""What each vendor says, healthy and with each fault, over real sockets."""

import http.client
import json

import pytest
import simulator_calls

from llmfail.core.model import Reply
from llmfail.simulator import parse_faults

CLAUDE_PATH = f"{simulator_calls.VERTEX}/anthropic/models/claude-haiku-4-5@20251001:rawPredict"
CLAUDE_BODY = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": []}


def said_by(provider, document):
    """The text, why it ended, and the counted input and output, where each format keeps them."""
    match provider:
        case "anthropic":
            usage = document["usage"]
            text = document["content"][0]["text"]
            return text, document["stop_reason"], usage["input_tokens"], usage["output_tokens"]
        case "openai":
            choice, usage = document["choices"][0], document["usage"]
            text = choice["message"]["content"]
            return text, choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"]
        case _:
            candidate, usage = document["candidates"][0], document["usageMetadata"]
            text = candidate["content"]["parts"][0]["text"]
            return text, candidate["finishReason"], usage["promptTokenCount"], usage["candidatesTokenCount"]


HEALTHY = {
    "anthropic": ("claude-sonnet-5-5", "end_turn", "max_tokens"),
    "openai": ("gpt-6.1-terra", "stop", "length"),
    "google": ("gemini-3.8-flash", "STOP", "MAX_TOKENS"),
    "vertex": ("gemini-3.8-flash", "STOP", "MAX_TOKENS"),
}


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
def test_a_healthy_provider_says_who_it_is_in_its_own_format(simulator, provider):
    model, ended, _ = HEALTHY[provider]
    heard = simulator_calls.ask(simulator, provider, "Say hello")
    assert heard.status == 200
    text = f"Hello from {provider}/{model} (simulated). You said: Say hello"
    assert said_by(provider, heard.document) == (text, ended, 3, -(-len(text) // 4))


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
def test_an_answer_is_cut_at_the_requests_own_limit(simulator, provider):
    heard = simulator_calls.ask(simulator, provider, max_tokens=2)
    text, ended, _, written = said_by(provider, heard.document)
    assert (text, ended, written) == ("Hello fr", HEALTHY[provider][2], 2)


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
def test_the_answer_is_configurable_as_text_or_as_a_whole_reply(simulator, provider):
    simulator.set_answer(lambda seen: f"{seen.number}: {seen.prompt[::-1]} ☃")
    assert said_by(provider, simulator_calls.ask(simulator, provider, "abc").document)[0] == "1: cba ☃"
    simulator.set_answer(lambda _: Reply(200, {"x-mine": "yes"}, b"{}"))
    heard = simulator_calls.ask(simulator, provider)
    assert (heard.body, heard.headers["x-mine"]) == (b"{}", "yes")


def test_ids_and_limits_are_in_the_headers_where_the_vendor_sends_them(simulator):
    assert simulator_calls.ask(simulator, "anthropic").headers["request-id"].startswith("req_")
    assert "anthropic-ratelimit-tokens-remaining" in simulator_calls.ask(simulator, "anthropic").headers
    openai = simulator_calls.ask(simulator, "openai").headers
    assert openai["x-request-id"].startswith("req_")
    assert openai["x-ratelimit-reset-requests"] == "120ms"


def test_claude_on_vertex_is_asked_and_answers_in_anthropics_format(simulator):
    heard = simulator_calls.post(simulator.base_url("vertex"), CLAUDE_PATH, CLAUDE_BODY)
    assert heard.document["type"] == "message"
    assert simulator.requests[0].target == "vertex/claude-haiku-4-5@20251001"


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [("529", 529, "anthropic"), ("429", 429, "anthropic"), ("auth", 401, "google"), ("404", 404, "google")],
)
def test_claude_on_vertex_fails_in_the_format_of_whoever_says_no(simulator, fault, status, kind):
    simulator.set_faults(parse_faults(f"vertex={fault}"))
    heard = simulator_calls.post(simulator.base_url("vertex"), CLAUDE_PATH, CLAUDE_BODY)
    assert heard.status == status
    assert ("status" in heard.document["error"]) is (kind == "google")


def code_of(provider, heard):
    """Status and the structured code of an error."""
    error = heard.document["error"]
    match provider:
        case "anthropic":
            return heard.status, error["type"], error.get("details", {}).get("error_code")
        case "openai":
            return heard.status, error["type"], error["code"]
        case _:
            reasons = [detail.get("reason") for detail in error.get("details", [])]
            return heard.status, error["status"], next(filter(None, reasons), None)


FAULTS = [
    ("anthropic", "400", (400, "invalid_request_error", None)),
    ("anthropic", "401", (401, "authentication_error", None)),
    ("anthropic", "403", (403, "permission_error", None)),
    ("anthropic", "404", (404, "not_found_error", None)),
    ("anthropic", "429", (429, "rate_limit_error", None)),
    ("anthropic", "500", (500, "api_error", None)),
    ("anthropic", "503", (503, "api_error", None)),
    ("anthropic", "529", (529, "overloaded_error", None)),
    ("anthropic", "418", (418, "invalid_request_error", None)),
    ("anthropic", "quota", (429, "rate_limit_error", "enforced_spend_limit_reached")),
    ("anthropic", "billing", (400, "invalid_request_error", None)),
    ("anthropic", "auth", (401, "authentication_error", None)),
    ("openai", "400", (400, "invalid_request_error", "invalid_value")),
    ("openai", "404", (404, "invalid_request_error", "model_not_found")),
    ("openai", "429", (429, "rate_limit_error", "rate_limit_exceeded")),
    ("openai", "500", (500, "server_error", None)),
    ("openai", "503", (503, "service_unavailable_error", "server_is_overloaded")),
    ("openai", "quota", (429, "requests", "rate_limit_exceeded")),
    ("openai", "billing", (429, "insufficient_quota", "insufficient_quota")),
    ("openai", "auth", (401, "invalid_request_error", "invalid_api_key")),
    ("google", "400", (400, "INVALID_ARGUMENT", None)),
    ("google", "429", (429, "RESOURCE_EXHAUSTED", None)),
    ("google", "500", (500, "INTERNAL", None)),
    ("google", "503", (503, "UNAVAILABLE", None)),
    ("google", "quota", (429, "RESOURCE_EXHAUSTED", None)),
    ("google", "billing", (402, "RESOURCE_EXHAUSTED", None)),
    ("google", "auth", (400, "INVALID_ARGUMENT", "API_KEY_INVALID")),
    ("vertex", "429", (429, "RESOURCE_EXHAUSTED", None)),
    ("vertex", "503", (503, "UNAVAILABLE", None)),
    ("vertex", "quota", (429, "RESOURCE_EXHAUSTED", None)),
    ("vertex", "billing", (403, "PERMISSION_DENIED", "BILLING_DISABLED")),
    ("vertex", "auth", (401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED")),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("provider", "fault", "code"), FAULTS)
def test_a_fault_comes_as_the_vendors_own_error(simulator, provider, fault, code, stream):
    simulator.set_faults(parse_faults(f"{provider}={fault}"))
    heard = simulator_calls.ask(simulator, provider, stream=stream)
    assert code_of(provider, heard) == code
    assert heard.document["error"]["message"]


@pytest.mark.parametrize(
    ("provider", "fault", "status", "part"),
    [
        ("openrouter", "billing", 402, "openrouter_credits"),
        ("openrouter", "auth", 401, "authentication"),
        ("deepseek", "billing", 402, "Insufficient Balance"),
        ("mistral", "auth", 401, '"detail":"Invalid API Key"'),
        ("xai", "auth", 400, '"error":"Incorrect API key provided'),
        ("xai", "billing", 403, "used all available credits"),
        ("groq", "quota", 429, "tokens per day (TPD)"),
        ("groq", "billing", 429, "insufficient_quota"),
        ("anything", "auth", 401, "invalid_api_key"),
    ],
)
def test_vendors_with_openais_format_keep_their_own_words(simulator, provider, fault, status, part):
    simulator.set_faults(parse_faults(f"{provider}={fault}"))
    heard = simulator_calls.ask(simulator, provider)
    assert heard.status == status
    assert part in heard.body.decode()


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
@pytest.mark.parametrize("status", [502, 521])
def test_a_bad_gateway_is_a_page_for_browsers(simulator, provider, status):
    simulator.set_faults(parse_faults(f"all={status}"))
    heard = simulator_calls.ask(simulator, provider)
    assert heard.status == status
    assert heard.headers["content-type"].startswith("text/html")
    assert heard.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("provider", ["anthropic", "openai", "groq"])
@pytest.mark.parametrize(
    ("fault", "header"), [("429:30", "30"), ("503:0.5", "0.5"), ("502:7", "7"), ("429", None)]
)
def test_retry_after_is_a_header_only_where_the_fault_names_one(simulator, provider, fault, header):
    simulator.set_faults(parse_faults(f"all={fault}"))
    heard = simulator_calls.ask(simulator, provider)
    assert heard.headers.get("retry-after") == header
    assert not [name for name in heard.headers if "ratelimit" in name]


@pytest.mark.parametrize("provider", ["google", "vertex"])
def test_google_names_the_wait_in_the_body(simulator, provider):
    def waits(fault):
        simulator.set_faults(parse_faults(f"all={fault}"))
        heard = simulator_calls.ask(simulator, provider)
        assert "retry-after" not in heard.headers
        return [d["retryDelay"] for d in heard.document["error"].get("details", []) if "retryDelay" in d]

    assert waits("429:30") == ["30s"]
    assert waits("503:1.5") == ["1.5s"]
    assert waits("429") == []


@pytest.mark.parametrize(("fault", "period"), [("429", "PerMinute"), ("quota", "PerDay")])
def test_gemini_tells_a_minutes_limit_from_a_days(simulator, fault, period):
    simulator.set_faults(parse_faults(f"google={fault}"))
    (detail, *_) = simulator_calls.ask(simulator, "google").document["error"]["details"]
    assert period in detail["violations"][0]["quotaId"]


def test_anthropics_spend_limit_names_the_day_it_ends(simulator):
    simulator.set_faults(parse_faults("anthropic=quota"))
    message = simulator_calls.ask(simulator, "anthropic").document["error"]["message"]
    assert "-01 at 00:00 UTC" in message


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
class TestBrokenTransport:
    def test_cut_promises_more_than_it_sends(self, simulator, provider, stream):
        simulator.set_faults(parse_faults("all=cut"))
        with pytest.raises(http.client.IncompleteRead) as caught:
            simulator_calls.ask(simulator, provider, stream=stream)
        assert caught.value.partial
        assert b"DONE" not in caught.value.partial

    def test_garbage_is_no_json(self, simulator, provider, stream):
        simulator.set_faults(parse_faults("all=garbage"))
        heard = simulator_calls.ask(simulator, provider, stream=stream)
        assert heard.status == 200
        with pytest.raises(UnicodeDecodeError):
            json.loads(heard.body)

    def test_empty_is_a_200_without_a_body(self, simulator, provider, stream):
        simulator.set_faults(parse_faults("all=empty"))
        heard = simulator_calls.ask(simulator, provider, stream=stream)
        assert (heard.status, heard.body) == (200, b"")

    def test_refuse_is_a_refused_connection(self, simulator, provider, stream):
        simulator.set_faults(parse_faults("all=refuse"))
        with pytest.raises(ConnectionRefusedError):
            simulator_calls.ask(simulator, provider, stream=stream)
        assert simulator.count_connections() == simulator.count() == 0

    def test_refuse_of_the_first_calls_only_resets_them_by_count(self, simulator, provider, stream):
        simulator.set_faults(parse_faults("all=refusex1"))
        with pytest.raises(ConnectionResetError, match="reset by peer"):
            simulator_calls.ask(simulator, provider, stream=stream)
        assert simulator_calls.ask(simulator, provider, stream=stream).status == 200

    def test_slow_still_answers(self, simulator, provider, stream):
        simulator.set_faults(parse_faults("all=slow:1"))
        assert simulator_calls.ask(simulator, provider, stream=stream).status == 200


def events(heard):
    """The data of each server-sent event."""
    blocks = heard.body.decode().replace("\r\n", "\n").split("\n\n")
    return [
        line.removeprefix("data: ")
        for block in blocks
        for line in block.split("\n")
        if line.startswith("data:")
    ]


SAID = "One two  three\nfour "


def test_anthropic_streams_named_events_to_message_stop(simulator):
    simulator.set_answer(lambda _: SAID)
    heard = simulator_calls.ask(simulator, "anthropic", stream=True)
    told = [json.loads(data) for data in events(heard)]
    assert heard.body.count(b"event: ") == len(told)
    assert [told[0]["type"], told[-2]["type"], told[-1]["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert "".join(one["delta"]["text"] for one in told if one["type"] == "content_block_delta") == SAID
    assert told[-2]["delta"]["stop_reason"] == "end_turn"
    assert told[-2]["usage"]["output_tokens"] == 5


@pytest.mark.parametrize("with_usage", [True, False])
def test_openai_streams_chunks_to_done_and_usage_when_asked(simulator, with_usage):
    simulator.set_answer(lambda _: SAID)
    path, document = simulator_calls.build_request("openai", stream=True)
    document["stream_options"] = {"include_usage": with_usage}
    *told, end = events(simulator_calls.post(simulator.base_url("openai"), path, document))
    chunks = [json.loads(data) for data in told]
    assert end == "[DONE]"
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == SAID
    assert choices[-1]["finish_reason"] == "stop"
    assert (chunks[-1].get("usage") is not None) is with_usage


@pytest.mark.parametrize("provider", ["google", "vertex"])
def test_google_streams_events_or_one_array_and_ends_with_a_finish_reason(simulator, provider):
    simulator.set_answer(lambda _: SAID)
    path, document = simulator_calls.build_request(provider, stream=True)
    base_url = simulator.base_url(provider)
    told = [json.loads(data) for data in events(simulator_calls.post(base_url, path, document))]
    array = simulator_calls.post(base_url, path.removesuffix("?alt=sse"), document).document
    for parts in (told, array):
        candidates = [part["candidates"][0] for part in parts]
        assert "".join(one["content"]["parts"][0]["text"] for one in candidates) == SAID
        assert [one.get("finishReason") for one in candidates][-2:] == [None, "STOP"]


def test_an_error_of_a_stream_that_is_an_array_comes_in_an_array(simulator):
    simulator.set_faults(parse_faults("google=503"))
    path, document = simulator_calls.build_request("google", stream=True)
    heard = simulator_calls.post(simulator.base_url("google"), path.removesuffix("?alt=sse"), document)
    assert heard.document[0]["error"]["status"] == "UNAVAILABLE"


EMBEDDINGS = [
    (
        "openai",
        "/embeddings",
        {"input": ["a", "b"], "dimensions": 3},
        lambda d: [e["embedding"] for e in d["data"]],
    ),
    ("openai", "/embeddings", {"input": "a", "dimensions": 3}, lambda d: [e["embedding"] for e in d["data"]]),
    (
        "google",
        "/v1beta/models/gemini-embedding-001:embedContent",
        {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 3},
        lambda d: [d["embedding"]["values"]],
    ),
    (
        "google",
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        {"requests": [{"content": {"parts": [{"text": t}]}, "outputDimensionality": 3} for t in "ab"]},
        lambda d: [e["values"] for e in d["embeddings"]],
    ),
    (
        "vertex",
        f"{simulator_calls.VERTEX}/google/models/gemini-embedding-001:predict",
        {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"outputDimensionality": 3}},
        lambda d: [p["embeddings"]["values"] for p in d["predictions"]],
    ),
]


@pytest.mark.parametrize(("provider", "path", "document", "vectors"), EMBEDDINGS)
def test_embeddings_are_the_same_for_the_same_text_in_every_format(
    simulator, provider, path, document, vectors
):
    found = vectors(simulator_calls.post(simulator.base_url(provider), path, document).document)
    reference = simulator_calls.post(
        simulator.base_url("openai"), "/embeddings", {"input": ["a", "b"], "dimensions": 3}
    )
    assert found == [one["embedding"] for one in reference.document["data"]][: len(found)]
    assert all(len(vector) == 3 for vector in found)


@pytest.mark.parametrize(
    ("provider", "path", "document", "key"),
    [
        (
            "anthropic",
            "/v1/messages/count_tokens",
            simulator_calls.build_request("anthropic")[1],
            "input_tokens",
        ),
        (
            "google",
            "/v1beta/models/gemini-3.8-flash:countTokens",
            simulator_calls.build_request("google")[1],
            "totalTokens",
        ),
    ],
)
def test_tokens_are_counted_where_the_vendor_counts_them(simulator, provider, path, document, key):
    assert simulator_calls.post(simulator.base_url(provider), path, document).document == {key: 3}


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
def test_an_unknown_path_is_the_vendors_own_404(simulator, provider):
    assert code_of(provider, simulator_calls.post(simulator.base_url(provider), "/nowhere", {}))[0] == 404


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
@pytest.mark.parametrize("document", [[], "text", {}, None])
def test_a_body_that_is_no_object_is_the_vendors_own_400(simulator, provider, document):
    path, _ = simulator_calls.build_request(provider)
    assert code_of(provider, simulator_calls.post(simulator.base_url(provider), path, document))[0] == 400
