"""One ask on its way along its chain: target after target, a second one while the first is late, and round
after round where that helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import inf

from llmfail.core.admission.gate import GateView, view
from llmfail.core.admission.reservation import BudgetNotice
from llmfail.core.classification.outcome import CONSEQUENCES, Kind
from llmfail.core.model import Target
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.records.record import StoreChange
from llmfail.core.routing import next_step
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.attempt.ask_state import AskState, FoundAnswer, PartialAnswer
from llmfail.engine.attempt.attempt import Attempt
from llmfail.engine.planning.codec import Codec
from llmfail.engine.planning.job import Job
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import OnText, Ports

WALKABLE = frozenset({SkipReason.CIRCUIT_OPEN, SkipReason.PROBING, SkipReason.RATE_LIMITED_HERE})
"""Skips that may have passed by the next round."""
TRIAL_TAKES = 1.0
"""Seconds after which to look again whether the trial of somebody else is over."""
TICK = 0.02


class FallbackChain:
    """One ask under way, which ends at that moment on the monotonic clock. Run it once, read ``trail``,
    ``broken``, ``deadline_passed`` and ``own_network``, and ``settle`` whatever happened.
    """

    def __init__(
        self,
        routes: TargetRoutes,
        ports: Ports,
        job: Job,
        exchange: Codec,
        ends_at: float,
        show: OnText | None,
    ) -> None:
        self._ports = ports
        self._job = job
        self._course = AskState(routes, ports, job, exchange, ends_at, show)
        self._wait_ends_at = ports.monotonic() + job.wait
        self.trail: list[TrailEntry] = []

    async def run(self) -> FoundAnswer | None:
        found = await self._rounds()
        called = [entry for entry in self.trail if entry.action == "called"]
        self._course.ledger.end(answered=found is not None, calls=len(called))
        return found

    @property
    def retry_at(self) -> float | None:
        return self._course.retry_at

    @property
    def deadline_passed(self) -> bool:
        return self._course.deadline_passed

    @property
    def broken_off(self) -> PartialAnswer | None:
        """What was shown of an answer that never became whole."""
        return self._course.broken

    @property
    def unused_hedges(self) -> int:
        """Those that were allowed and came to no call."""
        return self._course.unused_hedges

    @property
    def is_own_network_down(self) -> bool:
        return self._course.ledger.is_own_network_down

    @property
    def notices(self) -> Sequence[BudgetNotice]:
        """What somebody should know of budgets, once everything is settled."""
        return self._course.ledger.notices

    async def settle(self, *also: StoreChange) -> None:
        """Settle what is left to settle, in one step with ``also``."""
        await self._course.ledger.settle(*also)

    async def _rounds(self) -> FoundAnswer | None:
        course = self._course
        candidates: Sequence[Candidate] = self._job.candidates
        for made in count(1):
            course.outcomes = []
            found = await self._round(candidates)
            if found is not None or course.stopped or course.deadline_passed:
                return found
            wait = next_step.decide_round_wait(course.outcomes, made, self._job.rounds, self._ports.random())
            if wait is None:
                wait, candidates = await self._until_a_trial(), self._job.candidates
            else:
                candidates = [one for one in candidates if self._may_help(one)]
            if wait is None or wait >= course.left():
                return None
            await course.pause(wait)
        return None

    async def _round(self, candidates: Sequence[Candidate]) -> FoundAnswer | None:
        if self._job.hedge_delay is not None and self._ports.concurrent:
            found = await self._raced(candidates, self._job.hedge_delay)
        else:
            found = await self._in_turn(candidates)
        self._course.deadline_passed = self._course.deadline_passed or (
            found is None and not self._course.stopped and self._course.left() <= 0
        )
        return found

    async def _in_turn(self, candidates: Sequence[Candidate]) -> FoundAnswer | None:
        for place, candidate in enumerate(candidates):
            visit = Attempt(self._course, candidate, candidates[place + 1 :])
            try:
                found = await visit.run()
            finally:
                self.trail += visit.trail
            if found is not None or self._course.stopped:
                return found
        return None

    async def _raced(self, candidates: Sequence[Candidate], late: float) -> FoundAnswer | None:
        from llmfail.engine.fallback.hedging import HedgedRound

        race = HedgedRound(self._course, candidates, late)
        try:
            return await race.run()
        finally:
            self.trail += race.trail

    async def _until_a_trial(self) -> float | None:
        """Seconds until the first open circuit allows one. None when nobody is to wait, or all who could be
        asked right now have just been asked in vain.
        """
        left = self._wait_ends_at - self._ports.monotonic()
        usable = [one for one in self._job.candidates if self._course.obstacle(one) is None]
        if left <= 0 or not usable:
            return None
        await self._course.ledger.settle_before_pause()
        gates = [self._course.route(one).gate for one in usable]
        values, now = await self._ports.store.read([key for gate in gates for key in gate.keys])
        looks = [view(gate, values, now) for gate in gates]
        free = [gate.target for gate, one in zip(gates, looks, strict=True) if one.refusal is None]
        if free and all(map(self._was_called, free)):
            return None
        soonest = min(_until_open(one, now) for one in looks)
        return soonest if soonest <= left else None

    def _was_called(self, target: Target) -> bool:
        """The last time that it had its turn."""
        return next(one for one in reversed(self.trail) if one.target == target).action == "called"

    def _may_help(self, candidate: Candidate) -> bool:
        """Whether what stood in the way of this target, called or skipped, may have passed."""
        last = next(entry for entry in reversed(self.trail) if entry.target == candidate.target)
        if last.action == "skipped":
            return last.outcome in WALKABLE
        return CONSEQUENCES[Kind(last.outcome)].is_transient


def _until_open(look: GateView, now: float) -> float:
    """Seconds until a target may be asked; a trial of somebody else may be over any moment."""
    if look.refusal is None:
        return TICK
    wait = inf if look.retry_at is None else max(look.retry_at - now, TICK)
    return min(wait, TRIAL_TAKES) if look.refusal.reason is SkipReason.PROBING else wait
