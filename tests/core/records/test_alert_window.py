"""The asks by which alerts are judged: per minute, per first target, and forgotten by a reset."""

from llmfail.core.records.alert_window import (
    MAX_TARGETS,
    NO_TARGET,
    AlertCounters,
    AlertMinute,
    count_judged_asks,
    forget_targets,
    load_window,
    sum_window,
    window_keys,
    write_minute,
)
from llmfail.core.records.counted_events import CountedAsk
from llmfail.core.records.record import after_writes, load

A, B = "anthropic/claude", "openai/gpt"


def count(minute, target, *, error=False, fallback=False):
    ask = CountedAsk(
        tier=0,
        missing="service" if error else None,
        saw_open_circuit=False,
        latency_ms=10,
        first_target=target,
        is_fallback=fallback,
    )
    return count_judged_asks(minute, [ask])


def test_a_window_is_the_minutes_that_it_touches():
    assert window_keys("c", 600.0, 120.0) == ["alerts/c/8", "alerts/c/9", "alerts/c/10"]
    assert window_keys("c", 659.9, 60.0) == ["alerts/c/9", "alerts/c/10"]


def test_a_window_is_the_sum_of_its_minutes_and_targets():
    early = count(count(AlertMinute(), A, error=True), B)
    late = count(AlertMinute(), A, fallback=True)
    total = sum_window([early, late])
    assert (total.asks, total.errors, total.fallbacks) == (3, 1, 1)
    assert sum(total.latencies.values()) == 3


def test_beyond_so_many_targets_a_minute_counts_the_others_together():
    minute = AlertMinute()
    for number in range(MAX_TARGETS + 5):
        minute = count(minute, f"p/{number}", error=True)
    assert len(minute.by_target) == MAX_TARGETS + 1
    assert minute.by_target[NO_TARGET].errors == 5
    assert count(minute, "p/0").by_target["p/0"].asks == 2
    assert sum_window([minute]).errors == MAX_TARGETS + 5


def test_i2_a_reset_forgets_the_asks_of_what_it_resets_and_no_others():
    minute = count(count(AlertMinute(), A, error=True), B)
    values = {"alerts/1": write_minute(minute, 1).text, "alerts/2": None}
    writes, troubled = forget_targets(lambda target: target == A, values, 0.0)
    assert troubled == (A,)
    left = load_window(["alerts/1", "alerts/2"], {**values, **after_writes(writes)})
    assert (left.asks, left.errors) == (1, 0)


def test_a_minute_without_asks_is_deleted_and_asks_without_trouble_are_nothing_to_reset():
    values = {"alerts/1": write_minute(count(AlertMinute(), A), 1).text}
    assert forget_targets(lambda _target: True, values, 0.0) == ({"alerts/1": None}, ())


def test_a_record_of_a_newer_version_is_left_alone():
    newer = '{"v":2,"by_target":{}}'
    assert load(newer, AlertMinute) is None
    assert forget_targets(lambda _target: True, {"alerts/1": newer}, 0.0) == ({}, ())
    assert load_window(["alerts/1"], {"alerts/1": newer}) == AlertCounters()
