"""Why there is no answer, in the words of each dialect: statuses, and what programs recognise."""

import json

import pytest

from llmfail.core.model import Target
from llmfail.core.receipt import Failure, Receipt, TrailEntry
from llmfail.core.routing.failure import decide_failure
from llmfail.providers.replies.context_overflow import Overflow, describe_overflow, read_overflow
from llmfail.providers.replies.error_reply import ErrorReply, error_from_receipt, write_error

A, B = Target("openai", "gpt"), Target("anthropic", "claude")
NOW = 1_000.0


def called(outcome, note="", status=None, target=A):
    return TrailEntry(target, "called", outcome, status=status, note=note)


def skipped(outcome, note="", target=A):
    return TrailEntry(target, "skipped", outcome, note=note)


def receipt_of(*trail, retry_at=None, deadline=False, failure=None):
    failure = failure or decide_failure(trail, deadline_passed=deadline, own_network=False, retry_at=retry_at)
    return Receipt("01H", "chat", trail=trail, error=failure, retry_at=retry_at)


OVERFLOW = "prompt is too long: 200123 tokens > 200000 maximum"
NUMBERS = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
)
DOWN = called("server_error", "The server had an error", 500)
LIMITED = called("rate_limited", "slow down", 429)

# Receipt: status, type and code for OpenAI, type for Anthropic, status for Gemini, retry-after, should retry.
RECEIPTS = {
    "over budget": (
        receipt_of(skipped("over_budget", "budget daily")),
        (402, "insufficient_quota", "budget_exceeded", "billing_error", "RESOURCE_EXHAUSTED", None, None),
    ),
    "refused": (
        receipt_of(called("bad_request", "messages.0: too odd", 422), failure=Failure(5, "bad_request", "x")),
        (422, "invalid_request_error", None, "invalid_request_error", "INVALID_ARGUMENT", None, None),
    ),
    "blocked": (
        receipt_of(called("content_blocked", "not this", 400), failure=Failure(5, "content_blocked", "x")),
        (
            400,
            "invalid_request_error",
            "content_policy_violation",
            "invalid_request_error",
            "INVALID_ARGUMENT",
            None,
            None,
        ),
    ),
    "too long": (
        receipt_of(called("context_overflow", NUMBERS, 400)),
        (
            400,
            "invalid_request_error",
            "context_length_exceeded",
            "invalid_request_error",
            "INVALID_ARGUMENT",
            None,
            None,
        ),
    ),
    "unsuited": (
        receipt_of(skipped("unsuited", "it cannot take: audio")),
        (400, "invalid_request_error", None, "invalid_request_error", "INVALID_ARGUMENT", None, None),
    ),
    "down, nobody knows how long": (
        receipt_of(DOWN),
        (503, "server_error", "no_target", "overloaded_error", "UNAVAILABLE", None, "false"),
    ),
    "down for seconds": (
        receipt_of(DOWN, retry_at=NOW + 6.2),
        (503, "server_error", "no_target", "overloaded_error", "UNAVAILABLE", "7", None),
    ),
    "down for minutes": (
        receipt_of(DOWN, retry_at=NOW + 300),
        (503, "server_error", "no_target", "overloaded_error", "UNAVAILABLE", "300", "false"),
    ),
    "rate limited everywhere": (
        receipt_of(LIMITED, skipped("rate_limited_here", "", B), retry_at=NOW + 3),
        (
            429,
            "rate_limit_exceeded",
            "rate_limit_exceeded",
            "rate_limit_error",
            "RESOURCE_EXHAUSTED",
            "3",
            None,
        ),
    ),
    "rate limited and down": (
        receipt_of(LIMITED, called("server_error", "oh", 500, B), retry_at=NOW + 3),
        (503, "server_error", "no_target", "overloaded_error", "UNAVAILABLE", "3", None),
    ),
    "our credentials": (
        receipt_of(called("auth", "Incorrect API key", 401)),
        (503, "server_error", "upstream_credentials", "api_error", "UNAVAILABLE", None, "false"),
    ),
    "deadline": (
        receipt_of(DOWN, deadline=True),
        (504, "timeout", "timeout", "timeout_error", "DEADLINE_EXCEEDED", None, "false"),
    ),
}


@pytest.mark.parametrize("dialect", ["chat", "responses", "anthropic", "gemini"])
@pytest.mark.parametrize("name", RECEIPTS)
def test_a_receipt_becomes_a_status_and_a_body(dialect, name):
    receipt, (status, kind, code, anthropic, gemini, after, again) = RECEIPTS[name]
    found, body, headers = write_error(dialect, error_from_receipt(receipt, NOW))
    document = json.loads(body)
    assert found == status
    assert (headers.get("retry-after"), headers.get("x-should-retry")) == (after, again)
    error = document["error"]
    match dialect:
        case "anthropic":
            assert (document["type"], error["type"], document["request_id"]) == ("error", anthropic, "01H")
        case "gemini":
            assert (error["code"], error["status"]) == (status, gemini)
        case _:
            assert (error["type"], error["code"], error["param"]) == (kind, code, None)
    trail = [{"target": str(one.target), "outcome": one.outcome} for one in receipt.trail]
    assert document["llmfail"] == {"id": "01H", "trail": trail}
    assert error["message"]


REFUSALS = {
    "unauthorized": (401, "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "forbidden": (403, "forbidden", "permission_error", "PERMISSION_DENIED"),
    "unknown_model": (404, "model_not_found", "not_found_error", "NOT_FOUND"),
    "unknown_path": (404, "unknown_url", "not_found_error", "NOT_FOUND"),
    "wrong_method": (405, "method_not_allowed", "invalid_request_error", "UNIMPLEMENTED"),
    "wrong_type": (415, "unsupported_media_type", "invalid_request_error", "INVALID_ARGUMENT"),
    "too_large": (413, "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    "unreadable": (400, None, "invalid_request_error", "INVALID_ARGUMENT"),
    "rate_limited": (429, "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "busy": (503, "server_is_overloaded", "overloaded_error", "UNAVAILABLE"),
    "bug": (500, None, "api_error", "INTERNAL"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_the_gateway_itself_refuses_is_told_alike(kind):
    status, code, anthropic, gemini = REFUSALS[kind]
    error = ErrorReply(kind, "It is so.")
    written = [json.loads(write_error(one, error)[1])["error"] for one in ("chat", "anthropic", "gemini")]
    assert {write_error(one, error)[0] for one in ("chat", "responses", "anthropic", "gemini")} == {status}
    assert (written[0]["code"], written[1]["type"], written[2]["status"]) == (code, anthropic, gemini)
    assert {one["message"] for one in written} == {"It is so."}


def test_a_limit_that_is_over_soon_may_be_waited_for_and_no_other():
    assert write_error("chat", ErrorReply("rate_limited", "x", retry_after=0.2))[2]["retry-after"] == "1"
    assert "x-should-retry" not in write_error("chat", ErrorReply("busy", "x", retry_after=1))[2]
    assert (
        write_error("chat", ErrorReply("rate_limited", "x", retry_after=31))[2]["x-should-retry"] == "false"
    )
    assert write_error("chat", ErrorReply("bug", "x", retry_after=1))[2]["x-should-retry"] == "false"


def test_a_message_begins_with_what_a_provider_said():
    receipt = receipt_of(
        called("server_error", "The engine is on fire", 500), skipped("circuit_open", "4 s", B)
    )
    message = json.loads(write_error("chat", error_from_receipt(receipt, NOW))[1])["error"]["message"]
    assert message == "The engine is on fire (openai/gpt server_error; anthropic/claude circuit_open)"


def test_a_request_that_is_too_long_for_one_is_told_so_although_another_is_down():
    receipt = receipt_of(called("context_overflow", OVERFLOW, 400, B), called("server_error", "oh", 500))
    status, body, _ = write_error("anthropic", error_from_receipt(receipt, NOW))
    assert (status, json.loads(body)["error"]["message"].startswith(OVERFLOW)) == (503, True)


@pytest.mark.parametrize("status", [401, 403, 408, 409, 429, 500, None])
def test_no_refusal_makes_a_program_log_in_or_ask_again(status):
    receipt = receipt_of(called("bad_request", "no", status), failure=Failure(5, "bad_request", "x"))
    assert write_error("chat", error_from_receipt(receipt, NOW))[0] == 400


def test_an_answer_that_would_be_too_long_is_no_context_that_is_too_short():
    receipt = receipt_of(skipped("too_small", "max_tokens 99 is above its max_output 9"))
    code = json.loads(write_error("chat", error_from_receipt(receipt, NOW))[1])["error"]["code"]
    assert code is None


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        (OVERFLOW, (200123, 0, 200000)),
        (NUMBERS, (9000, 0, 8192)),
        (
            "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
            (190000, 32000, 200000),
        ),
        (
            "Maximum context length is 8192, requested 10000 (9000 in the messages, 1000 in the completion)",
            (9000, 1000, 8192),
        ),
        (
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
            (1196265, 0, 1048575),
        ),
        (
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            (537812, 0, 131072),
        ),
        ("the request exceeds the available context size (4096 tokens), it has 5000 tokens", (5000, 0, 4096)),
        ("its context of 8192 tokens is too small", None),
        ("too long", None),
        ("", None),
    ],
)
def test_the_numbers_of_a_sentence_are_read(sentence, found):
    assert read_overflow(sentence) == (None if found is None else Overflow(*found))


@pytest.mark.parametrize(
    ("dialect", "wanted"),
    [
        ("chat", "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."),
        ("responses", "This model's maximum context length is 8192 tokens."),
        ("anthropic", "prompt is too long: 9000 tokens > 8192 maximum"),
        ("gemini", "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."),
    ],
)
def test_a_request_that_is_too_long_is_told_in_the_words_of_the_dialect(dialect, wanted):
    receipt, _ = RECEIPTS["too long"]
    _, body, _ = write_error(dialect, error_from_receipt(receipt, NOW))
    assert json.loads(body)["error"]["message"].startswith(wanted)


def test_claude_code_can_read_by_how_much_to_ask_for_less():
    sentence = (
        "maximum context length is 8192 tokens, you requested (9000 in the messages, 1000 in the completion)"
    )
    assert "exceed context limit: 9000 + 1000 > 8192" in describe_overflow("anthropic", sentence)
    assert describe_overflow("anthropic", "its context of 9 tokens is too small").startswith(
        "prompt is too long ("
    )
    for dialect in ("chat", "responses", "gemini"):
        assert describe_overflow(dialect, "")
