"""Alerts on asks: figures of a window of time, judged by thresholds. Budgets have alerts of their own in
``status``.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from llmfail.core.records.alert_window import AlertCounters
from llmfail.core.records.counters import percentile, rate

CRITICAL_FACTOR = 2
"""An alert is critical from so many times its threshold."""
MIN_CRITICAL_ASKS = 2
"""A share is critical only when at least so many asks make it up: a single one may be chance."""


class Thresholds(Struct, frozen=True):
    """Above these an alert is raised. Rates are shares, ``latency_p95`` is in seconds, ``cost_per_day`` in
    USD. All but the cost are judged over ``window`` seconds in which at least ``min_requests`` asks ended.
    """

    circuit_open_rate: float
    fallback_rate: float
    latency_p95: float
    error_rate: float
    cost_per_day: float
    window: float
    min_requests: int


class Alert(Struct, frozen=True):
    """``level`` is warning or critical; ``value`` and ``threshold`` are in the unit of the threshold."""

    name: str
    level: str
    value: float
    threshold: float
    message: str


def find_alerts(window: AlertCounters, spent: float, thresholds: Thresholds) -> tuple[Alert, ...]:
    """The figures above their thresholds. ``spent`` is in USD, of the last 24 hours."""
    judged = _judge_window(window, thresholds) if window.asks >= thresholds.min_requests else ()
    return (*judged, *_judge_cost(spent, thresholds.cost_per_day))


def _judge_window(window: AlertCounters, thresholds: Thresholds) -> Iterator[Alert]:
    lately = f"in the last {_format_span(thresholds.window)}"
    for name, asks, threshold in (
        ("circuit_open_rate", window.met_open, thresholds.circuit_open_rate),
        ("fallback_rate", window.fallbacks, thresholds.fallback_rate),
        ("error_rate", window.errors, thresholds.error_rate),
    ):
        value = rate(asks, window.asks)
        if value > threshold:
            reached, allowed = _format_share(value), _format_share(threshold)
            message = f"{name} is {reached}, above {allowed}, {lately} ({asks} of {window.asks} asks)"
            is_critical = value >= CRITICAL_FACTOR * threshold and asks >= MIN_CRITICAL_ASKS
            yield Alert(name, _name_level(is_critical=is_critical), value, threshold, message)
    p95 = (percentile(window.latencies, 0.95) or 0) / 1000
    if p95 > thresholds.latency_p95:
        message = f"latency_p95 is {p95:,.1f}s, above {_format_number(thresholds.latency_p95)}s, {lately}"
        is_critical = p95 >= CRITICAL_FACTOR * thresholds.latency_p95
        yield Alert("latency_p95", _name_level(is_critical=is_critical), p95, thresholds.latency_p95, message)


def _judge_cost(spent: float, threshold: float) -> Iterator[Alert]:
    if spent > threshold:
        message = f"cost_per_day is ${spent:,.2f}, above ${threshold:,.2f}, in the last 24 hours"
        is_critical = spent >= CRITICAL_FACTOR * threshold
        yield Alert("cost_per_day", _name_level(is_critical=is_critical), spent, threshold, message)


def _name_level(*, is_critical: bool) -> str:
    return "critical" if is_critical else "warning"


def _format_share(share: float) -> str:
    """``2.44%``: to a hundredth of a per cent."""
    return f"{_format_number(share * 100)}%"


def _format_number(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _format_span(seconds: float) -> str:
    """``15 minutes``, ``1 hour``, ``90 seconds``."""
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = round(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{_format_number(seconds)} seconds"
