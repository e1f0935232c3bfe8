"""What errors mean that were seen in use: money, capability, length, content, foreign shapes, retry hints
(facts B1 to B11 and C4 of the field).
"""

import json
import time
from datetime import UTC, datetime

import pytest

from llmfail.core.classification.body import parse
from llmfail.core.classification.classify import classify_reply
from llmfail.core.classification.outcome import Kind
from llmfail.core.model import Reply

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def error(message, type_="invalid_request_error", code=None, param=None):
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def outcome_of(status, body, headers=None):
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    found = classify_reply(Reply(status, headers or {}, raw), parse(raw), NOW)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            400,
            error("Budget has been exceeded! Current cost: 26.1, Max: 0.25", "budget_exceeded"),
            Kind.BILLING,
        ),
        (400, error("ExceededBudget: End User=i over budget. Spend=0.0008", "auth_error"), Kind.BILLING),
        (412, {"status": "failure", "message": "Budget limit exceeded for the key"}, Kind.BILLING),
        (
            412,
            error("Account x is suspended, possibly due to reaching the monthly spending limit", "error"),
            Kind.BILLING,
        ),
        (400, error("This organization has been disabled."), Kind.BILLING),
        (400, error("You're out of extra usage. Add more at …"), Kind.BILLING),
        (
            400,
            error("The model `X` requires terms acceptance.", code="model_terms_required"),
            Kind.PERMISSION,
        ),
        (
            400,
            error("No available channel for model gpt-5.5 under group codex", "new_api_error"),
            Kind.OVERLOADED,
        ),
        (
            400,
            error("The requested model is not supported.", code="model_not_supported"),
            Kind.MODEL_NOT_FOUND,
        ),
        (
            400,
            {"message": "Invocation of model ID X with on-demand throughput isn\u2019t supported."},
            Kind.MODEL_NOT_FOUND,
        ),
        (400, {"error": "Failed to load model x"}, Kind.SERVER_ERROR),
        (424, {"whatever": 1}, Kind.SERVER_ERROR),
        (424, "", Kind.SERVER_ERROR),
    ],
)
def test_B1_a_refusal_of_one_account_or_one_model_is_named(status, body, kind):
    assert outcome_of(status, body).kind is kind


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"error": {"message": "Rate limit", "code": 429}}, Kind.RATE_LIMITED),
        ({"error": {"message": "Overloaded", "type": "overloaded_error"}}, Kind.OVERLOADED),
        ({"error": {"message": "no credit", "code": "insufficient_quota"}}, Kind.BILLING),
    ],
)
def test_B1_a_router_passes_on_what_the_provider_said(raw, kind):
    body = {
        "error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(raw)}}
    }
    assert outcome_of(400, body).kind is kind


def test_B3_an_unknown_model_is_named_by_its_parameter():
    body = error("/chat/completions: Invalid model name passed in model=nosuch.", code="400", param="model")
    assert outcome_of(400, body).kind is Kind.MODEL_NOT_FOUND
    assert outcome_of(400, error("something odd", param="model")).kind is Kind.MODEL_NOT_FOUND
    assert outcome_of(400, error("No connected db.", "no_db_connection")).kind is Kind.SERVER_ERROR


@pytest.mark.parametrize(
    "body",
    [
        {"message": "The input (40000 tokens) is longer than the model's context length (32768 tokens)."},
        error("Input length 40000 exceeds the maximum allowed length of 32768"),
        error("The decoder prompt (length 40000) is longer than the maximum model length of 32768."),
        error("Invalid request: Your request exceeded model token limit: 131072"),
        error("invalid params, context window exceeds limit (2013)"),
        error("Range of input length should be [1, 202745]"),
        error("prompt token count of 129012 exceeds the limit", code="model_max_prompt_tokens_exceeded"),
        error("prompt too long; exceeded max context length by 1119046 tokens (ref: x)"),
        {"errors": [{"message": "x exceeded this model context window limit (24000).", "code": 5021}]},
        {"error": {"code": 400, "message": "Request payload size exceeds the limit: 20971520 bytes."}},
        error("Invalid 'messages[0].content': string too long. Expected …", code="string_above_max_length"),
        error("litellm.ContextWindowExceededError: litellm.BadRequestError: …"),
        {"detail": "Prompt has 300000 tokens, but the model's context window is 256000 tokens."},
        error("Your input of 9,000 tokens is over the limit: at most 8,192 are taken"),
    ],
)
def test_B5_a_request_that_is_too_long_is_known_in_whatever_words(body):
    assert outcome_of(400, body).kind is Kind.CONTEXT_OVERFLOW


def test_B5_only_the_output_is_too_large_where_it_says_so():
    body = {"message": "The maximum tokens you requested exceeds the model limit of 4096. Try again."}
    found = outcome_of(400, body)
    assert (found.kind, found.parameter) == (Kind.CONTEXT_OVERFLOW, "max_tokens")


def test_B5_a_context_that_is_full_is_no_fault_of_the_server():
    body = {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}
    assert outcome_of(500, body).kind is Kind.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    "message",
    [
        "temperature must be at most 2",
        "you may send at most 60000 input tokens per minute, limit 60000",
        "stop: maximum 4 sequences",
        "Requests per minute exceeded: limit of tokens is 100000, used 120000",
    ],
)
def test_B5_other_limits_are_none_of_the_length(message):
    assert outcome_of(400, error(message)).kind is not Kind.CONTEXT_OVERFLOW


@pytest.mark.parametrize(
    "body",
    [
        error("Content Exists Risk", code="invalid_request_error"),
        {"detail": "Content Exists Risk"},
        error("Output blocked by content filtering policy"),
        error("Input data may contain inappropriate content.", "data_inspection_failed"),
        error("Invalid prompt: your prompt was flagged as potentially violating our usage policy."),
        error("Request was flagged by content moderation"),
        error("Sorry, the model cannot answer this question."),
    ],
)
def test_B6_a_content_filter_is_known(body):
    assert outcome_of(400, body).kind is Kind.CONTENT_BLOCKED


@pytest.mark.parametrize(
    ("message", "type_"),
    [("No payment method. Add one here", "CreditsError"), ("Insufficient balance. Manage your billing", "x")],
)
def test_B7_a_401_about_money_does_not_disable_the_key_for_good(message, type_):
    assert outcome_of(401, error(message, type_)).kind is Kind.BILLING


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, error("LiteLLM User: u1, exceeded budget for model=x", "budget_exceeded", "429"), Kind.BILLING),
        (429, error("You crossed budget"), Kind.BILLING),
        (429, error("Prepaid credit balance is exhausted."), Kind.BILLING),
        (429, error("x", "usage_limit_reached"), Kind.QUOTA),
        (429, error("x", code="terminal_quota_exhausted"), Kind.QUOTA),
        (429, error("You have reached your weekly usage limit"), Kind.QUOTA),
        (403, error("API key budget limit exceeded (monthly limit)"), Kind.BILLING),
        (403, error("Key limit exceeded (total limit)"), Kind.BILLING),
        (403, error("Your newly created team doesn't have any credits or licenses yet"), Kind.BILLING),
    ],
)
def test_B8_words_of_money_and_quota(status, body, kind):
    assert outcome_of(status, body).kind is kind


def test_B8_what_is_for_sale_says_nothing_of_the_limit():
    message = "Rate limit exceeded: limit_rpm/x. Add 10 credits to unlock 1000 free model requests per day"
    assert outcome_of(429, error(message)).kind is Kind.RATE_LIMITED


def test_B9_a_gateway_without_a_channel_is_overloaded_not_without_the_model():
    body = error("No available channel for model gpt-5.5", "new_api_error", "model_not_found")
    assert outcome_of(503, body).kind is Kind.OVERLOADED
    assert outcome_of(404, error("x", code="model_not_found")).kind is Kind.MODEL_NOT_FOUND
    assert outcome_of(500, error("x", code="model_not_found")).kind is Kind.OVERLOADED


@pytest.mark.parametrize("status", [401, 403, 404])
def test_B10_plain_text_is_not_the_word_of_an_api(status):
    found = outcome_of(status, "error code: 1010", {"content-type": "text/plain"})
    assert found.kind is Kind.NETWORK
    assert "not the API" in found.note


@pytest.mark.parametrize(
    ("status", "body", "kind", "note"),
    [
        (429, {"errors": [{"message": "daily quota is used up", "code": 4006}]}, Kind.QUOTA, "daily quota"),
        (
            529,
            {
                "type": "error",
                "error": {"type": "error", "error": {"type": "overloaded_error", "message": "Over"}},
            },
            Kind.OVERLOADED,
            "Over",
        ),
        (
            400,
            {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."},
            Kind.RATE_LIMITED,
            "Too many",
        ),
        (500, {"code": 500, "msg": "inference error"}, Kind.SERVER_ERROR, "inference error"),
    ],
)
def test_B11_foreign_shapes_are_read(status, body, kind, note):
    found = outcome_of(status, body)
    assert found.kind is kind
    assert note in found.note


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30s"}, 30),
        ({"retry-after": "30 seconds"}, 30),
        ({"retry-after": "PT30S"}, 30),
        ({"retry-after": "0m30s"}, 30),
        ({"retry-after": '"30"'}, 30),
        ({"retry-after": "2026-11-20T12:00:30Z"}, 30),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 +0000"}, 30),
        ({"retry-after": "Friday, 20-Nov-26 12:00:30 GMT"}, 30),
        ({"retry-after": str(int(NOW) + 30)}, 30),
        ({"retry-after": str((int(NOW) + 30) * 1000)}, 30),
        ({"retry-after": "1_000"}, None),
        ({"x-ms-retry-after-ms": "2500"}, 2.5),
        ({"x-ratelimit-reset-after": "30"}, 30),
        ({"ratelimit": "limit=100, remaining=0, reset=30"}, 30),
        ({"ratelimit": "limit=100, remaining=7, reset=30"}, None),
        ({"x-ratelimit-remaining": "-5", "x-ratelimit-reset": "30"}, 30),
        (
            {
                "anthropic-ratelimit-unified-status": "rejected",
                "anthropic-ratelimit-unified-reset": str(int(NOW) + 30),
            },
            30,
        ),
    ],
)
def test_C4_hints_in_headers(headers, seconds):
    expected = None if seconds is None else pytest.approx(seconds)
    assert outcome_of(429, error("slow"), headers).retry_after == expected


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (error("Please retry after 45 seconds."), 45),
        (error("Try again in 20 seconds."), 20),
        (error("Try again in 60 seconds"), 60),
        (error("Rate limited, try again in 20 sec"), 20),
        (error("Please Try Again In 6m0s"), 360),
        (error("try again in 1m 30s"), 90),
        (error("Please wait 373 seconds before retrying"), 373),
        ({"message": "slow", "retry_after": 45}, 45),
        ({"error": {"message": "slow", "retry_after": "2026-11-20T12:00:45Z"}}, 45),
        ({"error": {"message": "slow", "retryAfter": 45}}, 45),
        ({"error": {"message": "slow", "retryDelay": "52s"}}, 52),
        ({"error": {"message": "slow", "retryDelay": {"seconds": "12", "nanos": 500000000}}}, 12.5),
        ({"error": {"message": "slow", "resets_at": NOW + 45}}, 45),
        (error("come back soon"), None),
    ],
)
def test_C4_hints_in_bodies(body, seconds):
    expected = None if seconds is None else pytest.approx(seconds)
    assert outcome_of(429, body).retry_after == expected


def test_no_body_and_no_header_keeps_the_classification_busy():
    """Each of these took seconds, growing with the square of its length."""
    started = time.process_time()
    for message in ("temperature." * 8000, "token limit " + "1,a" * 3300, "token limit " + "1" * 9980):
        outcome_of(400, error(message))
    outcome_of(429, error("slow"), {"ratelimit": "remaining=0," * 4000})
    assert time.process_time() - started < 2.0  # tells bounded from hanging
