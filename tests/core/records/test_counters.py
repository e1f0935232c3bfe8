"""Counters, percentiles, alerts."""

from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.records.counted_events import CountedAsk
from llmfail.core.records.counters import (
    AskCounters,
    add_latencies,
    count_asks,
    merge_histograms,
    percentile,
)


def histogram(latencies):
    return add_latencies({}, latencies)


@given(st.lists(st.integers(1, 600_000), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_percentile_is_right_within_five_per_cent(latencies, share):
    ordered = sorted(latencies)
    exact = ordered[max(-(-int(share * 1000) * len(ordered) // 1000), 1) - 1]
    found = percentile(histogram(latencies), share)
    assert exact * 0.94 - 1 <= found <= exact * 1.06 + 1


def test_there_is_no_percentile_of_nothing():
    assert percentile({}, 0.5) is None


def test_two_halves_are_the_whole():
    left, right = [3, 900, 40], [900, 17]
    assert merge_histograms(histogram(left), histogram(right)) == histogram(left + right)


def count(*asks):
    return count_asks(
        AskCounters(),
        [CountedAsk(tier, missing, saw_open_circuit=False, latency_ms=10) for tier, missing in asks],
    )


def test_an_ask_is_a_fallback_or_degraded_or_an_error_or_none_of_them():
    routing = count((0, None), (1, None), (2, None), (3, None), (4, None), (5, "service"))
    assert (routing.asks, routing.fallbacks, routing.degraded, routing.errors) == (6, 3, 1, 1)


def test_i2_missing_keys_own_budgets_and_requests_at_fault_are_no_errors_but_counted_apart():
    routing = count((5, "credential"), (5, "budget"), (5, "request"), (5, "request"))
    assert (routing.asks, routing.errors) == (4, 0)
    assert (routing.without_credential, routing.over_budget, routing.requests_at_fault) == (1, 1, 2)
