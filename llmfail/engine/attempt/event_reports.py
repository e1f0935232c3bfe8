"""Tells listeners what happens in an ask: the one place where watch events are made, from the trail that the
state machine keeps and from the changes that a settlement finds. Where nobody listens, nothing here is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from decimal import Decimal
from typing import TypeVar, cast

from llmfail.core.admission.budget_unit import BudgetUnit
from llmfail.core.admission.gate import Gate
from llmfail.core.admission.gate_changes import (
    OPERATOR_DID_IT,
    BudgetChange,
    CircuitChange,
    CredentialChange,
    GateChange,
    WatchedRecords,
    find_changes,
)
from llmfail.core.model import Target
from llmfail.core.receipt import DEGRADED_TIER, Receipt, TrailEntry, dollars_of
from llmfail.core.records.record import Values, Writes
from llmfail.core.reports.watch_event import (
    AskBegun,
    AttemptEnded,
    BudgetCrossed,
    BudgetMark,
    CircuitChanged,
    CredentialDisabled,
    Degraded,
    FellBack,
    TargetSkipped,
    WatchEvent,
)
from llmfail.core.request.ask import Ask
from llmfail.core.routing.ask_state import AskState
from llmfail.engine.planning.job import Job
from llmfail.engine.ports.protocols import Ports, WatchListener
from llmfail.store.base import Change

R = TypeVar("R")


class TrailReporter:
    """Tells each entry of a trail once, as soon as it stands there."""

    def __init__(self, listener: WatchListener, ports: Ports, job: Job) -> None:
        self._listener = listener
        self._ports = ports
        self._job = job
        self._told: dict[int, int] = {}

    def report_news(self, state: AskState) -> None:
        for attempt in state.attempts:
            told = self._told.get(attempt.number, 0)
            if len(attempt.trail) > told:
                self._told[attempt.number] = len(attempt.trail)
                for entry in attempt.trail[told:]:
                    self._listener.tell(self._event_of(entry))

    def _event_of(self, entry: TrailEntry) -> WatchEvent:
        at, ask_id, feature = self._ports.wall(), self._job.id, self._job.feature
        if entry.action == "skipped":
            return TargetSkipped(at, ask_id, feature, str(entry.target), str(entry.outcome), entry.note)
        return AttemptEnded(
            at=at,
            id=ask_id,
            feature=feature,
            target=str(entry.target),
            outcome=str(entry.outcome),
            status=entry.status,
            latency_ms=entry.latency_ms,
            cost_usd=entry.cost_usd,
            request_id=entry.request_id,
            note=entry.note,
        )


async def observe(listener: WatchListener, job: Job, ask: Ask, work: Awaitable[Receipt]) -> Receipt:
    """The work, of which whoever traces is told when it begins and ends."""
    _report_begin(listener, job, ask)
    receipt = None
    try:
        receipt = await work
    finally:
        listener.end_ask(job.id, receipt)
    return receipt


def _report_begin(listener: WatchListener, job: Job, ask: Ask) -> None:
    begun = AskBegun(
        id=job.id,
        feature=job.feature,
        operation="embeddings" if job.wants_vectors else "chat",
        max_tokens=job.request.max_tokens,
        stream=job.stream_timeouts is not None,
        session=ask.session,
        traceparent=ask.traceparent,
    )
    listener.begin_ask(begun)


def report_changes(listener: WatchListener, at: float, ask_id: str, changes: Iterable[GateChange]) -> None:
    """Tell what an update has changed, after it was written."""
    for change in changes:
        listener.tell(_event_of(change, at, ask_id))


async def update_watched(ports: Ports, gate: Gate, keys: Sequence[str], change: Change[R]) -> R:
    """An operator's update of one gate, and who listens is told what it has changed."""
    watched = WatchedRecords([gate], outcomes={gate.target: OPERATOR_DID_IT})

    def change_and_find(values: Values, now: float) -> tuple[Writes, tuple[R, tuple[GateChange, ...]]]:
        writes, result = change(values, now)
        return writes, (result, find_changes(watched, values, writes, now))

    result, changes = await ports.store.update(keys, change_and_find)
    if ports.active_listener is not None:
        report_changes(ports.active_listener, ports.wall(), "", changes)
    return result


def report_answer(listener: WatchListener, at: float, receipt: Receipt, primary: Target) -> None:
    """Tell that not the primary target has answered, where that is so."""
    if receipt.error is not None or not 0 < receipt.tier <= DEGRADED_TIER:
        return
    if receipt.tier == DEGRADED_TIER:
        listener.tell(Degraded(at, receipt.id, receipt.feature, receipt.source))
        return
    passed = (entry.outcome for entry in receipt.trail if entry.target == primary)
    outcome = str(next(passed, "not in the chain"))
    target = str(receipt.target)
    listener.tell(FellBack(at, receipt.id, receipt.feature, target, str(primary), outcome, receipt.tier))


def _event_of(change: GateChange, at: float, ask_id: str) -> WatchEvent:
    match change:
        case CircuitChange(target, old, new, why, until):
            return CircuitChanged(at, ask_id, str(target), old, new, why, until)
        case CredentialChange(target, is_for_all, why, until):
            scope = "credential" if is_for_all else "target"
            return CredentialDisabled(at, ask_id, str(target), scope, why, until)  # type: ignore[arg-type]
        case BudgetChange(scope=budget, mark=mark, spent=spent):
            amounts = (_in_unit(budget.unit, amount) for amount in (spent, budget.limit))
            return BudgetCrossed(at, ask_id, budget.label, cast("BudgetMark", mark), budget.unit, *amounts)


def _in_unit(unit: BudgetUnit, amount: int) -> Decimal | int:
    if unit != "usd":
        return amount
    dollars = dollars_of(amount)
    assert dollars is not None
    return dollars
