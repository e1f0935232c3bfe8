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
from llmfail.core.admission.budget import Cover
from llmfail.core.admission.gate import Admitted, Gate, Settlement
from llmfail.core.admission.refusal import Refused
from llmfail.core.admission.reservation import Claim, Notice
from llmfail.core.classification.outcome import Kind
from llmfail.core.pricing import usage_record
from llmfail.core.pricing.usage_record import Use
from llmfail.core.receipt import Skip
from llmfail.core.records.record import (
    Step,
    Values,
    Writes,
    once,
    together,
    told,
)
from llmfail.engine.planning.budget_period import day_of
from llmfail.engine.planning.job import Job
from llmfail.engine.ports.ports import Ports
from llmfail.store.base import Change

LEASE_MARGIN = 30.0
"""Seconds that a trial's place, and what is held in budgets, outlive the call's timeout."""
STORE_DOWN = "the store is down, and budgets refuse without it (on_store_error: refuse)"


class Made(Struct, frozen=True):
    """An admitted call, what became of it as far as is known, and the host it went to."""

    gate: Gate
    admitted: Admitted
    settlement: Settlement
    host: str = ""
    is_over: bool = False

    @property
    def call(self) -> str:
        return self.admitted.grant.claim.call


class Ledger:
    """Ids of calls are made from the job's, which nobody else has. ``own_network`` is known once the walk is
    over; ``notices`` are for people. What is written is forgotten only afterwards: whoever is stopped in the
    middle calls ``settle`` again. Several calls may be under way; of what is written, one thing at a time.
    """

    def __init__(self, ports: Ports, job: Job) -> None:
        self._ports = ports
        self._job = job
        self._calls = 0
        self._asked: dict[str, tuple[Gate, Claim]] = {}
        self._open: dict[str, Made] = {}
        self._writing = ports.lock()
        self._also: list[Step] = []
        self._network_works = False
        self._over = False
        self.own_network = False
        self.notices: list[Notice] = []

    def new_call(self) -> str:
        self._calls += 1
        return f"{self._job.id}.{self._calls}"

    async def admit(self, gate: Gate, claim: Claim) -> Admitted | Refused:
        """Ask for a call, and settle what is due. Whoever is admitted enters the call."""
        self._asked[claim.call] = gate, claim
        return await self._ports.keeper.unbroken(self._admit(gate, claim), writes=bool(self._open))

    def enter(self, made: Made) -> None:
        """A call that is about to be made."""
        self._open[made.call] = made
        del self._asked[made.call]

    def depart(self, call: str, settlement: Settlement) -> None:
        """A call that was entered is on its way, and comes to this if nothing is heard of it."""
        self._open[call] = replace(self._open[call], settlement=settlement)

    def conclude(self, call: str, settlement: Settlement, host: str = "") -> None:
        """It is over. A host that answers, whatever it says, proves our network good."""
        self._open[call] = replace(self._open[call], settlement=settlement, host=host, is_over=True)
        heard = not settlement.outcome.unreachable and settlement.outcome.kind is not Kind.CANCELLED
        self._network_works = self._network_works or heard

    async def before_pause(self) -> None:
        """Others learn of a failure before anybody waits."""
        if self._due():
            await self._ports.keeper.unbroken(self._settle_due(), writes=True)

    def end(self, *, answered: bool, calls: int) -> None:
        """The walk is over, after so many calls."""
        unfound = [made for made in self._open.values() if made.settlement.outcome.unreachable]
        hosts = {made.host for made in unfound}
        self.own_network = not answered and len(hosts) >= 2 and len(unfound) == calls
        self._over = True

    async def settle(self, *also: Step) -> None:
        """Settle what is left, in one step with ``also``."""
        self._also += also
        await self._ports.keeper.unbroken(self._settle_all(), writes=True)

    async def _admit(self, gate: Gate, claim: Claim) -> Admitted | Refused:
        async with self._writing:
            due = self._due()
            before = self._settlements(due)
            keys = [*before.keys, *gate.keys_with(claim)]
            change = _after(before, [*_covers(due), *claim.covers], partial(gates.admit, gate, claim))
            answer, notices = await self._ports.keeper.update(keys, change)
            self._forget(due)
        self.notices += notices
        refused = unguarded(self._ports, self._job, claim)
        if isinstance(answer, Admitted) and refused is not None:
            await self._write(gates.withdraw(gate, claim), ())
            answer = refused
        if isinstance(answer, Refused):
            del self._asked[claim.call]
        return answer

    async def _settle_due(self) -> None:
        async with self._writing:
            due = self._due()
            await self._write(self._settlements(due), _covers(due))
            self._forget(due)

    async def _settle_all(self) -> None:
        left = list(self._open.values())
        unused = [gates.withdraw(gate, claim) for gate, claim in self._asked.values()]
        steps = [*unused, *map(self._settlement, left), *self._also]
        if steps:
            # Whoever is stopped after the write settles again: a mark tells that it was made.
            await self._write(once(self._job.id, together(steps)), _covers(left))
        self._forget(left)
        self._asked.clear()
        self._also = []

    def _due(self) -> list[Made]:
        return [made for made in self._open.values() if made.is_over and not self._waits(made)]

    def _forget(self, settled: Sequence[Made]) -> None:
        for made in settled:
            del self._open[made.call]

    def _settlements(self, made: Sequence[Made]) -> Step:
        return together([self._settlement(one) for one in made]) if made else Step((), _nothing)

    def _waits(self, made: Made) -> bool:
        outcome = made.settlement.outcome
        return outcome.kind is Kind.OK or (outcome.unreachable and not self._network_works)

    def _settlement(self, made: Made) -> Step:
        """What was free and no answer is not worth a record of its use."""
        settlement = self._judged(made.settlement)
        settled = gates.settle(made.gate, made.admitted, settlement)
        if settlement.cost == 0 and settlement.outcome.kind is not Kind.OK:
            return settled
        return together([settled, self._counted(made, settlement)])

    def _counted(self, made: Made, settlement: Settlement) -> Step:
        """A call that was made, in the records of what was used."""
        day = day_of(made.admitted.at, self._job.zone).isoformat()
        use = Use(
            feature=self._job.feature,
            target=made.gate.target,
            user=self._job.user,
            usage=settlement.usage,
            cost=settlement.cost,
            answered=settlement.outcome.kind is Kind.OK,
        )
        return usage_record.step(day, use)

    def _judged(self, settlement: Settlement) -> Settlement:
        """A failure of our own network, or of a walk that was broken off, says nothing about the target."""
        theirs = self._network_works or (self._over and not self.own_network)
        if not settlement.outcome.unreachable or theirs:
            return settlement
        return replace(settlement, outcome=replace(settlement.outcome, kind=Kind.CANCELLED))

    async def _write(self, step: Step, covers: Sequence[Cover]) -> None:
        self.notices += await self._ports.keeper.update(step.keys, partial(_noticing, step, covers))


def unguarded(ports: Ports, job: Job, claim: Claim) -> Refused | None:
    """A budget that cannot be shared any more guards nothing."""
    if claim.covers and job.refuse_when_down and ports.is_down():
        return Refused(Skip.OVER_BUDGET, None, STORE_DOWN)
    return None


def _covers(made: Iterable[Made]) -> tuple[Cover, ...]:
    return tuple(dict.fromkeys(cover for one in made for cover in one.admitted.grant.claim.covers))


def _nothing(_values: Values, _now: float) -> Writes:
    return {}


def _noticing(
    step: Step, covers: Sequence[Cover], values: Values, now: float
) -> tuple[Writes, tuple[Notice, ...]]:
    """A change that tells which budgets have to be warned of."""
    writes = step.change(values, now)
    return writes, reservation.notices(covers, values, writes)


def _after(
    before: Step, covers: Sequence[Cover], admission: Change[Admitted | Refused]
) -> Change[tuple[Admitted | Refused, tuple[Notice, ...]]]:
    """An admission that sees what was settled in the same step."""

    def change(values: Values, now: float) -> tuple[Writes, tuple[Admitted | Refused, tuple[Notice, ...]]]:
        settled = before.change(values, now)
        admitted, answer = admission({**values, **told(settled)}, now)
        writes = {**settled, **admitted}
        return writes, (answer, reservation.notices(covers, values, writes))

    return change
