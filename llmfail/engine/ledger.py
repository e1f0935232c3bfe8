"""The admitted calls of one walk, each settled once, whatever happens.

A failure is settled in one step with the next admission, or before a pause; the answer in one step with
whatever else is kept of the ask. Name resolution and routing failures wait for a sign that our own network
works: if at least two hosts were tried and not one could be found, they say nothing about anybody.
"""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core import gate as gates
from llmfail.core.gate import Admitted, Gate, Refused, Settlement
from llmfail.core.outcome import Kind
from llmfail.core.record import Step, Values, Writes, together, told
from llmfail.engine.ports import Ports
from llmfail.store.base import Change

LEASE_MARGIN = 30.0
"""Seconds that a trial's place outlives its timeout."""


class Made(Struct, frozen=True):
    """An admitted call, what became of it, and the host it went to."""

    gate: Gate
    admitted: Admitted
    settlement: Settlement
    host: str


class Ledger:
    """``name`` is nobody else's: its trials' places are told apart by it. ``own_network`` is known once the
    walk is over.
    """

    def __init__(self, ports: Ports, name: str) -> None:
        self._ports = ports
        self._name = name
        self._leases = 0
        self._open: list[Made] = []
        self._network_works = False
        self._over = False
        self.own_network = False

    async def admit(self, gate: Gate, limit: float) -> Admitted | Refused:
        """Ask for a call that may take so many seconds, and settle what is due."""
        self._leases += 1
        lease = f"{self._name}.{self._leases}"
        admission = partial(gates.admit, gate, lease, limit + LEASE_MARGIN)
        due = self._take_due()
        try:
            if not due:
                return await self._ports.keeper.update(gate.keys, admission)
            before = together([self._settlement(made) for made in due])
            return await self._ports.keeper.update([*before.keys, *gate.keys], _after(before, admission))
        except BaseException:
            # Whoever is stopped in the middle does not know whether anything was written.
            self._open = [*due, *self._open]
            await self._write(gates.withdraw(gate, lease))
            raise

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
            await self._write(together([self._settlement(made) for made in due]))

    def end(self, *, answered: bool, calls: int) -> None:
        """The walk is over, after so many calls."""
        unfound = [made for made in self._open if made.settlement.outcome.unreachable]
        hosts = {made.host for made in unfound}
        self.own_network = not answered and len(hosts) >= 2 and len(unfound) == calls
        self._over = True

    async def settle(self, *also: Step) -> None:
        """Settle what is left, in one step with ``also``."""
        steps = [*map(self._settlement, self._open), *also]
        self._open = []
        if steps:
            await self._write(together(steps))

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
        return gates.settle(made.gate, made.admitted, self._judged(made.settlement))

    def _judged(self, settlement: Settlement) -> Settlement:
        """A failure of our own network, or of a walk that was broken off, says nothing about the target."""
        theirs = self._network_works or (self._over and not self.own_network)
        if not settlement.outcome.unreachable or theirs:
            return settlement
        return replace(settlement, outcome=replace(settlement.outcome, kind=Kind.CANCELLED))

    async def _write(self, step: Step) -> None:
        await self._ports.keeper.update(step.keys, lambda values, now: (step.change(values, now), None))


def _after(before: Step, admission: Change[Admitted | Refused]) -> Change[Admitted | Refused]:
    """An admission that sees what was settled in the same step."""

    def change(values: Values, now: float) -> tuple[Writes, Admitted | Refused]:
        settled = before.change(values, now)
        writes, answer = admission({**values, **told(settled)}, now)
        return {**settled, **writes}, answer

    return change
