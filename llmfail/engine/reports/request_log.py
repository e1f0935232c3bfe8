"""What is kept of every ask: the counters of the hour, and a ring of the last receipts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llmfail.core.errors import ExitCode
from llmfail.core.receipt import Failure, Receipt, Skip, iso, usd
from llmfail.core.records.counters import (
    HOUR,
    KEPT_HOURS,
    Routing,
    count_ask,
    hour_of,
)
from llmfail.core.records.record import (
    Record,
    Step,
    Values,
    Write,
    Writes,
    dump,
    kept_until,
    load_fields,
    ours,
    recall,
)
from llmfail.engine.ports.ports import Ports

if TYPE_CHECKING:
    from llmfail.core.admission.reservation import Unsettled

LOG = "log"
LOG_LENGTH = 2000
LOG_KEPT = 30 * 24 * 3600.0


class Next(Record, frozen=True):
    """The number of the next receipt."""

    next: int = 0


def routing_key(hour: int) -> str:
    return f"routing/{hour}"


def entry(receipt: Receipt, prompt: str | None, wall: float) -> Step:
    """Count an ask and keep its receipt; the answer is not kept, the prompt only when it is given."""
    hour = hour_of(wall)
    shown = None if prompt is None else prompt.encode("utf-8", "replace").decode()
    kept = {"at": iso(wall), **receipt.to_json(), "prompt": shown}
    if prompt is None:
        del kept["answer"], kept["prompt"]
    return Step([routing_key(hour), LOG], partial(_enter, receipt, kept, hour))


def unsettled(lost: Unsettled, entry_id: str, wall: float) -> Step:
    """Keep that calls were begun and never settled: what they cost is not known."""
    error = Failure(ExitCode.UNAVAILABLE, "unsettled", f"budget {lost.cover.label}: {told(lost)}")
    kept = {"at": iso(wall), **Receipt(entry_id, "-", cost=None, error=error).to_json()}
    del kept["answer"]
    return Step([LOG], partial(_append, kept))


def told(lost: Unsettled) -> str:
    """The same in words."""
    calls, ended = ("1 call was", "its process") if lost.calls == 1 else (f"{lost.calls} calls were", "they")
    return f"{calls} never settled: {ended} ended in the middle; up to ${usd(lost.amount)} are not counted"


async def recent(ports: Ports, most: int) -> list[dict[str, Any]]:
    """The last receipts, the newest first."""
    values, _ = await ports.keeper.read([LOG])
    following = _following(values)
    numbers = range(following - 1, max(following - 1 - min(most, LOG_LENGTH), -1), -1)
    keys = [_slot(number) for number in numbers]
    values, _ = await ports.keeper.read(keys)
    found = (load_fields(values[key]) for key in keys)
    return [fields for fields in found if fields is not None]


def _enter(receipt: Receipt, kept: dict[str, Any], hour: int, values: Values, now: float) -> Writes:
    routing = count_ask(
        recall(values[routing_key(hour)], Routing),
        tier=receipt.tier,
        ok=receipt.ok,
        met_open=any(line.outcome == Skip.CIRCUIT_OPEN for line in receipt.trail),
        latency_ms=receipt.latency_ms,
        hit=receipt.source == "cache" if receipt.looked else None,
    )
    counted = {routing_key(hour): Write(dump(routing), float((hour + KEPT_HOURS) * HOUR))}
    return ours({**counted, **_append(kept, values, now)}, values)


def _append(kept: dict[str, Any], values: Values, now: float) -> Writes:
    number = _following(values)
    writes = {
        LOG: Write(dump(Next(number + 1))),
        _slot(number): Write(dump(kept), kept_until(now + LOG_KEPT)),
    }
    return ours(writes, values)


def _following(values: Values) -> int:
    return recall(values[LOG], Next).next


def _slot(number: int) -> str:
    return f"log/{number % LOG_LENGTH}"
