"""Google's own SDK reads what the simulator says, and its requests lose nothing in the canonical form."""

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel
from request_round_trips import request_of, write_again

from llmfail.core.conversation import Attachment, Opaque, ToolCall, ToolResult
from llmfail.core.model import Endpoint
from llmfail.core.request.fitted_request import fit_request
from llmfail.providers.dialects.gemini_schema import rename_fields

MODEL = "gemini-3.8-flash"
ENDPOINT = Endpoint("gemini", "https://generativelanguage.googleapis.com", MODEL, None, vendor="google")
PROMPT = "Weather in Rome?"
ANSWER = f"Hello from google/{MODEL} (simulated). You said: {PROMPT}"
ARGUMENTS = {"city": "simulated"}


class Weather(BaseModel):
    """The weather of a city."""

    city: str


FUNCTION = types.FunctionDeclaration(
    name="weather", description="Of a city.", parameters_json_schema=Weather.model_json_schema()
)
OWN_SCHEMA = types.Schema(type="OBJECT", properties={"a_city": types.Schema(type="STRING", nullable=True)})
OWN_FUNCTION = types.FunctionDeclaration(name="time", parameters=OWN_SCHEMA)
NO_AUTOMATIC_CALLS = types.AutomaticFunctionCallingConfig(disable=True)
TOOLS = {
    "tools": [types.Tool(function_declarations=[FUNCTION])],
    "automatic_function_calling": NO_AUTOMATIC_CALLS,
}


@pytest.fixture
def client(simulator):
    options = types.HttpOptions(base_url=simulator.base_url("google"))
    with genai.Client(api_key="made-up", http_options=options) as client:
        yield client


def ask(client, contents=PROMPT, **config):
    config = types.GenerateContentConfig(**{"max_output_tokens": 99, **config})
    return client.models.generate_content(model=MODEL, contents=contents, config=config)


def stream(client, **config):
    config = types.GenerateContentConfig(**config)
    chunks = list(client.models.generate_content_stream(model=MODEL, contents=PROMPT, config=config))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    return chunks[-1], parts


def test_a_text_is_read_with_its_usage(client):
    answer = ask(client)
    assert (answer.text, answer.candidates[0].finish_reason.name) == (ANSWER, "STOP")
    usage = answer.usage_metadata
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count > 0


def test_a_streamed_text_is_the_same_text(client):
    last, parts = stream(client)
    assert "".join(part.text for part in parts) == ANSWER
    assert last.candidates[0].finish_reason.name == "STOP"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_thought_and_a_call_of_a_tool_are_read(client, streamed):
    parts = stream(client, **TOOLS)[1] if streamed else ask(client, **TOOLS).candidates[0].content.parts
    assert "".join(part.text for part in parts if part.thought) == "The tools will tell."
    call = parts[-1]
    assert (call.function_call.name, call.function_call.args) == ("weather", ARGUMENTS)
    assert call.thought_signature


@pytest.mark.parametrize(
    "schema", [{"response_schema": Weather}, {"response_json_schema": Weather.model_json_schema()}]
)
def test_a_structured_answer_is_an_object(client, schema):
    answer = ask(client, response_mime_type="application/json", **schema)
    assert Weather.model_validate_json(answer.text) == Weather(**ARGUMENTS)


def test_tokens_are_counted(client):
    assert client.models.count_tokens(model=MODEL, contents=PROMPT).total_tokens == 4


@pytest.mark.parametrize(
    ("fault", "kind", "code", "status"),
    [
        ("400", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("401", errors.ClientError, 401, "UNAUTHENTICATED"),
        ("403", errors.ClientError, 403, "PERMISSION_DENIED"),
        ("404", errors.ClientError, 404, "NOT_FOUND"),
        ("429:7", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("500", errors.ServerError, 500, "INTERNAL"),
        ("503", errors.ServerError, 503, "UNAVAILABLE"),
    ],
)
def test_an_error_is_the_one_of_its_family(client, play_faults, fault, kind, code, status):
    play_faults(f"google={fault}")
    with pytest.raises(kind) as caught:
        ask(client)
    assert (caught.value.code, caught.value.status) == (code, status)


def say(role, *parts):
    return types.Content(role=role, parts=[types.Part(**part) for part in parts])


IMAGE = {"inline_data": types.Blob(data=b"\xfb\xff\xbe", mime_type="image/png")}
PDF = {"inline_data": types.Blob(data=b"%PDF-", mime_type="application/pdf")}
SIGNED_CALL = {
    "function_call": types.FunctionCall(name="weather", args={"a_city": "a"}),
    "thought_signature": b"gemini.b8197488a23497107c80cbca3d2c4d384ead068f",
}
CALL = {"function_call": types.FunctionCall(id="own", name="weather", args={"a_city": "b"})}
RESULTS = [
    {"function_response": types.FunctionResponse(name="weather", response={"result": "Sunny."})},
    {"function_response": types.FunctionResponse(id="own", name="weather", response={"a_b": {"c_d": 1}})},
]
CHOICE = {"mode": "ANY", "allowed_function_names": ["weather"]}
REQUESTS = {
    "text": (
        [
            say("user", {"text": "One."}, {"text": "Two."}),
            say("model", {"text": "Yes."}),
            say("user", {"text": "?"}),
        ],
        {
            "system_instruction": "Be brief.",
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "seed": 7,
            "stop_sequences": ["END"],
            "safety_settings": [
                types.SafetySetting(category="HARM_CATEGORY_HATE_SPEECH", threshold="BLOCK_NONE")
            ],
        },
    ),
    "tools": (
        [say("user", {"text": "?"}), say("model", SIGNED_CALL, CALL), say("user", *RESULTS)],
        {
            "tools": [types.Tool(function_declarations=[FUNCTION, OWN_FUNCTION])],
            "tool_config": types.ToolConfig(function_calling_config=CHOICE),
            "automatic_function_calling": NO_AUTOMATIC_CALLS,
        },
    ),
    "a tool of Google's own": (PROMPT, {"tools": [types.Tool(google_search=types.GoogleSearch())]}),
    "images": ([say("user", IMAGE, {"text": "Look."})], {}),
    "a file by its address": (
        [say("user", {"file_data": types.FileData(file_uri="gs://a/b.png", mime_type="image/png")})],
        {},
    ),
    "pdf": ([say("user", PDF, {"text": "Read."})], {}),
    "schema": (
        PROMPT,
        {"response_mime_type": "application/json", "response_json_schema": Weather.model_json_schema()},
    ),
    "a schema of Google's own": (
        PROMPT,
        {"response_mime_type": "application/json", "response_schema": OWN_SCHEMA},
    ),
    "json": (PROMPT, {"response_mime_type": "application/json"}),
    "thinking": (
        PROMPT,
        {"thinking_config": types.ThinkingConfig(thinking_level="LOW", include_thoughts=True)},
    ),
    "a budget of thinking": (PROMPT, {"thinking_config": types.ThinkingConfig(thinking_budget=1024)}),
    "logprobs": (PROMPT, {"response_logprobs": True, "logprobs": 2}),
}


def as_google_reads_it(document):
    """Either spelling of names and either alphabet of base64; a system instruction has no role."""
    document = rename_fields(document)
    document.get("systemInstruction", {}).pop("role", None)
    for content in document["contents"]:
        for part in content["parts"]:
            if "inlineData" in part:
                data = part["inlineData"]["data"]
                part["inlineData"]["data"] = data.replace("-", "+").replace("_", "/")
    return document


@pytest.mark.parametrize("name", REQUESTS)
def test_nothing_of_a_request_is_lost(client, simulator, name):
    contents, config = REQUESTS[name]
    ask(client, contents, **config)
    sent = simulator.requests[-1].document
    assert write_again(sent, ENDPOINT) == as_google_reads_it(sent)


def test_an_answer_goes_back_as_the_sdk_read_it(client, simulator):
    """With the signature of its call, which the simulator checks."""
    turn = ask(client, **TOOLS).candidates[0].content
    ask(client, [say("user", {"text": PROMPT}), turn, say("user", RESULTS[0])], **TOOLS)
    sent = simulator.requests[-1].document
    assert write_again(sent, ENDPOINT) == as_google_reads_it(sent)


def test_other_vendors_read_the_files_schemas_and_calls_of_a_request(client, simulator):
    contents, config = REQUESTS["tools"]
    ask(client, [*contents, say("user", IMAGE)], **config, response_mime_type="application/json")
    request = request_of(simulator.requests[-1].document)
    parts = [part for message in request.messages for part in message.parts]
    calls = [part.id for part in parts if isinstance(part, ToolCall)]
    assert calls == [part.call_id for part in parts if isinstance(part, ToolResult)]
    assert [part.data for part in parts if isinstance(part, Attachment)] == [b"\xfb\xff\xbe"]
    assert not any(isinstance(part, Opaque) for part in parts)
    own = {"type": "object", "properties": {"a_city": {"type": ["string", "null"]}}}
    assert request.tools[1].parameters == own
    claude = Endpoint("anthropic", "https://a.example", "claude-sonnet-5-5", None, vendor="anthropic")
    assert fit_request(request, claude).unsuited == ""
