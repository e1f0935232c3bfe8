"""What is kept of every ask: the counters of the hour, and a ring of the last receipts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llmfail.core.errors import ExitCode
from llmfail.core.receipt import Failure, Receipt, SkipReason, format_time, format_usd
from llmfail.core.records.counters import (
    HOUR_SECONDS,
    RETENTION_HOURS,
    AskCounters,
    count_ask,
    hour_of,
)
from llmfail.core.records.record import (
    Record,
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    load_fields,
    load_or_default,
    without_newer,
)
from llmfail.engine.ports.protocols import Ports

if TYPE_CHECKING:
    from llmfail.core.admission.reservation import UnsettledCalls

LOG_KEY = "log"
LOG_LENGTH = 2000
LOG_LIFETIME = 30 * 24 * 3600.0


class NextIndex(Record, frozen=True):
    """The number of the next receipt."""

    next: int = 0


def routing_key(hour: int) -> str:
    return f"routing/{hour}"


def log_step(receipt: Receipt, prompt: str | None, wall: float) -> StoreChange:
    """Count an ask and keep its receipt; the answer is not kept, the prompt only when it is given."""
    hour = hour_of(wall)
    shown = None if prompt is None else prompt.encode("utf-8", "replace").decode()
    kept = {"at": format_time(wall), **receipt.to_json(), "prompt": shown}
    if prompt is None:
        del kept["answer"], kept["prompt"]
    return StoreChange([routing_key(hour), LOG_KEY], partial(_log_ask, receipt, kept, hour))


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
    amount = format_usd(lost.amount)
    return f"{calls} never settled: {ended} ended in the middle; up to ${amount} are not counted"


async def load_recent(ports: Ports, limit: int) -> list[dict[str, Any]]:
    """The last receipts, the newest first."""
    values, _ = await ports.store.read([LOG_KEY])
    following = _next_index(values)
    numbers = range(following - 1, max(following - 1 - min(limit, LOG_LENGTH), -1), -1)
    keys = [_slot_key(number) for number in numbers]
    values, _ = await ports.store.read(keys)
    found = (load_fields(values[key]) for key in keys)
    return [fields for fields in found if fields is not None]


def _log_ask(receipt: Receipt, kept: dict[str, Any], hour: int, values: Values, now: float) -> Writes:
    routing = count_ask(
        load_or_default(values[routing_key(hour)], AskCounters),
        tier=receipt.tier,
        ok=receipt.ok,
        saw_open_circuit=any(line.outcome == SkipReason.CIRCUIT_OPEN for line in receipt.trail),
        latency_ms=receipt.latency_ms,
        hit=receipt.source == "cache" if receipt.looked else None,
    )
    counted = {routing_key(hour): Write(dump(routing), float((hour + RETENTION_HOURS) * HOUR_SECONDS))}
    return without_newer({**counted, **_append(kept, values, now)}, values)


def _append(kept: dict[str, Any], values: Values, now: float) -> Writes:
    number = _next_index(values)
    writes = {
        LOG_KEY: Write(dump(NextIndex(number + 1))),
        _slot_key(number): Write(dump(kept), hourly_expiry(now + LOG_LIFETIME)),
    }
    return without_newer(writes, values)


def _next_index(values: Values) -> int:
    return load_or_default(values[LOG_KEY], NextIndex).next


def _slot_key(number: int) -> str:
    return f"log/{number % LOG_LENGTH}"
