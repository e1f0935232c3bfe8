"""OpenAI's own SDK reads what the simulator says, and its requests lose nothing in the canonical form."""

import json

import openai
import pytest
from pydantic import BaseModel
from request_round_trips import write_again

from llmfail.core.model import Endpoint

MODEL = "gpt-6.1-terra"
ENDPOINT = Endpoint("openai", "https://api.openai.com/v1", MODEL, None, vendor="openai")
PROMPT = [{"role": "user", "content": "Weather in Rome?"}]
ANSWER = f"Hello from openai/{MODEL} (simulated). You said: Weather in Rome?"
ARGUMENTS = {"city": "simulated"}


class Weather(BaseModel):
    """Asks for the weather of a city."""

    city: str


TOOLS = [openai.pydantic_function_tool(Weather, name="weather")]
RESPONSES_TOOLS = [{"type": "function", **TOOLS[0]["function"]}]


@pytest.fixture
def client(simulator):
    with openai.OpenAI(api_key="made-up", base_url=simulator.base_url("openai"), max_retries=0) as client:
        yield client


def test_chat_a_text_is_read_with_its_usage(client):
    answer = client.chat.completions.create(model=MODEL, messages=PROMPT)
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_chat_a_streamed_text_is_the_same_text(client):
    with client.chat.completions.stream(
        model=MODEL, messages=PROMPT, stream_options={"include_usage": True}
    ) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_chat_a_call_of_a_tool_is_read(client, streamed):
    if streamed:
        with client.chat.completions.stream(model=MODEL, messages=PROMPT, tools=TOOLS) as stream:
            choice = stream.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(model=MODEL, messages=PROMPT, tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)


def test_chat_a_structured_answer_is_an_object(client):
    answer = client.chat.completions.parse(model=MODEL, messages=PROMPT, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(**ARGUMENTS)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_responses_a_text_is_read(client, streamed):
    if streamed:
        with client.responses.stream(model=MODEL, input=PROMPT) as stream:
            assert "".join(one.delta for one in stream if one.type == "response.output_text.delta") == ANSWER
            answer = stream.get_final_response()
    else:
        answer = client.responses.create(model=MODEL, input=PROMPT)
    assert (answer.output_text, answer.status) == (ANSWER, "completed")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_responses_a_call_of_a_tool_is_read(client, streamed):
    request = {"model": MODEL, "input": PROMPT, "tools": RESPONSES_TOOLS}
    if streamed:
        with client.responses.stream(**request) as stream:
            answer = stream.get_final_response()
    else:
        answer = client.responses.create(**request)
    assert [item.type for item in answer.output] == ["reasoning", "message", "function_call"]
    call = answer.output[-1]
    assert (call.name, json.loads(call.arguments)) == ("weather", ARGUMENTS)


def test_responses_a_structured_answer_is_an_object(client):
    assert client.responses.parse(model=MODEL, input="Hi", text_format=Weather).output_parsed == Weather(
        **ARGUMENTS
    )


def test_an_embedding_is_read(client):
    found = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [len(one.embedding) for one in found.data] == [8, 8]


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("400", openai.BadRequestError, "invalid_value"),
        ("401", openai.AuthenticationError, "invalid_api_key"),
        ("403", openai.PermissionDeniedError, "unsupported_country_region_territory"),
        ("404", openai.NotFoundError, "model_not_found"),
        ("429:7", openai.RateLimitError, "rate_limit_exceeded"),
        ("billing", openai.RateLimitError, "insufficient_quota"),
        ("500", openai.InternalServerError, None),
        ("503", openai.InternalServerError, "server_is_overloaded"),
    ],
)
def test_an_error_is_the_one_of_its_family(client, play_faults, fault, kind, code):
    play_faults(f"openai={fault}")
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=MODEL, messages=PROMPT)
    assert caught.value.code == code
    assert caught.value.request_id
    if ":" in fault:
        assert caught.value.response.headers["retry-after"] == "7"


CALLS = [
    {"id": f"call_{n}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city":"{n}"}}'}}
    for n in "ab"
]
RESULTS = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "Sunny."} for n in "ab"]
IMAGES = [
    {"type": "image_url", "image_url": {"url": "https://a.example/a.png", "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
]
PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}
REQUESTS = {
    "text": {
        "messages": [{"role": "developer", "content": "Be brief."}, *PROMPT],
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "logprobs": True,
        "top_logprobs": 2,
        "metadata": {"team": "a"},
        "store": False,
    },
    "tools": {
        "messages": [*PROMPT, {"role": "assistant", "content": None, "tool_calls": CALLS}, *RESULTS],
        "tools": TOOLS,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
    },
    "images": {"messages": [{"role": "user", "content": [*IMAGES, {"type": "text", "text": "Look."}]}]},
    "pdf": {"messages": [{"role": "user", "content": [PDF, {"type": "text", "text": "Read."}]}]},
    "schema": {
        "messages": PROMPT,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "out", "schema": Weather.model_json_schema(), "strict": False},
        },
    },
    "json": {"messages": PROMPT, "response_format": {"type": "json_object"}},
    "thinking": {"messages": PROMPT, "reasoning_effort": "high", "verbosity": "low"},
    "an effort of OpenAI's own": {"messages": PROMPT, "reasoning_effort": "minimal"},
    "stream": {"messages": PROMPT, "stream": True, "stream_options": {"include_usage": True}},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_nothing_of_a_request_is_lost(client, simulator, name):
    answer = client.chat.completions.create(model=MODEL, max_completion_tokens=99, **REQUESTS[name])
    if "stream" in REQUESTS[name]:
        answer.close()
    sent = simulator.requests[-1].document
    assert write_again(sent, ENDPOINT, stream=sent.get("stream", False)) == {"stream": False, **sent}


def test_nothing_of_a_request_for_an_object_is_lost(client, simulator):
    """The schema as the SDK makes it of a class."""
    client.chat.completions.parse(
        model=MODEL, max_completion_tokens=99, messages=PROMPT, response_format=Weather
    )
    sent = simulator.requests[-1].document
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert write_again(sent, ENDPOINT) == sent


def test_an_answer_goes_back_as_the_sdk_read_it(client, simulator):
    """Fields that are null, and blanks in the arguments of a call, say nothing."""
    turn = client.chat.completions.create(model=MODEL, messages=PROMPT, tools=TOOLS).choices[0].message
    result = {"role": "tool", "tool_call_id": turn.tool_calls[0].id, "content": "Sunny."}
    client.chat.completions.create(
        model=MODEL, messages=[*PROMPT, turn, result], tools=TOOLS, max_completion_tokens=99
    )
    sent = simulator.requests[-1].document
    answer = {name: value for name, value in sent["messages"][1].items() if value is not None}
    (call,) = answer["tool_calls"]
    compact = json.dumps(json.loads(call["function"]["arguments"]), separators=(",", ":"))
    call["function"]["arguments"] = compact
    messages = [sent["messages"][0], answer, sent["messages"][2]]
    assert write_again(sent, ENDPOINT) == {"stream": False, **sent, "messages": messages}
