"""What is kept of every ask: the counters of the hour, and a ring of the last receipts."""

from __future__ import annotations

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
from llmfail.core.records.alert_window import (
    NO_TARGET,
    AlertMinute,
    count_judged_ask,
    minute_of,
    write_minute,
)
from llmfail.core.records.counters import (
    HOUR_SECONDS,
    RETENTION_HOURS,
    AskCounters,
    count_ask,
    hour_of,
)
from llmfail.core.records.joint_write import ADDITION, RingSlot
from llmfail.core.records.record import (
    Record,
    StoreChange,
    Values,
    Write,
    Writes,
    combine,
    dump,
    hourly_expiry,
    load_fields,
    load_or_default,
    without_newer,
)
from llmfail.core.records.state_keys import alert_key, ask_counters_key
from llmfail.core.routing.failure import find_missing_cause, has_service_failed
from llmfail.engine.planning.metric_steps import ask_metrics_step
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.admission.reservation import UnsettledCalls

LOG_KEY = "log"
SLOT_PREFIX = "log/"
LOG_LENGTH = 2000
LOG_LIFETIME = 30 * 24 * 3600.0


class NextIndex(Record, frozen=True):
    """The number of the next receipt."""

    next: int = 0


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


def log_step(receipt: Receipt, prompt: str | None, settings: Settings, wall: float) -> StoreChange:
    """Count an ask of a configuration, and keep its receipt. The answer is not kept, the prompt only when it
    is given.
    """
    keys = AskKeys(settings.configuration_id, hour_of(wall), minute_of(wall))
    shown = None if prompt is None else prompt.encode("utf-8", "replace").decode()
    kept = {"at": format_time(wall), **receipt.to_json(), "prompt": shown}
    if prompt is None:
        del kept["answer"], kept["prompt"]
    logged = StoreChange([keys.counters, keys.alerts, LOG_KEY], partial(_log_ask, receipt, kept, keys))
    steps = [logged, ask_metrics_step(receipt, settings)]
    if receipt.arm is not None:
        from llmfail.engine.reports.experiment_steps import count_arm_step

        steps.append(count_arm_step(receipt, receipt.arm, settings.configuration_id))
    return combine(steps)


def log_unsettled_step(lost: UnsettledCalls, entry_id: str, wall: float) -> StoreChange:
    """Keep that calls were begun and never settled: what they cost is not known."""
    error = Failure(
        ExitCode.UNAVAILABLE, "unsettled", f"budget {lost.scope.label}: {describe_unsettled(lost)}"
    )
    kept = {"at": format_time(wall), **Receipt(entry_id, "-", cost_pico_usd=None, error=error).to_json()}
    del kept["answer"]
    return StoreChange([LOG_KEY], partial(_append, kept))


def describe_unsettled(lost: UnsettledCalls) -> str:
    """The same in words."""
    calls, ended = ("1 call was", "its process") if lost.calls == 1 else (f"{lost.calls} calls were", "they")
    amount = format_amount(lost.scope.unit, lost.amount)
    return f"{calls} never settled: {ended} ended in the middle; up to {amount} are not counted"


async def load_recent(ports: Ports, limit: int) -> list[dict[str, Any]]:
    """The last receipts, the newest first."""
    values, _ = await ports.store.read([LOG_KEY])
    following = _next_index(values)
    numbers = range(following - 1, max(following - 1 - min(limit, LOG_LENGTH), -1), -1)
    keys = [_slot_key(number) for number in numbers]
    values, _ = await ports.store.read(keys)
    found = (load_fields(values[key]) for key in keys)
    return [fields for fields in found if fields is not None]


def _log_ask(receipt: Receipt, kept: dict[str, Any], keys: AskKeys, values: Values, now: float) -> Writes:
    routing = count_ask(
        load_or_default(values[keys.counters], AskCounters),
        tier=receipt.tier,
        missing=find_missing_cause(receipt.error),
        saw_open_circuit=_has_met_open_circuit(receipt),
        latency_ms=receipt.latency_ms,
        hit=receipt.source == "cache" if receipt.looked else None,
    )
    counted = {
        keys.counters: Write(dump(routing), float((keys.hour + RETENTION_HOURS) * HOUR_SECONDS), ADDITION),
        **_count_for_alerts(receipt, keys, values),
    }
    return without_newer({**counted, **_append(kept, values, now)}, values)


def _count_for_alerts(receipt: Receipt, keys: AskKeys, values: Values) -> Writes:
    """Nothing for an ask whose own cause left it without an answer."""
    missing = find_missing_cause(receipt.error)
    if missing not in {None, "service"}:
        return {}
    first = receipt.trail[0].target if receipt.trail else receipt.target
    counted = count_judged_ask(
        load_or_default(values[keys.alerts], AlertMinute),
        NO_TARGET if first is None else str(first),
        is_fallback=missing is None
        and 1 <= receipt.tier < DEGRADED_TIER
        and has_service_failed(receipt.trail),
        is_error=missing == "service",
        saw_open_circuit=_has_met_open_circuit(receipt),
        latency_ms=receipt.latency_ms,
    )
    return {keys.alerts: write_minute(counted, keys.minute)}


def _has_met_open_circuit(receipt: Receipt) -> bool:
    return any(map(_is_circuit_open, receipt.trail))


def _is_circuit_open(entry: TrailEntry) -> bool:
    """Whether its circuit is open because of failures: a pause is no illness."""
    return entry.outcome == SkipReason.CIRCUIT_OPEN and entry.open_reason != OpenReason.PAUSE


def _append(kept: dict[str, Any], values: Values, now: float) -> Writes:
    number = _next_index(values)
    slot = RingSlot(SLOT_PREFIX, LOG_KEY, "next", LOG_LENGTH)
    writes = {
        LOG_KEY: Write(dump(NextIndex(number + 1)), how=ADDITION),
        _slot_key(number): Write(dump(kept), hourly_expiry(now + LOG_LIFETIME), slot),
    }
    return without_newer(writes, values)


def _next_index(values: Values) -> int:
    return load_or_default(values[LOG_KEY], NextIndex).next


def _slot_key(number: int) -> str:
    return f"{SLOT_PREFIX}{number % LOG_LENGTH}"
