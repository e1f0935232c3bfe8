"""Counters, percentiles, alerts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.records.counters import (
    AskCounters,
    Thresholds,
    add_latency,
    count_ask,
    find_alerts,
    merge_histograms,
    percentile,
)

THRESHOLDS = Thresholds(
    circuit_open_rate=0.05, fallback_rate=0.2, latency_p95=30.0, error_rate=0.01, cost_per_day=50.0
)


def histogram(latencies):
    counts = {}
    for latency in latencies:
        counts = add_latency(counts, latency)
    return counts


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


def asked(*asks):
    routing = AskCounters()
    for tier, ok in asks:
        routing = count_ask(routing, tier=tier, ok=ok, saw_open_circuit=False, latency_ms=10)
    return routing


def test_an_ask_is_a_fallback_or_degraded_or_an_error_or_none_of_them():
    routing = asked((0, True), (1, True), (2, True), (3, True), (4, True), (5, False))
    assert (routing.asks, routing.fallbacks, routing.degraded, routing.errors) == (6, 3, 1, 1)


@pytest.mark.parametrize(
    ("fallbacks", "level"), [(0, None), (2, None), (3, "warning"), (4, "critical"), (10, "critical")]
)
def test_an_alert_stands_above_its_threshold_and_is_critical_at_twice_that(fallbacks, level):
    routing = asked(*[(2, True)] * fallbacks, *[(0, True)] * (10 - fallbacks))
    found = {alert.name: alert.level for alert in find_alerts(routing, 0.0, THRESHOLDS)}
    assert found.get("fallback_rate") == level


def test_nothing_asked_nothing_to_alert():
    assert find_alerts(AskCounters(), 0.0, THRESHOLDS) == ()


@pytest.mark.parametrize(("spent", "level"), [(50, None), (51, "warning"), (100, "critical")])
def test_what_a_day_cost_is_watched(spent, level):
    found = {alert.name: alert.level for alert in find_alerts(AskCounters(), spent, THRESHOLDS)}
    assert found.get("cost_per_day") == level
