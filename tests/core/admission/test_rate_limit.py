"""The rate limiter: never more than the limit in any minute, plus the declared burst; waits are told
beforehand.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.admission import rate_limit
from llmfail.core.admission.rate_limit import MINUTE_WITH_MARGIN_SECONDS, GcraState, RateLimit

START = 1_700_000_000.0


def limit(per_minute=10, burst=None, unit="requests"):
    return RateLimit("rate/x/requests", "x", unit, per_minute, burst)


def starts(of, arrivals):
    """When calls that come at these moments are let through."""
    flow, found = GcraState(), []
    for now in arrivals:
        start = now + rate_limit.wait_seconds(flow, of, now)
        flow = rate_limit.reserve(flow, of, 1, start, now)
        found.append(start)
    return found


def most_in_a_minute(moments):
    return max(sum(first <= other < first + 60 for other in moments) for first in moments)


def test_the_first_call_goes_at_once_and_the_next_waits_its_share_of_a_minute():
    first, second, third = starts(limit(), [START, START, START])
    assert first == START
    assert second == pytest.approx(START + MINUTE_WITH_MARGIN_SECONDS / 10)
    assert third == pytest.approx(START + 2 * MINUTE_WITH_MARGIN_SECONDS / 10)


def test_a_burst_goes_at_once_and_what_follows_waits():
    found = starts(limit(burst=4), [START] * 6)
    assert found[:4] == [START] * 4
    assert found[4] == pytest.approx(START + MINUTE_WITH_MARGIN_SECONDS / 10)


def test_without_a_declared_burst_a_tenth_goes_at_once():
    found = starts(limit(50), [START] * 6)
    assert found[:5] == [START] * 5
    assert found[5] > START + 1


def test_a_pause_earns_no_more_than_the_burst():
    later = START + 3600
    assert starts(limit(burst=2), [START, later, later, later])[1:3] == [later, later]
    assert starts(limit(burst=2), [START, later, later, later])[3] > later


@given(
    per_minute=st.integers(1, 300),
    burst=st.none() | st.integers(1, 20),
    gaps=st.lists(st.floats(0, 90), min_size=1, max_size=80),
)
def test_no_minute_ever_has_more_than_the_limit_and_the_burst(per_minute, burst, gaps):
    arrivals, now = [], START
    for gap in gaps:
        now += gap
        arrivals.append(now)
    found = starts(limit(per_minute, burst), arrivals)
    assert found == sorted(found)
    assert most_in_a_minute(found) <= per_minute + (burst or 1) - 1


@given(late=st.lists(st.floats(0, 0.99), min_size=30, max_size=30))
def test_calls_that_reach_the_provider_less_than_a_second_late_are_no_call_too_many(late):
    found = [start + delay for start, delay in zip(starts(limit(), [START] * 30), late, strict=True)]
    assert most_in_a_minute(found) <= 10


def test_a_call_of_any_size_goes_when_the_tokens_before_it_have_taken_their_time():
    tokens = limit(1000, unit="tokens")
    flow = rate_limit.reserve(GcraState(), tokens, 5000, START, START)
    assert rate_limit.wait_seconds(flow, tokens, START) == pytest.approx(5 * MINUTE_WITH_MARGIN_SECONDS)
    assert rate_limit.wait_seconds(flow, tokens, START + 5 * MINUTE_WITH_MARGIN_SECONDS) == 0


@pytest.mark.parametrize(("more", "wait"), [(-500, 0.5), (0, 1.0), (1000, 2.0)])
def test_a_call_is_corrected_to_the_tokens_that_it_took(more, wait):
    tokens = limit(1000, unit="tokens")
    flow = rate_limit.reserve(GcraState(), tokens, 1000, START, START)
    flow = rate_limit.adjust(flow, tokens, more, flow.due_at, START)
    assert rate_limit.wait_seconds(flow, tokens, START) == pytest.approx(wait * MINUTE_WITH_MARGIN_SECONDS)


def test_a_clock_that_is_set_back_keeps_the_wait_as_long_as_it_was():
    flow = rate_limit.reserve(GcraState(), limit(), 1, START, START)
    assert rate_limit.wait_seconds(flow, limit(), START - 3600) == pytest.approx(
        MINUTE_WITH_MARGIN_SECONDS / 10
    )
    flow = rate_limit.reserve(flow, limit(), 1, START - 3600 + MINUTE_WITH_MARGIN_SECONDS / 10, START - 3600)
    assert rate_limit.wait_seconds(flow, limit(), START - 3600) == pytest.approx(
        2 * MINUTE_WITH_MARGIN_SECONDS / 10
    )
