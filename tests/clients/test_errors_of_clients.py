"""R7 and R8: what goes wrong is the exception that a client's own API would raise, and nobody's retries
multiply those of the chain.
"""

import json

import pytest
from running_gateway import run_gateway
from scripted_streams import ERROR, STALL

from llmfail.core.model import Reply
from llmfail.simulator.faults import parse_faults

SDKS = (
    "python openai",
    "python responses",
    "python anthropic",
    "python google",
    "node openai",
    "node responses",
    "node anthropic",
    "node google",
)
EVERY_SDK = pytest.mark.parametrize("client", SDKS)
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def raised(said):
    """The status of the error, and the names of its classes."""
    assert "error" in said, said
    return said["error"]["status"], said["error"]["classes"], said["error"]["message"]


def expect(client, said, status, openai_class):
    """OpenAI and Anthropic have one name for a class, in Python and in Node; Google tells hundreds apart."""
    found, classes, message = raised(said)
    assert found == status, said
    if client == "python google":
        assert ("ClientError" if status < 500 else "ServerError") in classes
    elif client == "node google":
        assert "ApiError" in classes
    else:
        assert openai_class in classes, said
    return message


@EVERY_SDK
def test_a_wrong_key_is_an_authentication_error(ask, client):
    said = ask(client, "text", model="to-chat", key="made-up-key-of-nobody", retries=0)
    expect(client, said, 401, "AuthenticationError")


@STREAMED
@EVERY_SDK
def test_a_model_that_nobody_knows_is_not_found_and_the_nearest_is_named(ask, client, stream):
    said = ask(client, "text", model="to-chatt", stream=stream, retries=0)
    assert "to-chat" in expect(client, said, 404, "NotFoundError")


@STREAMED
@EVERY_SDK
def test_a_request_at_fault_is_a_bad_request_in_the_words_of_the_provider(ask, simulator, client, stream):
    simulator.set_faults(parse_faults("all=400"))
    for wire in ("anthropic", "chat", "responses", "gemini"):
        said = ask(client, "text", model=f"to-{wire}", stream=stream, retries=0)
        expect(client, said, 400, "BadRequestError")


@STREAMED
@EVERY_SDK
def test_when_all_are_down_it_is_a_503_after_one_request_to_each(ask, simulator, client, stream):
    """With the SDK's own retries as it has them."""
    simulator.set_faults(parse_faults("all=503"))
    before = simulator.count()
    said = ask(client, "text", model="chain", stream=stream)
    expect(client, said, 503, "InternalServerError")
    assert simulator.count() - before == 3


@EVERY_SDK
def test_a_refused_key_of_the_gateway_s_own_is_never_a_401(ask, simulator, client):
    simulator.set_faults(parse_faults("groq=auth"))
    said = ask(client, "text", model="refused")
    expect(client, said, 503, "InternalServerError")


@EVERY_SDK
def test_what_costs_too_much_is_a_402_that_nobody_repeats(ask, simulator, client):
    before = simulator.count()
    said = ask(client, "text", model="dear")
    expect(client, said, 402, "APIStatusError" if client.startswith("python") else "APIError")
    assert simulator.count() == before


@EVERY_SDK
def test_what_is_queued_is_a_503_that_nobody_repeats(ask, gateway, streams, client):
    """It would be queued again each time."""
    streams.plays("openai", [ERROR])
    before = streams.count()
    message = expect(client, ask(client, "text", model="queued"), 503, "InternalServerError")
    assert "kept in the queue as" in message
    assert streams.count() - before == 1
    assert gateway.newest_receipt()["queued"] in message


@pytest.mark.parametrize("client", ["python openai", "node anthropic", "node google"])
def test_a_deadline_that_passed_is_a_504_that_nobody_repeats(ask, streams, client):
    streams.plays("openai", [STALL])
    before = streams.count()
    said = ask(client, "text", model="hurried")
    expect(client, said, 504, "InternalServerError")
    assert streams.count() - before == 1


TOO_LONG_FOR_CLAUDE = "prompt is too long: 210000 tokens > 200000 maximum"
TOO_LONG_FOR_GPT = (
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens. "
    "Please reduce the length of the messages."
)
TOO_LONG_FOR_GEMINI = (
    "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576)."
)
CODE = "context_length_exceeded"
OVERFLOWS = {
    "anthropic": {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": TOO_LONG_FOR_CLAUDE},
    },
    "chat": {"error": {"message": TOO_LONG_FOR_GPT, "type": "invalid_request_error", "code": CODE}},
    "gemini": {"error": {"code": 400, "message": TOO_LONG_FOR_GEMINI, "status": "INVALID_ARGUMENT"}},
}
"""What vendors say to a prompt that is too long."""


@pytest.mark.parametrize("wire", OVERFLOWS)
@EVERY_SDK
def test_a_context_that_is_too_small_is_told_in_the_words_of_the_client_s_api(ask, simulator, client, wire):
    simulator.set_answer(lambda _: reply_with(OVERFLOWS[wire]))
    said = ask(client, "text", model=f"to-{wire}", retries=0)
    message = expect(client, said, 400, "BadRequestError")
    if client.endswith(("openai", "responses")):
        assert said["error"]["code"] == CODE, said
    elif client.endswith("anthropic"):
        assert "prompt is too long" in message, said
    else:
        assert "exceeds the maximum number of tokens" in message, said


def reply_with(document, status=400):
    return Reply(status, {"content-type": "application/json"}, json.dumps(document).encode())


LIMITED = """\
models:
  google/gemini-3.8-flash: {price: {input: 1, output: 1000000}}
budgets: [{name: of-keys, limit: 50, per: day, each: key}]
serve:
  keys:
    - {name: seldom, key: key-that-asks-seldom, limits: {requests_per_minute: 1, burst: 1}}
    - {name: often, key: key-that-asks-often, limits: {requests_per_minute: 60, burst: 1}}
    - {name: much, key: key-that-says-much, limits: {tokens_per_minute: 1}}
"""


@pytest.fixture
def limited(tmp_path, providers):
    with run_gateway(tmp_path, providers[0], LIMITED) as running:
        yield running


@EVERY_SDK
@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("key-that-asks-seldom", "has asked as often as it may"),
        ("key-that-says-much", "has used as many tokens as it may"),
    ],
)
def test_a_key_at_its_limit_is_told_when_it_may_ask_again(ask, limited, client, key, told):
    """So long no SDK waits by itself."""
    asked = {"model": "chat", "base": limited.url, "key": key}
    assert "error" not in ask(client, "text", **asked)
    said = ask(client, "text", **asked)
    assert told in expect(client, said, 429, "RateLimitError")
    if client != "node google":  # whose errors have no headers
        assert int(said["error"]["retry_after"]) > 30
    assert [line["status"] for line in limited.log] == [200, 429]


@pytest.mark.parametrize("client", ["python openai", "python anthropic", "node openai", "node anthropic"])
def test_a_key_that_may_ask_again_in_a_second_is_answered_then(ask, limited, client):
    asked = {"model": "chat", "base": limited.url, "key": "key-that-asks-often"}
    assert all("error" not in ask(client, "text", **asked) for _ in range(2))
    assert [line["status"] for line in limited.log] == [200, 429, 200]


@EVERY_SDK
def test_a_key_whose_money_is_spent_is_told_so_once(ask, limited, client):
    said = ask(client, "text", model="gem", base=limited.url, key="key-that-asks-often")
    message = expect(client, said, 402, "APIStatusError" if client.startswith("python") else "APIError")
    assert "of-keys" in message
    assert [line["status"] for line in limited.log] == [402]
