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

from llmfail.core import allowance, usage
from llmfail.core import gate as gates
from llmfail.core.allowance import Claim, Notice, Unsettled
from llmfail.core.budget import Cover
from llmfail.core.gate import Admitted, Gate, Settlement
from llmfail.core.outcome import Kind
from llmfail.core.receipt import Skip
from llmfail.core.record import Step, Values, Writes, together, told
from llmfail.core.refusal import Refused
from llmfail.core.usage import Use
from llmfail.engine.calendar import day_of
from llmfail.engine.chain import Job
from llmfail.engine.ports import Ports
from llmfail.store.base import Change

LEASE_MARGIN = 30.0
"""Seconds that a trial's place, and what is held in budgets, outlive the call's timeout."""
STORE_DOWN = "the store is down, and budgets refuse without it (on_store_error: refuse)"


class Made(Struct, frozen=True):
    """An admitted call, what became of it, and the host it went to."""

    gate: Gate
    admitted: Admitted
    settlement: Settlement
    host: str


class Ledger:
    """Ids of calls are made from the job's, which nobody else has. ``own_network`` is known once the walk is
    over; ``notices`` are of budgets whose warning is due, ``unsettled`` what came to light on the way.
    """

    def __init__(self, ports: Ports, job: Job) -> None:
        self._ports = ports
        self._job = job
        self._calls = 0
        self._open: list[Made] = []
        self._network_works = False
        self._over = False
        self.own_network = False
        self.notices: list[Notice] = []
        self.unsettled: list[Unsettled] = []

    def new_call(self) -> str:
        self._calls += 1
        return f"{self._job.id}.{self._calls}"

    async def admit(self, gate: Gate, claim: Claim) -> Admitted | Refused:
        """Ask for a call, and settle what is due."""
        due = self._take_due()
        before = together([self._settlement(made) for made in due]) if due else Step((), _nothing)
        keys = [*before.keys, *gate.keys_with(claim.covers)]
        change = _after(before, _covers(due), partial(gates.admit, gate, claim))
        try:
            answer, notices = await self._ports.keeper.update(keys, change)
        except BaseException:
            # Whoever is stopped in the middle does not know whether anything was written.
            self._open = [*due, *self._open]
            await self._write(gates.withdraw(gate, claim), ())
            raise
        self.notices += notices
        if isinstance(answer, Refused):
            return answer
        self.unsettled += answer.grant.unsettled
        if claim.covers and self._job.refuse_when_down and self._ports.is_down():
            await self._write(gates.withdraw(gate, claim), ())
            return Refused(Skip.OVER_BUDGET, None, STORE_DOWN)
        return answer

    def enter(self, made: Made) -> None:
        """A host that answers, whatever it says, proves our network good."""
        outcome = made.settlement.outcome
        heard = not outcome.unreachable and outcome.kind is not Kind.CANCELLED
        self._network_works = self._network_works or heard
        self._open.append(made)

    async def before_pause(self) -> None:
        """Others learn of a failure before anybody waits."""
        due = self._take_due()
        if due:
            await self._write(together([self._settlement(made) for made in due]), _covers(due))

    def end(self, *, answered: bool, calls: int) -> None:
        """The walk is over, after so many calls."""
        unfound = [made for made in self._open if made.settlement.outcome.unreachable]
        hosts = {made.host for made in unfound}
        self.own_network = not answered and len(hosts) >= 2 and len(unfound) == calls
        self._over = True

    async def settle(self, *also: Step) -> None:
        """Settle what is left, in one step with ``also``."""
        steps = [*map(self._settlement, self._open), *also]
        covers = _covers(self._open)
        self._open = []
        if steps:
            await self._write(together(steps), covers)

    def _take_due(self) -> list[Made]:
        if not self._open:
            return []
        due = [made for made in self._open if not self._waits(made)]
        self._open = [made for made in self._open if self._waits(made)]
        return due

    def _waits(self, made: Made) -> bool:
        outcome = made.settlement.outcome
        return outcome.kind is Kind.OK or (outcome.unreachable and not self._network_works)

    def _settlement(self, made: Made) -> Step:
        settlement = self._judged(made.settlement)
        settled = gates.settle(made.gate, made.admitted, settlement)
        if settlement.outcome.kind is Kind.CANCELLED and settlement.cost == 0:
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
        return usage.step(day, use)

    def _judged(self, settlement: Settlement) -> Settlement:
        """A failure of our own network, or of a walk that was broken off, says nothing about the target."""
        theirs = self._network_works or (self._over and not self.own_network)
        if not settlement.outcome.unreachable or theirs:
            return settlement
        return replace(settlement, outcome=replace(settlement.outcome, kind=Kind.CANCELLED))

    async def _write(self, step: Step, covers: Sequence[Cover]) -> None:
        self.notices += await self._ports.keeper.update(step.keys, partial(_noticing, step, covers))


def _covers(made: Iterable[Made]) -> tuple[Cover, ...]:
    return tuple(dict.fromkeys(cover for one in made for cover in one.admitted.grant.claim.covers))


def _nothing(_values: Values, _now: float) -> Writes:
    return {}


def _noticing(
    step: Step, covers: Sequence[Cover], values: Values, now: float
) -> tuple[Writes, tuple[Notice, ...]]:
    """A change that tells which budgets have to be warned of."""
    writes = step.change(values, now)
    return writes, allowance.notices(covers, values, writes)


def _after(
    before: Step, covers: Sequence[Cover], admission: Change[Admitted | Refused]
) -> Change[tuple[Admitted | Refused, tuple[Notice, ...]]]:
    """An admission that sees what was settled in the same step."""

    def change(values: Values, now: float) -> tuple[Writes, tuple[Admitted | Refused, tuple[Notice, ...]]]:
        settled, notices = _noticing(before, covers, values, now)
        writes, answer = admission({**values, **told(settled)}, now)
        return {**settled, **writes}, (answer, notices)

    return change
