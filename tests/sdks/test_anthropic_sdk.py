"""Anthropic's own SDK reads what the simulator says, and its requests lose nothing in the canonical form."""

import anthropic
import pytest
from pydantic import BaseModel
from request_round_trips import write_again

from llmfail.core.model import Endpoint

MODEL = "claude-sonnet-5-5"
ENDPOINT = Endpoint("anthropic", "https://api.anthropic.com", MODEL, None, vendor="anthropic")
PROMPT = [{"role": "user", "content": "Weather in Rome?"}]
ANSWER = f"Hello from anthropic/{MODEL} (simulated). You said: Weather in Rome?"
ARGUMENTS = {"city": "simulated"}
BASICS = {"model": MODEL, "max_tokens": 2048}
EPHEMERAL = {"type": "ephemeral"}


class Weather(BaseModel):
    """The weather of a city."""

    city: str


TOOLS = [{"name": "weather", "description": "Of a city.", "input_schema": Weather.model_json_schema()}]


@pytest.fixture
def client(simulator):
    url = simulator.base_url("anthropic")
    with anthropic.Anthropic(api_key="made-up", base_url=url, max_retries=0) as client:
        yield client


def ask(client, *, streamed, **request):
    if not streamed:
        return client.messages.create(**BASICS, **request)
    with client.messages.stream(**BASICS, **request) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_text_is_read_with_its_usage(client, streamed):
    answer = ask(client, streamed=streamed, messages=PROMPT)
    assert [block.text for block in answer.content] == [ANSWER]
    assert answer.stop_reason == "end_turn"
    assert min(answer.usage.input_tokens, answer.usage.output_tokens) > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_thought_and_a_call_of_a_tool_are_read(client, streamed):
    answer = ask(client, streamed=streamed, messages=PROMPT, tools=TOOLS)
    assert answer.stop_reason == "tool_use"
    thought, text, call = answer.content
    assert (thought.thinking, bool(thought.signature)) == ("The tools will tell.", True)
    assert (text.text, call.name, call.input) == ("I look.", "weather", ARGUMENTS)


def test_a_structured_answer_is_an_object(client):
    answer = client.messages.parse(**BASICS, messages=PROMPT, output_format=Weather)
    assert answer.parsed_output == Weather(**ARGUMENTS)


def test_tokens_are_counted(client):
    assert client.messages.count_tokens(model=MODEL, messages=PROMPT).input_tokens == 4


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("400", anthropic.BadRequestError, 400),
        ("401", anthropic.AuthenticationError, 401),
        ("403", anthropic.PermissionDeniedError, 403),
        ("404", anthropic.NotFoundError, 404),
        ("429:7", anthropic.RateLimitError, 429),
        ("billing", anthropic.BadRequestError, 400),
        ("500", anthropic.InternalServerError, 500),
        ("529", anthropic.APIStatusError, 529),
    ],
)
def test_an_error_is_the_one_of_its_family(client, play_faults, fault, kind, status):
    play_faults(f"anthropic={fault}")
    with pytest.raises(kind) as caught:
        client.messages.create(**BASICS, messages=PROMPT)
    assert caught.value.status_code == status
    assert caught.value.request_id
    if ":" in fault:
        assert caught.value.response.headers["retry-after"] == "7"


IMAGES = [
    {"type": "image", "source": {"type": "url", "url": "https://a.example/a.png"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
]
PDF = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
    "title": "A paper",
    "citations": {"enabled": True},
    "cache_control": EPHEMERAL,
}
CALLS = [{"type": "tool_use", "id": f"toolu_{n}", "name": "weather", "input": {"city": n}} for n in "ab"]
RESULTS = [
    {
        "type": "tool_result",
        "tool_use_id": "toolu_a",
        "content": [{"type": "text", "text": "So:"}, IMAGES[1]],
    },
    {"type": "tool_result", "tool_use_id": "toolu_b", "content": "Nothing is known.", "is_error": True},
]
REQUESTS = {
    "text": {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": EPHEMERAL}],
        "messages": PROMPT,
        "extra_body": {"temperature": 0.5, "top_k": 5},  # newer SDKs have no parameters for them
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
        "service_tier": "standard_only",
    },
    "tools": {
        "messages": [*PROMPT, {"role": "assistant", "content": CALLS}, {"role": "user", "content": RESULTS}],
        "tools": [
            {**TOOLS[0], "cache_control": EPHEMERAL, "strict": True},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    },
    "images": {"messages": [{"role": "user", "content": [*IMAGES, {"type": "text", "text": "Look."}]}]},
    "pdf": {"messages": [{"role": "user", "content": [PDF, {"type": "text", "text": "Read."}]}]},
    "schema": {
        "messages": PROMPT,
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {**Weather.model_json_schema(), "additionalProperties": False},
            }
        },
    },
    "thinking": {
        "messages": PROMPT,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "high"},
    },
    "a budget of thinking": {"messages": PROMPT, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "an effort of Anthropic's own": {"messages": PROMPT, "output_config": {"effort": "xhigh"}},
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", REQUESTS)
def test_nothing_of_a_request_is_lost(client, simulator, name, streamed):
    ask(client, streamed=streamed, **REQUESTS[name])
    sent = simulator.requests[-1].document
    assert write_again(sent, ENDPOINT, stream=streamed) == sent


def test_nothing_of_a_request_for_an_object_is_lost(client, simulator):
    """The schema as the SDK makes it of a class."""
    client.messages.parse(**BASICS, messages=PROMPT, output_format=Weather)
    sent = simulator.requests[-1].document
    assert sent["output_config"]["format"]["schema"]["required"] == ["city"]
    assert write_again(sent, ENDPOINT) == sent


def test_an_answer_goes_back_as_the_sdk_read_it(client, simulator):
    """With the signature of its thought, which the simulator checks."""
    turn = client.messages.create(**BASICS, messages=PROMPT, tools=TOOLS).content
    result = {"type": "tool_result", "tool_use_id": turn[-1].id, "content": "Sunny."}
    history = [*PROMPT, {"role": "assistant", "content": turn}, {"role": "user", "content": [result]}]
    client.messages.create(**BASICS, messages=history, tools=TOOLS)
    sent = simulator.requests[-1].document
    assert write_again(sent, ENDPOINT) == sent
