"""What is kept of every ask: the counters of the hour, and a ring of the last receipts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmfail.core.admission.budget_unit import format_amount
from llmfail.core.admission.refusal import OpenReason
from llmfail.core.errors import ExitCode
from llmfail.core.receipt import (
    DEGRADED_TIER,
    Failure,
    Receipt,
    SkipReason,
    TrailEntry,
    format_time,
)
from llmfail.core.records import receipt_log
from llmfail.core.records.alert_window import (
    MINUTE_SECONDS,
    NO_TARGET,
    AlertMinute,
    count_judged_asks,
    minute_expiry,
    minute_of,
)
from llmfail.core.records.counted_events import CountedAsk
from llmfail.core.records.counters import AskCounters, count_asks, counters_expiry, hour_of
from llmfail.core.records.metric_counters import AskMetrics, count_ask_metrics
from llmfail.core.records.record import StoreChange, combine, dump, load_fields
from llmfail.core.records.state_keys import alert_key, ask_counters_key, ask_metrics_key
from llmfail.core.records.statistics import Count, CountedRecord, Statistics, steps_of
from llmfail.core.routing.failure import find_missing_cause, has_service_failed
from llmfail.engine.planning.metric_labels import label_request, label_trail
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.admission.budget_notice import UnsettledCalls

_JUDGED = frozenset({None, "service"})
"""An ask whose own cause left it without an answer says nothing of the service."""


def statistics_of(receipt: Receipt, prompt: str | None, settings: Settings, wall: float) -> Statistics:
    """An ask of a configuration as it is counted, and its receipt as it is kept. The answer is not kept, the
    prompt only when it is given.
    """
    kept = {"at": format_time(wall), **receipt.to_json()}
    if prompt is None:
        del kept["answer"]
    else:
        kept["prompt"] = prompt.encode("utf-8", "replace").decode()
    steps: tuple[StoreChange, ...] = ()
    if receipt.arm is not None:
        from llmfail.engine.reports.experiment_steps import count_arm_step

        steps = (count_arm_step(receipt, receipt.arm, settings.configuration_id),)
    ask = _counted_ask_of(receipt, settings)
    records = _records_of(settings.configuration_id, minute_of(wall), is_judged=ask.missing in _JUDGED)
    return Statistics((Count(ask, records),), (dump(kept),), steps)


def log_step(receipt: Receipt, prompt: str | None, settings: Settings, wall: float) -> StoreChange:
    """Keep what ``statistics_of`` says of an ask."""
    return combine(steps_of([statistics_of(receipt, prompt, settings, wall)]))


def log_unsettled_step(lost: UnsettledCalls, entry_id: str, wall: float) -> StoreChange:
    """Keep that calls were begun and never settled: what they cost is not known."""
    error = Failure(
        ExitCode.UNAVAILABLE, "unsettled", f"budget {lost.scope.label}: {describe_unsettled(lost)}"
    )
    kept = {"at": format_time(wall), **Receipt(entry_id, "-", cost_pico_usd=None, error=error).to_json()}
    del kept["answer"]
    return receipt_log.append([dump(kept)])


def describe_unsettled(lost: UnsettledCalls) -> str:
    """The same in words."""
    calls, ended = ("1 call was", "its process") if lost.calls == 1 else (f"{lost.calls} calls were", "they")
    amount = format_amount(lost.scope.unit, lost.amount)
    return f"{calls} never settled: {ended} ended in the middle; up to {amount} are not counted"


async def load_recent(ports: Ports, limit: int) -> list[dict[str, Any]]:
    """The last receipts, the newest first."""
    values, _ = await ports.store.read([receipt_log.LOG_KEY])
    keys = receipt_log.slot_keys(values, limit)
    values, _ = await ports.store.read(keys)
    found = (load_fields(values[key]) for key in keys)
    return [fields for fields in found if fields is not None]


def _counted_ask_of(receipt: Receipt, settings: Settings) -> CountedAsk:
    missing = find_missing_cause(receipt.error)
    first = receipt.trail[0].target if receipt.trail else receipt.target
    attempts, skips = label_trail(receipt, settings)
    may_be_fallback = missing is None and 1 <= receipt.tier < DEGRADED_TIER
    return CountedAsk(
        tier=receipt.tier,
        missing=missing,
        saw_open_circuit=_has_met_open_circuit(receipt),
        latency_ms=receipt.latency_ms,
        hit=receipt.source == "cache" if receipt.looked else None,
        first_target=NO_TARGET if first is None else str(first),
        is_fallback=may_be_fallback and has_service_failed(receipt.trail),
        request=label_request(receipt),
        attempts=attempts,
        skips=skips,
    )


@lru_cache(maxsize=64)
def _records_of(configuration: str, minute: int, *, is_judged: bool) -> tuple[CountedRecord, ...]:
    """The records in which an ask of a configuration is counted. ``is_judged``: also for alerts."""
    hour = hour_of(minute * MINUTE_SECONDS)
    counters = CountedRecord(
        ask_counters_key(configuration, hour), AskCounters, count_asks, counters_expiry(hour)
    )
    metrics = CountedRecord(ask_metrics_key(configuration), AskMetrics, count_ask_metrics)
    if not is_judged:
        return counters, metrics
    alerts = CountedRecord(
        alert_key(configuration, minute), AlertMinute, count_judged_asks, minute_expiry(minute)
    )
    return counters, alerts, metrics


def _has_met_open_circuit(receipt: Receipt) -> bool:
    return any(map(_is_circuit_open, receipt.trail))


def _is_circuit_open(entry: TrailEntry) -> bool:
    """Whether its circuit is open because of failures: a pause is no illness."""
    return entry.outcome == SkipReason.CIRCUIT_OPEN and entry.open_reason != OpenReason.PAUSE
