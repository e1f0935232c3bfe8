"""What goes on the wire, whole bodies and headers, in every format."""

import json

import pytest

from llmfail.core.conversation import Attachment, Message, message_of
from llmfail.core.errors import UnsupportedRequest, UsageError
from llmfail.core.model import Call, Endpoint, Request, Secret
from llmfail.providers import load_wire_format
from llmfail.providers.encoding import require_size

VERTEX = "https://aiplatform.googleapis.com/v1/projects/p1/locations/global/publishers/google/models"
EUROPE = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p1/locations/europe-west4/publishers"
EU = "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/p1/locations/eu/publishers/google/models"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
PNG = Attachment("dot.png", "image/png", b"\x89PNG")
NOTES = Attachment('a "b".txt', "text/plain", b"\xef\xbb\xbfline\n")
CODE = Attachment("x.py", "text/x-python", "ü = 1".encode())
PLAIN = Request((Message("user", "Hello"),), max_tokens=9)
FULL = Request(
    (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "Go on")),
    system="Be brief",
    max_tokens=9,
    temperature=0.0,
    stop=("END",),
    schema=SCHEMA,
)
SEEN = Request((message_of("user", "What is this?", (PNG, NOTES, CODE)),), max_tokens=9)
ONLY_IMAGE = Request((message_of("user", "", (PNG,)),), max_tokens=9)
INLINED = (
    '<file name="a &quot;b&quot;.txt">\nline\n</file>\n\n<file name="x.py">\nü = 1\n</file>\n\nWhat is this?'
)
ALL_QUIRKS = frozenset({"temperature", "stop", "schema", "max_tokens", "stream_options"})
HOSTS = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
    "vertex": "",
}


def endpoint(api, model="m", key="k", **more):
    fields = {"base_url": HOSTS[api], "project": "p1", **more}
    return Endpoint(api=api, model=model, key=Secret(key) if key else None, **fields)


def encode(request, to, **how):
    call = load_wire_format(to.api).encode(request, to, **how)
    assert call.method == "POST"
    assert call.headers["content-type"] == "application/json"
    return call


def body(request, to, **how):
    return json.loads(encode(request, to, **how).body)


ANTHROPIC_FULL = {
    "max_tokens": 9,
    "system": "Be brief",
    "messages": [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Go on"},
    ],
    "temperature": 0.0,
    "stop_sequences": ["END"],
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}
OPENAI_MESSAGES = [
    {"role": "system", "content": "Be brief"},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Go on"},
]
OPENAI_FULL = {
    "model": "m",
    "messages": OPENAI_MESSAGES,
    "max_completion_tokens": 9,
    "temperature": 0.0,
    "stop": ["END"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
    "stream": False,
}
GEMINI_CONTENTS = [
    {"role": "user", "parts": [{"text": "Hello"}]},
    {"role": "model", "parts": [{"text": "Hi"}]},
    {"role": "user", "parts": [{"text": "Go on"}]},
]
GEMINI_FULL = {
    "systemInstruction": {"parts": [{"text": "Be brief"}]},
    "contents": GEMINI_CONTENTS,
    "generationConfig": {
        "maxOutputTokens": 9,
        "temperature": 0.0,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    },
}
CLAUDE = {"anthropic_version": "vertex-2023-10-16"}


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (endpoint("anthropic"), {"model": "m", **ANTHROPIC_FULL}),
        (endpoint("openai"), OPENAI_FULL),
        (endpoint("gemini"), GEMINI_FULL),
        (endpoint("vertex", "gemini-3.8-flash"), GEMINI_FULL),
        (endpoint("vertex", "claude-haiku-4-5@20251001"), {**CLAUDE, **ANTHROPIC_FULL}),
    ],
    ids=["anthropic", "openai", "gemini", "vertex", "claude on vertex"],
)
def test_a_request_with_everything_is_written_in_the_words_of_the_format(to, expected):
    assert body(FULL, to) == expected


USER = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (endpoint("anthropic"), {"model": "m", "max_tokens": 9, "messages": USER}),
        (endpoint("openai"), {"model": "m", "messages": USER, "max_completion_tokens": 9, "stream": False}),
        (
            endpoint("gemini"),
            {
                "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
                "generationConfig": {"maxOutputTokens": 9},
            },
        ),
    ],
    ids=["anthropic", "openai", "gemini"],
)
def test_what_is_not_set_is_not_sent(to, expected):
    assert body(PLAIN, to) == expected


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (
            endpoint("anthropic", dropped_parameters=ALL_QUIRKS),
            {
                "model": "m",
                "max_tokens": 9,
                "system": "Be brief",
                "messages": ANTHROPIC_FULL["messages"],
                "stream": True,
            },
        ),
        (
            endpoint("openai", dropped_parameters=ALL_QUIRKS),
            {"model": "m", "messages": OPENAI_MESSAGES, "max_tokens": 9, "stream": True},
        ),
        (
            endpoint("gemini", dropped_parameters=ALL_QUIRKS),
            {"systemInstruction": {"parts": [{"text": "Be brief"}]}, "contents": GEMINI_CONTENTS},
        ),
    ],
    ids=["anthropic", "openai", "gemini"],
)
def test_every_quirk_leaves_its_parameter_out_or_gives_it_its_other_name(to, expected):
    assert body(FULL, to, stream=True) == expected


@pytest.mark.parametrize(
    ("base_url", "cap", "stream_options"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens", True),
        ("https://api.groq.com/openai/v1/", "max_completion_tokens", True),
        ("https://openrouter.ai/api/v1", "max_tokens", True),
        ("https://api.deepseek.com", "max_tokens", True),
        ("https://api.mistral.ai/v1", "max_tokens", False),
        ("https://api.together.ai/v1", "max_tokens", False),
        ("https://api.together.xyz/v1", "max_tokens", False),
        ("https://api.ai21.com/studio/v1", "max_tokens", False),
        ("https://api.x.ai/v1", "max_tokens", True),
        ("http://localhost:11434/v1", "max_tokens", True),
    ],
)
def test_a_compatible_host_gets_the_cap_and_the_stream_options_it_knows(base_url, cap, stream_options):
    to = endpoint("openai", base_url=base_url)
    written = body(PLAIN, to, stream=True)
    assert {"max_tokens", "max_completion_tokens"} & set(written) == {cap}
    assert written["stream"] is True
    assert written.get("stream_options") == ({"include_usage": True} if stream_options else None)
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[cap]
    swapped = body(PLAIN, endpoint("openai", base_url=base_url, dropped_parameters=frozenset({"max_tokens"})))
    assert {"max_tokens", "max_completion_tokens"} & set(swapped) == {other}


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (
            endpoint("anthropic"),
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
                    },
                    {"type": "text", "text": INLINED},
                ],
            },
        ),
        (
            endpoint("openai"),
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                    {"type": "text", "text": INLINED},
                ],
            },
        ),
        (
            endpoint("gemini"),
            {
                "role": "user",
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
                    {"text": INLINED},
                ],
            },
        ),
    ],
    ids=["anthropic", "openai", "gemini"],
)
def test_images_go_as_base64_and_text_files_inside_the_prompt(to, message):
    written = body(SEEN, to)
    assert written.get("messages", written.get("contents")) == [message]
    alone = body(ONLY_IMAGE, to)
    (only,) = alone.get("messages", alone.get("contents"))
    assert len(only.get("content", only.get("parts"))) == 1


@pytest.mark.parametrize("api", ["anthropic", "openai", "gemini", "vertex"])
def test_a_text_file_that_is_not_text_is_a_usage_error_that_names_it(api):
    broken = Attachment("notes.bin", "text/plain", b"ab\xff")
    request = Request((message_of("user", "x", (broken,)),))
    with pytest.raises(UsageError, match=r"notes\.bin: byte 2"):
        encode(request, endpoint(api))


@pytest.mark.parametrize("api", ["anthropic", "openai", "gemini", "vertex"])
def test_a_broken_character_in_a_prompt_does_not_stop_it(api):
    request = Request((Message("user", "ü\ud800é"),))
    assert "ü?é".encode() in encode(request, endpoint(api)).body


@pytest.mark.parametrize("api", ["anthropic", "openai", "gemini", "vertex"])
def test_the_body_is_compact_and_always_the_same(api):
    first, second = (encode(FULL, endpoint(api)).body for _ in range(2))
    assert first == second
    assert b": " not in first
    assert b", " not in first


@pytest.mark.parametrize(
    ("to", "url", "headers"),
    [
        (
            endpoint("anthropic"),
            "https://api.anthropic.com/v1/messages",
            {"x-api-key": "k", "anthropic-version": "2023-06-01"},
        ),
        (
            endpoint("anthropic", api_version="2026-10-21", base_url="http://h/"),
            "http://h/v1/messages",
            {"x-api-key": "k", "anthropic-version": "2026-10-21"},
        ),
        (
            endpoint("anthropic", key=None),
            "https://api.anthropic.com/v1/messages",
            {"anthropic-version": "2023-06-01"},
        ),
        (endpoint("openai"), "https://api.openai.com/v1/chat/completions", {"authorization": "Bearer k"}),
        (
            endpoint("openai", key=None, base_url="http://localhost:11434/v1/"),
            "http://localhost:11434/v1/chat/completions",
            {},
        ),
        (
            endpoint("gemini", "gemini-3.8-flash"),
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3.8-flash:generateContent",
            {"x-goog-api-key": "k"},
        ),
        (
            endpoint("gemini", "models/a b", api_version="v1", base_url="http://h", key=None),
            "http://h/v1/models/a%20b:generateContent",
            {},
        ),
        (
            endpoint("vertex", "gemini-3.8-flash"),
            f"{VERTEX}/gemini-3.8-flash:generateContent",
            {"authorization": "Bearer k"},
        ),
        (
            endpoint("vertex", "claude-haiku-4-5@20251001", location="europe-west4", key=None),
            f"{EUROPE}/anthropic/models/claude-haiku-4-5@20251001:rawPredict",
            {},
        ),
        (
            endpoint("vertex", "m", location="eu", api_version="v1beta1"),
            f"{EU}/m:generateContent",
            {"authorization": "Bearer k"},
        ),
        (
            endpoint("vertex", "m", base_url="http://127.0.0.1:9/", location="us"),
            "http://127.0.0.1:9/v1/projects/p1/locations/us/publishers/google/models/m:generateContent",
            {"authorization": "Bearer k"},
        ),
    ],
)
def test_the_url_and_the_headers_of_a_call(to, url, headers):
    call = encode(PLAIN, to)
    assert call.url == url
    assert dict(call.headers) == {**headers, "content-type": "application/json"}


@pytest.mark.parametrize(
    ("to", "end"),
    [
        (endpoint("gemini"), ":streamGenerateContent?alt=sse"),
        (endpoint("vertex"), "/google/models/m:streamGenerateContent?alt=sse"),
        (endpoint("vertex", "claude-x"), "/anthropic/models/claude-x:streamRawPredict"),
    ],
)
def test_google_has_other_urls_for_streams(to, end):
    assert encode(PLAIN, to, stream=True).url.endswith(end)
    assert ("stream" in body(PLAIN, to, stream=True)) == ("claude" in to.model)


def test_a_key_never_stands_in_a_url_a_body_or_a_repr():
    for api in HOSTS:
        call = encode(FULL, endpoint(api, key="top-secret"), stream=True)
        assert "top-secret" not in call.url
        assert b"top-secret" not in call.body
        assert "top-secret" not in repr(call)


def test_vertex_without_a_project_is_a_usage_error_that_says_what_to_set():
    with pytest.raises(UsageError, match="GOOGLE_CLOUD_PROJECT"):
        encode(PLAIN, endpoint("vertex", project=None))


@pytest.mark.parametrize(
    ("to", "end", "expected"),
    [
        (
            endpoint("openai"),
            "/v1/embeddings",
            {"model": "m", "input": ["a", "b"], "encoding_format": "float"},
        ),
        (
            endpoint("gemini"),
            "/v1beta/models/m:batchEmbedContents",
            {
                "requests": [
                    {"model": "models/m", "content": {"parts": [{"text": "a"}]}},
                    {"model": "models/m", "content": {"parts": [{"text": "b"}]}},
                ]
            },
        ),
        (endpoint("vertex"), "/models/m:predict", {"instances": [{"content": "a"}, {"content": "b"}]}),
    ],
    ids=["openai", "gemini", "vertex"],
)
def test_texts_go_out_to_be_embedded(to, end, expected):
    call = load_wire_format(to.api).encode_embedding(["a", "b"], to)
    assert call.url.endswith(end)
    assert json.loads(call.body) == expected


@pytest.mark.parametrize(
    ("to", "found"),
    [
        (endpoint("openai"), lambda body: body["dimensions"]),
        (endpoint("gemini"), lambda body: body["requests"][1]["outputDimensionality"]),
        (endpoint("vertex"), lambda body: body["parameters"]["outputDimensionality"]),
    ],
    ids=["openai", "gemini", "vertex"],
)
def test_how_long_a_vector_shall_be_is_said_in_the_words_of_the_wire(to, found):
    call = load_wire_format(to.api).encode_embedding(["a", "b"], to, 256)
    assert found(json.loads(call.body)) == 256


def test_anthropic_has_no_embeddings():
    with pytest.raises(UsageError, match="no embeddings"):
        load_wire_format("anthropic").encode_embedding(["a"], endpoint("anthropic"))


@pytest.mark.parametrize("api", ["anthropic", "vertex"])
def test_f2_an_image_that_anthropic_would_refuse_is_not_sent(api):
    model = "claude-sonnet-5-5"
    for size, fits in ((3_900_000, True), (3_950_000, False)):
        image = Attachment("a.png", "image/png", bytes(size))
        request = Request((message_of("user", "look", (image,)),))
        target = endpoint(api, model, project="p", location="global")
        if fits:
            load_wire_format(api).encode(request, target)
        else:
            with pytest.raises(UnsupportedRequest, match=r"a\.png has 5"):
                load_wire_format(api).encode(request, target)


def test_f2_a_request_that_a_vendor_would_refuse_for_its_size_is_not_sent():
    with pytest.raises(UnsupportedRequest, match="33 MiB, and 32 MiB are taken"):
        require_size(Call("POST", "https://x", {}, bytes(33 << 20)), "anthropic")
    require_size(Call("POST", "https://x", {}, bytes(33 << 20)), "openai")
