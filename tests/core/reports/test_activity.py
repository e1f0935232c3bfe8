"""What went on in the last hour, by what was logged."""

from datetime import UTC, datetime

from llmfail.core.reports.activity import BARS, TargetBar, count_calls, count_minutes, describe_bars

NOW = 1_800_000_030.0


def entry(seconds_ago, *trail, ok=True, tier=0, latency_ms=100):
    at = datetime.fromtimestamp(NOW - seconds_ago, UTC).isoformat()
    steps = [{"target": target, "action": action, "outcome": outcome} for target, action, outcome in trail]
    return {"at": at, "ok": ok, "tier": tier, "latency_ms": latency_ms, "trail": steps}


def test_a_request_counts_in_its_minute_by_what_answered_it():
    found = count_minutes(
        [
            entry(0),
            entry(0, tier=2, latency_ms=300),
            entry(0, tier=4, latency_ms=5),
            entry(0, ok=False, tier=5),
            entry(59 * 60),
            entry(61 * 60),
        ],
        NOW,
    )
    last = found[-1]
    assert (len(found), found[0].at, last.at) == (60, NOW - 30 - 59 * 60, NOW - 30)
    assert (last.first_choice, last.fallback, last.degraded, last.failed, last.total) == (1, 1, 1, 1, 4)
    assert (last.percentile(0.5), last.percentile(0.95)) == (100, 300)
    assert (found[0].total, sum(one.total for one in found)) == (1, 5)
    assert found[1].percentile(0.5) is None


def test_only_calls_count_for_a_target_and_a_lost_hedge_is_no_failure():
    trail = (
        ("a/x", "called", "server_error"),
        ("b/y", "skipped", "circuit_open"),
        ("c/z", "called", "cancelled"),
    )
    bars = count_calls(
        [entry(1, *trail), entry(3599, ("a/x", "called", "ok")), entry(3700, ("a/x", "called", "ok"))], NOW
    )
    assert set(bars) == {"a/x", "c/z"}
    assert (len(bars["a/x"]), bars["a/x"][0], bars["a/x"][-1]) == (BARS, TargetBar(1, 0), TargetBar(1, 1))
    assert bars["c/z"][-1] == TargetBar(1, 0)
    assert describe_bars(bars["a/x"]) == "2 calls in the last hour, 1 failed"
    assert describe_bars(()) == "no call in the last hour"
