"""The admitted calls of one ask, each settled once, whatever happens.

A failure is settled in one step with the next admission, or before a pause; the answer in one step with
whatever else is kept of the ask. Name resolution and routing failures wait for a sign that our own network
works: if at least two hosts were tried and not one could be found, they say nothing about anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import gate_settlement, reservation
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.budget_notice import BudgetNotice, collect_notices
from llmfail.core.admission.gate import Admission, Gate
from llmfail.core.admission.gate_settlement import SettledCall, is_plain
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.receipt import SkipReason
from llmfail.core.records.record import (
    SettlingChange,
    StoreChange,
    Values,
    Writes,
    after_writes,
    combine,
    make_idempotent,
    merge_writes,
)
from llmfail.core.records.statistics import Statistics, steps_of
from llmfail.core.routing.ask_events import Settled
from llmfail.core.routing.ask_state import NOT_SENT, PendingCall, due_calls, settlement_of
from llmfail.engine.attempt.call_statistics import statistics_of_call
from llmfail.engine.planning.job import Job
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports
from llmfail.store.base import Change

if TYPE_CHECKING:
    from llmfail.core.admission.gate_changes import GateChange, WatchedRecords
    from llmfail.engine.attempt.live_ask import LiveAsk
    from llmfail.engine.ports.budget_slices import BudgetSlices
    from llmfail.engine.ports.deferred_writes import DeferredWrites

R = TypeVar("R")
_Notices = tuple[BudgetNotice, ...]
_Changes = tuple["GateChange", ...]
STORE_DOWN_NOTE = "the store is down, and budgets refuse without it (on_store_error: refuse)"


class SettlementLog:
    """Settles the calls of one ask, as its state has them, and makes it known to the ask in the same turn of
    the event loop as the write. Of what is written, one thing at a time; whoever is stopped in the middle
    calls ``settle`` again. ``notices`` are for people.
    """

    def __init__(
        self,
        ports: Ports,
        job: Job,
        routes: TargetRoutes,
        ask: LiveAsk,
    ) -> None:
        self._ports = ports
        self._job = job
        self._routes = routes
        self._ask = ask
        self._write_lock = ports.lock()
        self._extra_steps: list[StoreChange] = []
        self._extra_statistics: list[Statistics] = []
        self._settlements_made = 0
        self._slices = None if ports.deferred is None else ports.deferred.slices
        self.notices: list[BudgetNotice] = []

    async def admit(self, gate: Gate, reservation_request: ReservationRequest) -> Admission | Refusal:
        """Ask for a call, and settle what is due."""
        if (at_hand := self._admit_at_hand(gate, reservation_request)) is not None:
            return at_hand
        writes = bool(self._ask.state.calls)
        return await self._ports.store.run_shielded(self._admit(gate, reservation_request), writes=writes)

    async def settle_before_pause(self) -> None:
        """Others learn of a failure before this ask waits."""
        if due_calls(self._ask.state):
            await self._ports.store.run_shielded(self._settle_due(), writes=True)

    async def settle(self, *also: StoreChange, statistics: Sequence[Statistics] = ()) -> None:
        """Settle what is left, in one step with ``also``."""
        self._extra_steps += also
        self._extra_statistics += statistics
        if not self._put_off_all():
            await self._ports.store.run_shielded(self._settle_all(), writes=True)

    def _put_off_all(self) -> bool:
        """Whether all that is left may wait; then it does."""
        deferred, state = self._ports.deferred, self._ask.state
        if deferred is None or self._extra_steps or state.unanswered_requests:
            return False
        settled = self._list_settled(state.calls)
        if not all(map(is_plain, settled)):
            return False
        deferred.put_off([*map(self._statistics_of, settled), *self._extra_statistics], settled)
        self._extra_statistics = []
        self._forget(state.calls)
        return True

    def _admit_at_hand(self, gate: Gate, request: ReservationRequest) -> Admission | Refusal | None:
        """An admission that the records of a moment ago allow, and that writes nothing."""
        deferred, ports = self._ports.deferred, self._ports
        if deferred is None or gate.limits or ports.is_down():
            return None
        if request.scopes:
            return self._admit_from_slices(gate, request, deferred)
        values = deferred.recent.find(gate.keys_with_budgets(request))
        if values is None or due_calls(self._ask.state):
            return None
        writes, answer = gates.admit(gate, request, values, ports.wall())
        return answer if isinstance(answer, Admission) and not writes else None

    def _admit_from_slices(
        self, gate: Gate, request: ReservationRequest, deferred: DeferredWrites
    ) -> Admission | Refusal | None:
        """The same within the process's own slices of the budgets, or what a budget has just refused."""
        slices = deferred.slices
        if slices is None or request.is_probe or due_calls(self._ask.state):
            return None
        values = deferred.recent.find(gate.keys_without_budgets)
        answer = slices.admit(gate, request, values, self._ports.wall())
        if slices.is_low(request):
            deferred.hurry()
        return answer

    async def _admit(self, gate: Gate, reservation_request: ReservationRequest) -> Admission | Refusal:
        async with self._write_lock:
            due = due_calls(self._ask.state)
            before = self._after_answers(self._settle_together(due))
            keys = [*before.keys, *gate.keys_with_budgets(reservation_request)]
            scopes = [*_budget_scopes(due), *reservation_request.scopes]
            watched = self._watch(due, [gate], scopes)
            admission = partial(self._admit_change, gate, reservation_request)
            change = self._remembering(_admit_after(before, scopes, watched, admission))
            answer, notices, changes = await self._ports.store.update(keys, SettlingChange(change, before))
            self._put_off_statistics(due)
            self._forget(due)
        self.notices += notices
        self._report(changes)
        return answer

    def _admit_change(
        self, gate: Gate, reservation_request: ReservationRequest, values: Values, now: float
    ) -> tuple[Writes, Admission | Refusal]:
        """Run by the store that admits, so that its own state is the one that counts."""
        refused = refuse_when_store_down(self._ports, self._job, reservation_request)
        if refused is not None:
            return {}, refused
        writes, answer = gates.admit(gate, reservation_request, values, now)
        if isinstance(answer, Admission) and self._ports.is_down():
            answer = replace(answer, reservation=reservation.mark_unshared(answer.reservation))
        if self._slices is not None and reservation_request.scopes:
            self._slices.note_answer(reservation_request, answer, values)
        return writes, answer

    async def _settle_due(self) -> None:
        async with self._write_lock:
            due = due_calls(self._ask.state)
            await self._write(self._settle_together(due), due)
            self._put_off_statistics(due)
            self._forget(due)

    async def _settle_all(self) -> None:
        state = self._ask.state
        unused = [
            gate_settlement.cancel_reservation(self._routes[target].gate, reservation_request)
            for target, reservation_request in state.unanswered_requests
        ]
        calls = self._list_settled(state.calls)
        settled = starmap(gate_settlement.settle, calls)
        statistics = [*map(self._statistics_of, calls), *self._extra_statistics]
        await self._write_once([*unused, *settled, *self._extra_steps], statistics, state.calls)
        self._forget(
            state.calls,
            frozenset(reservation_request.call_id for _, reservation_request in state.unanswered_requests),
        )
        self._extra_steps, self._extra_statistics = [], []
        self._settlements_made += 1

    async def _write_once(
        self, steps: Sequence[StoreChange], statistics: Sequence[Statistics], calls: Sequence[PendingCall]
    ) -> None:
        """Whoever is stopped after the write settles again: a mark tells that it was made."""
        deferred = self._ports.deferred
        if deferred is None:
            steps = [*steps, *steps_of(statistics)]
        if steps:
            mark = f"{self._job.id}.{self._settlements_made}"
            await self._write(make_idempotent(mark, combine(steps)), calls)
        if deferred is not None:
            deferred.put_off(statistics)

    def _forget(self, settled: Sequence[PendingCall], requests: frozenset[str] = frozenset()) -> None:
        if self._slices is not None:
            self._settle_in_slices(self._slices, settled, requests)
        if settled or requests:
            self._ask.apply_event(Settled(requests | {one.call_id for one in settled}))

    def _settle_in_slices(
        self, slices: BudgetSlices, settled: Sequence[PendingCall], requests: frozenset[str]
    ) -> None:
        """What came of the calls that they admitted, and what has come to light since."""
        state = self._ask.state
        for call in settled:
            slices.settle(call.call_id, settlement_of(state, call))
        for call_id in requests:
            slices.settle(call_id, NOT_SENT)
        for notices, changes in slices.take_news():
            self.notices += notices
            self._report(tuple(changes))

    def _settle_together(self, calls: Sequence[PendingCall]) -> StoreChange:
        if not calls:
            return StoreChange((), _write_nothing)
        settled = self._list_settled(calls)
        is_counted = self._ports.deferred is None
        counted = steps_of(map(self._statistics_of, settled)) if is_counted else []
        return combine([*starmap(gate_settlement.settle, settled), *counted])

    def _after_answers(self, step: StoreChange) -> StoreChange:
        """The change behind the answers that were put off, which are settled by it."""
        answers = [] if self._ports.deferred is None else self._ports.deferred.take_answers()
        return combine([*answers, step]) if answers else step

    def _remembering(self, change: Change[R]) -> Change[R]:
        deferred = self._ports.deferred
        return change if deferred is None else deferred.recent.remember_after(change)

    def _put_off_statistics(self, calls: Sequence[PendingCall]) -> None:
        if calls and self._ports.deferred is not None:
            self._ports.deferred.put_off([*map(self._statistics_of, self._list_settled(calls))])

    def _list_settled(self, calls: Sequence[PendingCall]) -> list[SettledCall]:
        """What they come to, by all that is known now."""
        state = self._ask.state
        return [
            SettledCall(self._routes[one.target].gate, one.admission, settlement_of(state, one))
            for one in calls
        ]

    def _statistics_of(self, call: SettledCall) -> Statistics:
        return statistics_of_call(self._routes.settings, self._job, call)

    async def _write(self, step: StoreChange, calls: Sequence[PendingCall]) -> None:
        scopes = _budget_scopes(calls)
        step = self._after_answers(step)
        change = self._remembering(
            partial(_change_with_notices, step, scopes, self._watch(calls, [], scopes))
        )
        notices, changes = await self._ports.store.update(step.keys, SettlingChange(change, step))
        self.notices += notices
        self._report(changes)

    def _report(self, changes: _Changes) -> None:
        listener = self._ports.listener
        if changes and listener is not None:
            from llmfail.engine.attempt.event_reports import report_changes

            report_changes(listener, self._ports.wall(), self._job.id, changes)

    def _watch(
        self, calls: Sequence[PendingCall], gates: Sequence[Gate], scopes: Sequence[BudgetScope]
    ) -> WatchedRecords | None:
        """Whose changes listeners are told of; None where nobody listens."""
        if self._ports.listener is None:
            return None
        from llmfail.core.admission.gate_changes import WatchedRecords

        state = self._ask.state
        outcomes = {one.target: settlement_of(state, one).outcome for one in calls}
        whys = {target: f"{one.kind}: {one.note}".rstrip(": ") for target, one in outcomes.items()}
        return WatchedRecords([*(self._routes[one.target].gate for one in calls), *gates], scopes, whys)


def refuse_when_store_down(ports: Ports, job: Job, reservation_request: ReservationRequest) -> Refusal | None:
    """A budget that cannot be shared any more guards nothing."""
    if reservation_request.scopes and job.refuse_when_down and ports.is_down():
        return Refusal(SkipReason.OVER_BUDGET, None, STORE_DOWN_NOTE)
    return None


def _budget_scopes(calls: Iterable[PendingCall]) -> tuple[BudgetScope, ...]:
    return tuple(dict.fromkeys(cover for one in calls for cover in one.admission.reservation.request.scopes))


def _write_nothing(_values: Values, _now: float) -> Writes:
    return {}


def _change_with_notices(
    step: StoreChange,
    budget_scopes: Sequence[BudgetScope],
    watched: WatchedRecords | None,
    values: Values,
    now: float,
) -> tuple[Writes, tuple[_Notices, _Changes]]:
    """A change that tells which budgets have to be warned of, and what else it has changed."""
    writes = step.change(values, now)
    changes = _find_changes(watched, values, writes, now)
    return writes, (collect_notices(budget_scopes, values, writes), changes)


def _find_changes(watched: WatchedRecords | None, values: Values, writes: Writes, now: float) -> _Changes:
    if watched is None:
        return ()
    from llmfail.core.admission.gate_changes import find_changes

    return find_changes(watched, values, writes, now)


def _admit_after(
    before: StoreChange,
    budget_scopes: Sequence[BudgetScope],
    watched: WatchedRecords | None,
    admission: Change[Admission | Refusal],
) -> Change[tuple[Admission | Refusal, _Notices, _Changes]]:
    """An admission that sees what was settled in the same step."""

    def change(values: Values, now: float) -> tuple[Writes, tuple[Admission | Refusal, _Notices, _Changes]]:
        settled = before.change(values, now)
        admitted, answer = admission({**values, **after_writes(settled)}, now)
        writes = merge_writes(settled, admitted)
        changes = _find_changes(watched, values, writes, now)
        return writes, (answer, collect_notices(budget_scopes, values, writes), changes)

    return change
