"""Alerts: a window of asks, judged by thresholds."""

import pytest

from llmfail.core.records.alert_window import AlertCounters
from llmfail.core.records.counters import add_latencies
from llmfail.core.reports.alert import Thresholds, find_alerts

THRESHOLDS = Thresholds(
    circuit_open_rate=0.05,
    fallback_rate=0.2,
    latency_p95=30.0,
    error_rate=0.01,
    cost_per_day=50.0,
    window=900.0,
    min_requests=10,
)
NOTHING = AlertCounters()


def levels(window, spent=0.0):
    return {alert.name: alert.level for alert in find_alerts(window, spent, THRESHOLDS)}


@pytest.mark.parametrize(
    ("fallbacks", "level"), [(0, None), (2, None), (3, "warning"), (4, "critical"), (10, "critical")]
)
def test_an_alert_stands_above_its_threshold_and_is_critical_at_twice_that(fallbacks, level):
    assert levels(AlertCounters(asks=10, fallbacks=fallbacks)).get("fallback_rate") == level


def test_i2_fewer_asks_than_the_minimum_raise_nothing():
    assert levels(AlertCounters(asks=9, errors=9, fallbacks=9, met_open=9)) == {}
    assert levels(AlertCounters(asks=10, errors=9))["error_rate"] == "critical"


def test_i2_one_failed_ask_is_a_warning_at_most():
    assert levels(AlertCounters(asks=10, errors=1)) == {"error_rate": "warning"}
    assert levels(AlertCounters(asks=10, errors=2)) == {"error_rate": "critical"}


def test_i17_shares_are_per_cent_and_say_of_how_many_asks():
    [alert] = find_alerts(AlertCounters(asks=12, fallbacks=12), 0.0, THRESHOLDS)
    assert alert.message == "fallback_rate is 100%, above 20%, in the last 15 minutes (12 of 12 asks)"
    assert (alert.value, alert.threshold) == (1.0, 0.2)


@pytest.mark.parametrize(("seconds", "level"), [(29, None), (45, "warning"), (90, "critical")])
def test_a_latency_is_judged_in_seconds(seconds, level):
    latencies = add_latencies({}, [seconds * 1000] * 10)
    assert levels(AlertCounters(asks=10, latencies=latencies)).get("latency_p95") == level


def test_nothing_asked_nothing_to_alert():
    assert find_alerts(NOTHING, 0.0, THRESHOLDS) == ()


@pytest.mark.parametrize(("spent", "level"), [(50, None), (51, "warning"), (100, "critical")])
def test_what_a_day_cost_is_watched_without_a_minimum_of_asks(spent, level):
    assert levels(NOTHING, spent).get("cost_per_day") == level
