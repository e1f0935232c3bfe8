"""The admitted calls of one walk, each settled once, whatever happens.

A failure is settled in one step with the next admission, or before a pause; the answer in one step with
whatever else is kept of the ask. Name resolution and routing failures wait for a sign that our own network
works: if at least two hosts were tried and not one could be found, they say nothing about anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import reservation
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.gate import Admission, Gate, Settlement
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation import BudgetNotice, ReservationRequest
from llmfail.core.classification.outcome import Kind
from llmfail.core.pricing import usage_record
from llmfail.core.pricing.usage_record import UsageEvent
from llmfail.core.receipt import SkipReason
from llmfail.core.records.record import (
    StoreChange,
    Values,
    Writes,
    after_writes,
    combine,
    make_idempotent,
)
from llmfail.engine.planning.budget_period import day_of
from llmfail.engine.planning.job import Job
from llmfail.engine.ports.protocols import Ports
from llmfail.store.base import Change

LEASE_MARGIN = 30.0
"""Seconds that a trial's place, and what is held in budgets, outlive the call's timeout."""
STORE_DOWN_NOTE = "the store is down, and budgets refuse without it (on_store_error: refuse)"


class PendingCall(Struct, frozen=True):
    """An admitted call, what became of it as far as is known, and the host it went to."""

    gate: Gate
    admitted: Admission
    settlement: Settlement
    host: str = ""
    is_over: bool = False

    @property
    def call_id(self) -> str:
        return self.admitted.reservation.request.call_id


class SettlementLog:
    """Ids of calls are made from the job's, which nobody else has. ``own_network`` is known once the walk is
    over; ``notices`` are for people. What is written is forgotten only afterwards: whoever is stopped in the
    middle calls ``settle`` again. Several calls may be under way; of what is written, one thing at a time.
    """

    def __init__(self, ports: Ports, job: Job) -> None:
        self._ports = ports
        self._job = job
        self._calls_made = 0
        self._requested: dict[str, tuple[Gate, ReservationRequest]] = {}
        self._pending: dict[str, PendingCall] = {}
        self._write_lock = ports.lock()
        self._extra_steps: list[StoreChange] = []
        self._network_works = False
        self._is_over = False
        self.is_own_network_down = False
        self.notices: list[BudgetNotice] = []

    def new_call_id(self) -> str:
        self._calls_made += 1
        return f"{self._job.id}.{self._calls_made}"

    async def admit(self, gate: Gate, claim: ReservationRequest) -> Admission | Refusal:
        """Ask for a call, and settle what is due. Whoever is admitted enters the call."""
        self._requested[claim.call_id] = gate, claim
        return await self._ports.store.run_shielded(self._admit(gate, claim), writes=bool(self._pending))

    def register(self, pending: PendingCall) -> None:
        """A call that is about to be made."""
        self._pending[pending.call_id] = pending
        del self._requested[pending.call_id]

    def mark_sent(self, call_id: str, settlement: Settlement) -> None:
        """A call that was entered is on its way, and comes to this if nothing is heard of it."""
        self._pending[call_id] = replace(self._pending[call_id], settlement=settlement)

    def finish(self, call_id: str, settlement: Settlement, host: str = "") -> None:
        """It is over. A host that answers, whatever it says, proves our network good."""
        self._pending[call_id] = replace(
            self._pending[call_id], settlement=settlement, host=host, is_over=True
        )
        heard = not settlement.outcome.is_unreachable and settlement.outcome.kind is not Kind.CANCELLED
        self._network_works = self._network_works or heard

    async def settle_before_pause(self) -> None:
        """Others learn of a failure before anybody waits."""
        if self._due_calls():
            await self._ports.store.run_shielded(self._settle_due(), writes=True)

    def end(self, *, answered: bool, calls: int) -> None:
        """The walk is over, after so many calls."""
        unfound = [made for made in self._pending.values() if made.settlement.outcome.is_unreachable]
        hosts = {made.host for made in unfound}
        self.is_own_network_down = not answered and len(hosts) >= 2 and len(unfound) == calls
        self._is_over = True

    async def settle(self, *also: StoreChange) -> None:
        """Settle what is left, in one step with ``also``."""
        self._extra_steps += also
        await self._ports.store.run_shielded(self._settle_all(), writes=True)

    async def _admit(self, gate: Gate, claim: ReservationRequest) -> Admission | Refusal:
        async with self._write_lock:
            due = self._due_calls()
            before = self._settle_together(due)
            keys = [*before.keys, *gate.keys_with_budgets(claim)]
            change = _admit_after(
                before, [*_budget_scopes(due), *claim.scopes], partial(gates.admit, gate, claim)
            )
            answer, notices = await self._ports.store.update(keys, change)
            self._forget(due)
        self.notices += notices
        refused = refuse_when_store_down(self._ports, self._job, claim)
        if isinstance(answer, Admission) and refused is not None:
            await self._write(gates.cancel_reservation(gate, claim), ())
            answer = refused
        if isinstance(answer, Refusal):
            del self._requested[claim.call_id]
        return answer

    async def _settle_due(self) -> None:
        async with self._write_lock:
            due = self._due_calls()
            await self._write(self._settle_together(due), _budget_scopes(due))
            self._forget(due)

    async def _settle_all(self) -> None:
        left = list(self._pending.values())
        unused = [gates.cancel_reservation(gate, claim) for gate, claim in self._requested.values()]
        steps = [*unused, *map(self._settle_call, left), *self._extra_steps]
        if steps:
            # Whoever is stopped after the write settles again: a mark tells that it was made.
            await self._write(make_idempotent(self._job.id, combine(steps)), _budget_scopes(left))
        self._forget(left)
        self._requested.clear()
        self._extra_steps = []

    def _due_calls(self) -> list[PendingCall]:
        return [made for made in self._pending.values() if made.is_over and not self._has_to_wait(made)]

    def _forget(self, settled: Sequence[PendingCall]) -> None:
        for made in settled:
            del self._pending[made.call_id]

    def _settle_together(self, calls: Sequence[PendingCall]) -> StoreChange:
        return (
            combine([self._settle_call(one) for one in calls]) if calls else StoreChange((), _write_nothing)
        )

    def _has_to_wait(self, pending: PendingCall) -> bool:
        outcome = pending.settlement.outcome
        return outcome.kind is Kind.OK or (outcome.is_unreachable and not self._network_works)

    def _settle_call(self, pending: PendingCall) -> StoreChange:
        """What was free and no answer is not worth a record of its use."""
        settlement = self._attribute_failure(pending.settlement)
        settled = gates.settle(pending.gate, pending.admitted, settlement)
        if settlement.cost == 0 and settlement.outcome.kind is not Kind.OK:
            return settled
        return combine([settled, self._usage_step(pending, settlement)])

    def _usage_step(self, pending: PendingCall, settlement: Settlement) -> StoreChange:
        """A call that was made, in the records of what was used."""
        day = day_of(pending.admitted.at, self._job.zone).isoformat()
        use = UsageEvent(
            feature=self._job.feature,
            target=pending.gate.target,
            user=self._job.user,
            usage=settlement.usage,
            cost=settlement.cost,
            answered=settlement.outcome.kind is Kind.OK,
        )
        return usage_record.count_usage(day, use)

    def _attribute_failure(self, settlement: Settlement) -> Settlement:
        """A failure of our own network, or of a walk that was broken off, says nothing about the target."""
        theirs = self._network_works or (self._is_over and not self.is_own_network_down)
        if not settlement.outcome.is_unreachable or theirs:
            return settlement
        return replace(settlement, outcome=replace(settlement.outcome, kind=Kind.CANCELLED))

    async def _write(self, step: StoreChange, budget_scopes: Sequence[BudgetScope]) -> None:
        self.notices += await self._ports.store.update(
            step.keys, partial(_change_with_notices, step, budget_scopes)
        )


def refuse_when_store_down(ports: Ports, job: Job, claim: ReservationRequest) -> Refusal | None:
    """A budget that cannot be shared any more guards nothing."""
    if claim.scopes and job.refuse_when_down and ports.is_down():
        return Refusal(SkipReason.OVER_BUDGET, None, STORE_DOWN_NOTE)
    return None


def _budget_scopes(calls: Iterable[PendingCall]) -> tuple[BudgetScope, ...]:
    return tuple(dict.fromkeys(cover for one in calls for cover in one.admitted.reservation.request.scopes))


def _write_nothing(_values: Values, _now: float) -> Writes:
    return {}


def _change_with_notices(
    step: StoreChange, budget_scopes: Sequence[BudgetScope], values: Values, now: float
) -> tuple[Writes, tuple[BudgetNotice, ...]]:
    """A change that tells which budgets have to be warned of."""
    writes = step.change(values, now)
    return writes, reservation.collect_notices(budget_scopes, values, writes)


def _admit_after(
    before: StoreChange, budget_scopes: Sequence[BudgetScope], admission: Change[Admission | Refusal]
) -> Change[tuple[Admission | Refusal, tuple[BudgetNotice, ...]]]:
    """An admission that sees what was settled in the same step."""

    def change(
        values: Values, now: float
    ) -> tuple[Writes, tuple[Admission | Refusal, tuple[BudgetNotice, ...]]]:
        settled = before.change(values, now)
        admitted, answer = admission({**values, **after_writes(settled)}, now)
        writes = {**settled, **admitted}
        return writes, (answer, reservation.collect_notices(budget_scopes, values, writes))

    return change
