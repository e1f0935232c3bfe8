"""What is kept of every ask: the counters of the hour, and a ring of the last receipts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

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
    NO_TARGET,
    AlertMinute,
    count_judged_ask,
    minute_expiry,
    minute_of,
)
from llmfail.core.records.counters import AskCounters, count_ask, counters_expiry, hour_of
from llmfail.core.records.record import StoreChange, combine, dump, load_fields
from llmfail.core.records.state_keys import alert_key, ask_counters_key
from llmfail.core.records.statistics import Count, Statistics, steps_of
from llmfail.core.routing.failure import find_missing_cause, has_service_failed
from llmfail.engine.planning.metric_steps import count_ask_in_metrics
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.admission.budget_notice import UnsettledCalls


class AskKeys(Struct, frozen=True):
    """The records in which an ask of a configuration is counted, of one hour and one minute."""

    configuration: str
    hour: int
    minute: int

    @property
    def counters(self) -> str:
        return ask_counters_key(self.configuration, self.hour)

    @property
    def alerts(self) -> str:
        return alert_key(self.configuration, self.minute)


def statistics_of(receipt: Receipt, prompt: str | None, settings: Settings, wall: float) -> Statistics:
    """An ask of a configuration as it is counted, and its receipt as it is kept. The answer is not kept, the
    prompt only when it is given.
    """
    keys = AskKeys(settings.configuration_id, hour_of(wall), minute_of(wall))
    shown = None if prompt is None else prompt.encode("utf-8", "replace").decode()
    kept = {"at": format_time(wall), **receipt.to_json(), "prompt": shown}
    if prompt is None:
        del kept["answer"], kept["prompt"]
    steps: tuple[StoreChange, ...] = ()
    if receipt.arm is not None:
        from llmfail.engine.reports.experiment_steps import count_arm_step

        steps = (count_arm_step(receipt, receipt.arm, settings.configuration_id),)
    counts = (*_counts_of(receipt, keys), count_ask_in_metrics(receipt, settings))
    return Statistics(counts, (dump(kept),), steps)


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


def _counts_of(receipt: Receipt, keys: AskKeys) -> Iterator[Count]:
    """The second, for alerts, is not made of an ask whose own cause left it without an answer."""
    missing, met_open = find_missing_cause(receipt.error), _has_met_open_circuit(receipt)
    counted = partial(
        count_ask,
        tier=receipt.tier,
        missing=missing,
        saw_open_circuit=met_open,
        latency_ms=receipt.latency_ms,
        hit=receipt.source == "cache" if receipt.looked else None,
    )
    yield Count(keys.counters, AskCounters, counted, counters_expiry(keys.hour))
    if missing not in {None, "service"}:
        return
    first = receipt.trail[0].target if receipt.trail else receipt.target
    judged = partial(
        count_judged_ask,
        first_target=NO_TARGET if first is None else str(first),
        is_fallback=missing is None
        and 1 <= receipt.tier < DEGRADED_TIER
        and has_service_failed(receipt.trail),
        is_error=missing == "service",
        saw_open_circuit=met_open,
        latency_ms=receipt.latency_ms,
    )
    yield Count(keys.alerts, AlertMinute, judged, minute_expiry(keys.minute))


def _has_met_open_circuit(receipt: Receipt) -> bool:
    return any(map(_is_circuit_open, receipt.trail))


def _is_circuit_open(entry: TrailEntry) -> bool:
    """Whether its circuit is open because of failures: a pause is no illness."""
    return entry.outcome == SkipReason.CIRCUIT_OPEN and entry.open_reason != OpenReason.PAUSE
