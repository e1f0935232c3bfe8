"""When to come back, from every header and body form."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.classification.error_body import ErrorBody
from llmfail.core.classification.retry_hints import find_quota_reset, parse_duration, read_retry_after

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def at(text):
    return datetime.fromisoformat(text).timestamp()


def wait(headers=None, *, limits=True, **fault):
    return read_retry_after(headers or {}, ErrorBody(**fault), NOW, include_rate_limits=limits)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("120ms", 0.12),
        ("1h2m3s", 3723),
        ("10h17m5.723541104s", 37025.723541104),
        ("34.074824224s", 34.074824224),
        ("", None),
        ("s", None),
        ("5", None),
        ("5d", None),
        ("-5s", None),
        ("0s", None),
        ("999999999h", None),
        ("\u0661s", None),
    ],
)
def test_a_duration_in_the_dialect_of_go(text, seconds):
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20),
        (" 1.5 ", 1.5),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60),
        ("fri, 20 nov 2026 12:01:00 GMT", 60),
        ("Fri, 20 Nov 2026 11:59:00 GMT", None),
        ("Fri, 31 Feb 2027 11:59:00 GMT", None),
        ("Fri, 20 Xyz 2026 12:01:00 GMT", None),
        ("0", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("1e12", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value, seconds):
    assert wait({"retry-after": value}) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "9", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"}, 9),
        ({"x-ratelimit-remaining-tokens": "3", "x-ratelimit-reset-tokens": "1s"}, None),
        ({"x-ratelimit-reset-tokens": "1s"}, None),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m0s",
            },
            60,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-20T12:00:05Z",
            },
            5,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-20T14:00:05+02:00",
            },
            5,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-11-20T11:00:00Z",
            },
            None,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int((NOW + 7) * 1000))}, 7),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW + 7))}, 7),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7"}, 7),
    ],
)
def test_headers_are_believed_in_their_order_and_resets_only_of_what_is_used_up(headers, seconds):
    assert wait(headers) == seconds


def test_the_resets_of_limits_say_nothing_about_a_broken_server():
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"}
    assert wait(headers, limits=False) is None


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        ({"availability": {"retry_after": 12}}, 12),
        ({"availability": {"retry_after": "12"}}, 12),
        ({"availability": {"retry_after": None}}, None),
        ({"details": ({"@type": "x/google.rpc.RetryInfo", "retryDelay": "900ms"},)}, 0.9),
        ({"details": ({"@type": "x/google.rpc.RetryInfo", "retryDelay": 5},)}, 5),
        ({"message": "Please retry in 10h17m5.723541104s."}, 37025.723541104),
        ({"message": "Please try again in 7.66s. Visit us."}, 7.66),
        ({"message": "Please try again in 20ms."}, 0.02),
        ({"message": "Please try again in a while."}, None),
        ({"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}}}, 30),
        ({"metadata": {"headers": "none"}}, None),
    ],
)
def test_bodies_carry_hints_too(fault, seconds):
    assert wait(**fault) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("fault", "daily", "until"),
    [
        ({}, True, "2026-11-21T00:00:00Z"),
        ({}, False, "2026-12-01T00:00:00Z"),
        ({"message": "monthly quota"}, True, "2026-12-01T00:00:00Z"),
        ({"codes": ("resource_exhausted",)}, True, "2026-11-21T08:00:00Z"),
        (
            {"codes": ("resource_exhausted",), "message": "limit: 0, retry in 5s"},
            True,
            "2026-11-21T08:00:00Z",
        ),
        ({"message": "Please retry in 90s"}, True, "2026-11-20T12:01:30Z"),
        ({"message": "access on 2026-11-25 at 06:00 UTC"}, False, "2026-11-25T06:00:00Z"),
        ({"message": "resets at 2026-11-25T06:00:30Z"}, False, "2026-11-25T06:00:30Z"),
        ({"message": "back after 2020-01-01"}, False, "2026-12-01T00:00:00Z"),
        ({"message": "on 2026-99-99"}, False, "2026-12-01T00:00:00Z"),
        ({"message": "gpt-4o-2027-01-01 is spent"}, False, "2026-12-01T00:00:00Z"),
        ({"metadata": {"resets_at": "2026-11-21T03:00:00+00:00"}}, False, "2026-11-21T03:00:00Z"),
        ({"metadata": {"resets_at": at("2026-11-21T03:00:00Z")}}, False, "2026-11-21T03:00:00Z"),
        ({"metadata": {"resets_at": at("2026-11-21T03:00:00Z") * 1000}}, False, "2026-11-21T03:00:00Z"),
        ({"metadata": {"resets_at": True}}, False, "2026-12-01T00:00:00Z"),
        ({"metadata": {"resets_at": "tomorrow"}}, False, "2026-12-01T00:00:00Z"),
    ],
)
def test_a_quota_comes_back_when_the_body_says_or_with_the_day_or_the_month(fault, daily, until):
    assert find_quota_reset({}, ErrorBody(**fault), NOW, daily=daily) == at(until)


def test_the_month_after_december_is_january():
    december = at("2026-12-31T23:59:59Z")
    assert find_quota_reset({}, ErrorBody(), december, daily=False) == at("2027-01-01T00:00:00Z")


def test_before_eight_the_pacific_midnight_is_still_today():
    morning = at("2026-11-20T07:59:00Z")
    google = ErrorBody(codes=("resource_exhausted",))
    assert find_quota_reset({}, google, morning, daily=True) == at("2026-11-20T08:00:00Z")
    assert find_quota_reset({}, google, at("2026-11-20T08:00:00Z"), daily=True) == at("2026-11-21T08:00:00Z")


@given(st.text(max_size=30), st.text(max_size=60))
def test_no_text_breaks_the_hints(header, message):
    seconds = wait({"retry-after": header, "retry-after-ms": header}, message=message)
    assert seconds is None or seconds > 0
