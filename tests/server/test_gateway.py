"""What programs get in each dialect, over real sockets, and what is refused before anybody is asked."""

import base64
import socket
import struct

import pytest
from running_gateway import run_gateway

from llmfail.simulator import Simulator, parse_faults

KEY, VPR_KEY = "llmf_first-key-of-the-tests", "llmf_second-key-of-the-tests"
KEYS = f"""\
serve:
  origins: ["https://app.example"]
  hosts: [gateway.example]
  models: {{"gpt-*": chat, "claude-*": default}}
  keys:
    - {{name: all, key: {KEY}}}
    - {{name: one, key: {VPR_KEY}, features: [talk]}}
    - {{name: old, key: llmf_third-key-of-the-tests, expires: 2020-01-01}}
"""
CHAT = "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = (
    "/v1/messages",
    {
        "model": "default",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "hi"}],
    },
)
RESPONSES = "/v1/responses", {"model": "chat", "input": "hi"}
GEMINI = "/v1beta/models/gem:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
ALL = pytest.mark.parametrize(("path", "body"), [CHAT, MESSAGES, RESPONSES, GEMINI])


@pytest.fixture(scope="module")
def simulator():
    with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, simulator):
    with run_gateway(tmp_path_factory.mktemp("open"), simulator) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory, simulator):
    with run_gateway(tmp_path_factory.mktemp("locked"), simulator, KEYS) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(simulator):
    yield
    simulator.set_faults(parse_faults("none"))


def text_of(path, body):
    """The text of a whole answer in the dialect of a path."""
    if path == CHAT[0]:
        return body["choices"][0]["message"]["content"]
    if path == RESPONSES[0]:
        return body["output"][0]["content"][0]["text"]
    if path == MESSAGES[0]:
        return body["content"][0]["text"]
    return body["candidates"][0]["content"]["parts"][0]["text"]


@ALL
def test_an_answer_comes_in_the_dialect_of_the_question(gateway, path, body):
    reply = gateway.post(path, body)
    assert reply.status == 200, reply.body
    assert "You said: hi" in text_of(path, reply.json)
    assert reply.headers["x-llmfail-source"] == "model"
    assert reply.headers["x-llmfail-attempts"] == "1"
    assert float(reply.headers["x-llmfail-cost-usd"]) > 0
    assert reply.headers["server"] == "llmfail"
    line = gateway.log[-1]
    assert line["id"] == reply.headers["x-llmfail-id"]
    assert (line["status"], line["attempts"], line["stream"]) == (200, 1, False)


def test_a_path_of_gemini_has_both_versions_and_the_model_of_the_path(gateway):
    for version in ("v1", "v1beta"):
        reply = gateway.post(f"/{version}/models/google%2Fgemini-3.8-flash:generateContent", GEMINI[1])
        assert reply.headers["x-llmfail-target"] == "google/gemini-3.8-flash"


@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        (*CHAT, "[DONE]"),
        (*MESSAGES, {"type": "message_stop"}),
        (GEMINI[0].replace("generate", "streamGenerate") + "?alt=sse", GEMINI[1], None),
    ],
)
def test_an_answer_may_be_streamed(gateway, path, body, end):
    body = body if end is None else {**body, "stream": True}
    reply = gateway.post(path, body)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert end is None or reply.events[-1] == end
    assert len(reply.events) > 3
    line = gateway.log[-1]
    assert line["stream"]
    assert line["first_token_ms"] <= line["ms"]
    assert line["output_tokens"] > 0


def test_a_stream_of_gemini_without_sse_is_an_array(gateway):
    reply = gateway.post(GEMINI[0].replace("generate", "streamGenerate"), GEMINI[1])
    assert reply.headers["content-type"] == "application/json"
    assert reply.json[-1]["candidates"][0]["finishReason"] == "STOP"


@ALL
def test_an_outage_is_not_seen(gateway, simulator, path, body):
    simulator.set_faults(parse_faults("openai=503"))
    body = {**body, "model": "chat"}
    path = path.replace("gem", "chat") if path == GEMINI[0] else path
    reply = gateway.post(path, body)
    assert (reply.status, reply.headers["x-llmfail-target"]) == (200, "anthropic/claude-sonnet-5-5")
    assert reply.headers["x-llmfail-tier"] == "2"


@ALL
@pytest.mark.parametrize("faults", ["none", "openai=503"])
def test_a_stream_has_the_headers_of_a_whole_answer_but_for_what_it_cost(
    gateway, simulator, path, body, faults
):
    simulator.set_faults(parse_faults(faults))
    path, body = path.replace("gem:", "chat:"), {**body, "model": "chat"}
    whole = gateway.post(path, body).headers
    if "generateContent" in path:
        stream = gateway.post(f"{path.replace('generate', 'streamGenerate')}?alt=sse", body).headers
    else:
        stream = gateway.post(path, {**body, "stream": True}).headers
    told = ("tier", "source", "attempts", "target", "dropped")
    assert [stream.get(f"x-llmfail-{name}") for name in told] == [
        whole.get(f"x-llmfail-{name}") for name in told
    ]
    own = {"content-type", "content-length", "transfer-encoding", "cache-control", "x-accel-buffering"}
    assert whole.keys() - stream.keys() - own == {"x-llmfail-cost-usd"}
    assert stream.keys() - whole.keys() - own == set()


@ALL
def test_when_nobody_answers_it_is_told_in_the_dialect(gateway, simulator, path, body):
    simulator.set_faults(parse_faults("all=503"))
    reply = gateway.post(path, body)
    assert (reply.status, reply.headers["x-should-retry"]) == (503, "false")
    assert reply.json["error"]["message"]
    assert gateway.log[-1]["error"] == "unavailable"


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("POST", "/v1/completions", 404, "POST /v1/chat/completions instead"),
        ("POST", "/chat/completions", 404, "ends in /v1"),
        ("GET", "/v1/chat/completions", 405, "takes POST, not GET"),
        ("POST", "/v1/audio/speech", 404, "audio is not served"),
        ("POST", "/v1/models/gem:predict", 404, "predict is not served"),
        ("GET", "/nowhere", 404, "there is nothing at this path"),
        ("GET", "/v1/../v1/models", 404, "there is nothing"),
    ],
)
def test_what_is_not_served_is_told(gateway, method, path, status, said):
    reply = gateway.call(method, path)
    assert reply.status == status
    assert said in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{", {}, 400, "not JSON"),
        (b"[]", {}, 400, "not an object"),
        ({"model": "chta", "messages": []}, {}, 404, "did you mean chat"),
        ({**CHAT[1], "temperature": 9}, {}, 400, "temperature"),
        (CHAT[1], {"x_llmfail_cache": "maybe"}, 400, "x-llmfail-cache is one of"),
        (CHAT[1], {"x_llmfail_max_cost": "much"}, 400, "x-llmfail-max-cost is an amount"),
        (CHAT[1], {"x_llmfail_deadline": "soon"}, 400, "x-llmfail-deadline: expected a duration"),
        ({**CHAT[1], "tool_choice": "required"}, {}, 400, "no `tools` are offered"),
        (CHAT[1], {"openai_beta": "a\tb"}, 400, "openai-beta"),
        (CHAT[1], {"anthropic_beta": "\u00e4".encode()}, 400, "anthropic-beta"),
        (b"{}", {"content_type": "text/plain"}, 415, "application/json"),
        (b"a=b", {"content_type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(gateway, body, headers, status, said):
    reply = gateway.post(CHAT[0], body, **headers)
    assert reply.status == status
    assert said in reply.json["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_target_has_no_word_for_is_named(gateway, stream):
    body = {**CHAT[1], "model": "default", "seed": 7, "stream": stream}
    assert gateway.post(CHAT[0], body).headers["x-llmfail-dropped"] == "seed"
    assert "x-llmfail-dropped" not in gateway.post(CHAT[0], {**body, "model": "chat"}).headers


@pytest.mark.parametrize("query", ["?beta=true", "?beta=true&x=1", "?beta=1%26api-version%3D2", "?x=1"])
def test_of_the_query_only_what_is_known_goes_on(gateway, simulator, query):
    path, body = MESSAGES
    assert gateway.post(f"{path}{query}", body).status == 200
    sent = "?beta=true" if "beta=true" in query else ""
    assert simulator.requests[-1].path.endswith(f"{path}{sent}")


def test_headers_say_what_the_body_cannot(gateway):
    reply = gateway.post(
        *CHAT, x_llmfail_feature="default", x_llmfail_no_fallback="true", x_llmfail_tags="a,b"
    )
    assert reply.headers["x-llmfail-target"] == "anthropic/claude-sonnet-5-5"
    assert gateway.log[-1]["tags"] == "a,b"
    assert gateway.post(*CHAT, x_llmfail_max_cost="0.0000001").status == 402


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"x_api_key": KEY},
        {"x_goog_api_key": KEY},
        {"api_key": KEY},
    ],
)
def test_a_key_is_taken_from_every_header_in_which_sdks_send_it(locked, headers):
    assert locked.post(*CHAT, **headers).status == 200
    assert locked.log[-1]["key"] == "all"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": "Bearer llmf_third-key-of-the-tests"},
        {"x_api_key": "'; DROP TABLE keys; --"},
        {"x_api_key": "é" * 100},
        {"x_api_key": "x" * 8000},
    ],
)
@ALL
def test_without_a_key_that_is_in_force_nobody_is_asked(locked, simulator, headers, path, body):
    before = len(simulator.requests)
    reply = locked.post(path, body, **headers)
    assert reply.status == 401
    assert "the gateway's own keys" in reply.json["error"]["message"]
    assert len(simulator.requests) == before
    assert not any(value in reply.body.decode() for value in headers.values() if len(value) > 20)


def test_a_key_in_the_query_is_none(locked):
    assert locked.post(f"{CHAT[0]}?key={KEY}&api_key={KEY}", CHAT[1]).status == 401
    assert KEY not in str(locked.log)


def test_a_key_may_be_held_to_features(locked):
    own = {"authorization": f"Bearer {VPR_KEY}"}
    assert locked.post(*CHAT, **own).status == 200
    assert locked.post(CHAT[0], {**CHAT[1], "model": "gpt-4o"}, **own).status == 200
    for model in ("default", "claude-x", "openai/gpt-6.1-terra"):
        reply = locked.post(CHAT[0], {**CHAT[1], "model": model}, **own)
        assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
        assert "this key may not use" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "gateway.example"}, 200),
        ({"origin": "https://app.example"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/health/live", "/"])
def test_hosts_and_origins_are_those_of_the_configuration(locked, headers, status, path):
    called = path == CHAT[0]
    reply = locked.call("POST" if called else "GET", path, CHAT[1], x_api_key=KEY, **headers)
    assert reply.status == status
    allowed = reply.headers.get("access-control-allow-origin")
    assert allowed == (headers.get("origin") if status == 200 and called else None)


def test_a_listed_page_may_ask_first_whether_it_may_ask(locked):
    reply = locked.call(
        "OPTIONS", CHAT[0], origin="https://app.example", access_control_request_method="POST"
    )
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (204, "https://app.example")
    assert locked.call("OPTIONS", CHAT[0], origin="https://evil.example").status == 403
    assert "access-control-allow-origin" not in locked.post(*CHAT, x_api_key=KEY).headers


def test_it_says_that_it_is_there_and_how_it_is(gateway):
    assert gateway.call("HEAD", "/").status == 200
    assert gateway.get("/health/live").json == {"status": "live"}
    assert gateway.get("/health/ready").json == {"status": "ready"}
    assert gateway.get("/health/llm-services").json["status"] in {"healthy", "degraded"}
    metrics = gateway.get("/metrics").body.decode()
    assert 'llmfail_inflight{worker="0"} 0.0' in metrics
    assert "# TYPE llmfail_requests_total counter" in metrics


def test_the_list_of_models_pleases_every_reader_and_has_what_the_key_may_use(gateway, locked):
    listed = gateway.get("/v1/models").json
    assert listed["object"] == "list"
    assert [one["id"] for one in listed["data"]] == ["default", "chat", "gem", "vectors", "talk"]
    assert {"object", "created", "owned_by", "type", "display_name", "created_at"} <= listed["data"][0].keys()
    assert [one["id"] for one in locked.get("/v1/models", x_api_key=VPR_KEY).json["data"]] == ["chat", "talk"]
    assert locked.get("/v1/models").status == 401
    names = [one["name"] for one in gateway.get("/v1beta/models").json["models"]]
    assert names[0] == "models/default"
    assert gateway.get("/v1/models/chat").json["id"] == "chat"
    assert gateway.get("/v1beta/models/gem").json["name"] == "models/gem"
    assert gateway.get("/v1/models/nothing").status == 404


def test_vectors_come_as_numbers_or_in_base64(gateway):
    body = {"model": "vectors", "input": ["one", "two"]}
    plain = gateway.post("/v1/embeddings", body).json
    packed = gateway.post("/v1/embeddings", {**body, "encoding_format": "base64"}).json
    vectors = [one["embedding"] for one in plain["data"]]
    for vector, row in zip(vectors, packed["data"], strict=True):
        raw = base64.b64decode(row["embedding"])
        assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(vector, rel=1e-6)
    assert plain["usage"]["prompt_tokens"] > 0
    short = gateway.post("/v1/embeddings", {**body, "dimensions": 4}).json
    assert [len(one["embedding"]) for one in short["data"]] == [4, 4]
    assert gateway.log[-1]["feature"] == "vectors"


def test_vectors_are_as_long_as_they_were_asked_for(gateway):
    one = gateway.post("/v1/embeddings", {"model": "vectors", "input": "one", "dimensions": 5})
    assert len(one.json["data"][0]["embedding"]) == 5
    body = {"content": {"parts": [{"text": "one"}]}, "outputDimensionality": 3}
    path = "/v1beta/models/google/gemini-embedding-001:embedContent"
    assert len(gateway.post(path, body).json["embedding"]["values"]) == 3


def test_a_header_that_is_no_utf8_loses_no_answer(tmp_path, simulator):
    more = KEYS.replace(f"{KEY}}}", f"{KEY}, may_name_users: true}}") + "  user_from: header\n"
    with run_gateway(tmp_path, simulator, more) as named:
        broken = dict.fromkeys(("x_llmfail_user", "x_llmfail_tags", "x_llmfail_session"), b"\xff\xfe")
        reply = named.post(*CHAT, authorization=f"Bearer {KEY}", **broken)
        assert reply.status == 200, reply.body
        assert (named.log[-1]["user"], named.log[-1]["tags"]) == ("\ufffd\ufffd", "\ufffd\ufffd")


def test_a_key_that_has_expired_is_told_so(locked):
    reply = locked.post(*CHAT, authorization="Bearer llmf_third-key-of-the-tests")
    assert (reply.status, "the key old has expired" in reply.json["error"]["message"]) == (401, True)


def test_numbers_of_tokens_are_refused_with_what_to_do(gateway):
    model = "google/gemini-embedding-001"
    reply = gateway.post("/v1/embeddings", {"model": model, "input": [[1, 2], [3]]})
    assert (reply.status, "check_embedding_ctx_length" in reply.json["error"]["message"]) == (400, True)


@pytest.mark.parametrize("said", [[1, 2], [[1, 2], [3]]])
def test_numbers_of_tokens_go_to_openai_as_they_are(gateway, simulator, said):
    reply = gateway.post("/v1/embeddings", {"model": "vectors", "input": said})
    assert reply.status == 200, reply.body
    arrays = said if isinstance(said[0], list) else [said]
    assert len(reply.json["data"]) == len(arrays)
    assert simulator.requests[-1].document["input"] == arrays


def test_vectors_in_the_words_of_gemini(gateway):
    content = {"parts": [{"text": "one"}]}
    one = gateway.post("/v1beta/models/vectors:embedContent", {"content": content})
    many = gateway.post("/v1beta/models/vectors:batchEmbedContents", {"requests": [{"content": content}] * 2})
    assert one.json["embedding"]["values"] == many.json["embeddings"][1]["values"]


@pytest.mark.parametrize(
    ("path", "body", "read"),
    [
        ("/v1/messages/count_tokens", MESSAGES[1], lambda told: told["input_tokens"]),
        ("/v1/responses/input_tokens", RESPONSES[1], lambda told: told["input_tokens"]),
        ("/v1beta/models/gem:countTokens", GEMINI[1], lambda told: told["totalTokens"]),
    ],
)
@pytest.mark.parametrize("faults", ["none", "all=503"])
def test_tokens_are_counted_or_estimated_and_nobody_is_blamed(gateway, simulator, path, body, read, faults):
    simulator.set_faults(parse_faults(faults))
    before = gateway.get("/health/llm-services").json["routing"]["total_requests"]
    reply = gateway.post(path, body)
    assert reply.status == 200, reply.body
    assert read(reply.json) > 0
    assert gateway.log[-1]["cost_usd"] is None
    assert gateway.get("/health/llm-services").json["routing"]["total_requests"] == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT[0], {**CHAT[1], "max_tokens": 1000, "n": 100}),
        (CHAT[0], {**CHAT[1], "max_tokens": 1000, "n": "100"}),
        (
            "/v1beta/models/gem:generateContent",
            {**GEMINI[1], "generationConfig": {"maxOutputTokens": 1000, "candidateCount": 100}},
        ),
    ],
)
def test_several_answers_at_once_cost_as_many(gateway, path, body):
    reply = gateway.post(path, body, x_llmfail_max_cost="0.02")
    assert reply.status in {402, 429}, reply.body
    assert "may cost" in reply.body.decode()


@pytest.mark.parametrize(("fault", "status"), [("429:20", 429), ("503:20", 503)])
def test_while_every_target_pauses_the_status_stays_what_it_was(tmp_path, simulator, fault, status):
    """A rate limit is one as long as it lasts, though nobody is asked."""
    simulator.set_faults(parse_faults(f"all={fault}"))
    with run_gateway(tmp_path, simulator) as own:
        asked = len(simulator.requests)
        replies = [own.post(*CHAT) for _ in range(3)]
    assert [one.status for one in replies] == [status] * 3
    assert len(simulator.requests) - asked == 2
    assert all(1 <= int(one.headers["retry-after"]) <= 20 for one in replies)
    assert not [one for one in replies if "x-should-retry" in one.headers]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://127.0.0.1/v1/models", "127.0.0.1", 200),
        ("HTTP://localhost:4000/v1/models?limit=1", "evil.example", 200),
        ("https://[::1]/v1/models", "127.0.0.1", 200),
        ("http://127.0.0.1", "127.0.0.1", 200),
        ("http://evil.example/v1/models", "127.0.0.1", 403),
        ("http://127.0.0.1@evil.example/v1/models", "127.0.0.1", 403),
        ("http://evil.example@127.0.0.1/v1/models", "127.0.0.1", 403),
        ("http:///v1/models", "127.0.0.1", 400),
        ("ftp://127.0.0.1/v1/models", "127.0.0.1", 404),
    ],
)
def test_a_whole_url_in_the_request_line_is_served_and_its_host_counts(gateway, target, host, status):
    """As a client sends it that takes the gateway for its proxy."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as talk:
        talk.sendall(f"GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        assert int(talk.makefile("rb").readline().split()[1]) == status


EARLIER = """\
  earlier: {primary: openai/gpt-6.1-sol, fallbacks: [anthropic/claude-sonnet-5-5, google/gemini-3.8-flash]}
models: {openai/gpt-6.1-sol: {endpoint: responses}}
"""


@pytest.mark.parametrize("more", [{"previous_response_id": "resp_1"}, {"store": True}, {"background": True}])
def test_what_only_one_target_has_stored_goes_to_that_target_alone(tmp_path, simulator, more):
    body = {"model": "earlier", "input": "hi", "max_output_tokens": 50, **more}
    with run_gateway(tmp_path, simulator, EARLIER) as own:
        assert own.post("/v1/responses", body).headers["x-llmfail-target"] == "openai/gpt-6.1-sol"
        assert simulator.requests[-1].document == {**body, "model": "gpt-6.1-sol"}
        simulator.set_faults(parse_faults("openai=503"))
        before = len(simulator.requests)
        assert own.post("/v1/responses", body).status == 503
        assert [one.target for one in simulator.requests[before:]] == ["openai/gpt-6.1-sol"]
        assert own.post("/v1/responses", {"model": "earlier", "input": "hi"}).status == 200
