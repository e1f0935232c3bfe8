"""A round in which the next target starts while the first is late. Who answers first answers; the others are
stopped, and what they may have cost is counted.

Two are asked at once at most. A hedge is allowed by the bucket of its feature, see ``core.hedge``, and a
target that is asked as one goes through its gate like any other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from functools import partial

from llmfail.core.admission import hedge_budget
from llmfail.core.receipt import TrailEntry
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.attempt.ask_state import AskState, FoundAnswer
from llmfail.engine.attempt.attempt import Attempt
from llmfail.engine.attempt.stream_commit import TargetOutput

AT_ONCE = 2

AttemptTask = asyncio.Task["FoundAnswer | None"]


class HedgedRound:
    """Run it once; ``trail`` is what it came to, the one that decided at its end. ``late`` is in seconds."""

    def __init__(self, course: AskState, candidates: Sequence[Candidate], late: float) -> None:
        self._course = course
        self._late = late
        self._visits = [
            Attempt(course, candidate, candidates[place + 1 :]) for place, candidate in enumerate(candidates)
        ]
        self._waiting = deque(self._visits)
        self._running: dict[AttemptTask, Attempt] = {}
        self._hedges: list[Attempt] = []
        self._winner: Attempt | None = None
        self._may_hedge = True
        course.floor.taken = self._silence

    @property
    def trail(self) -> list[TrailEntry]:
        ordered = sorted(self._visits, key=lambda one: (one is self._winner, not one.was_beaten))
        return [entry for visit in ordered for entry in visit.trail]

    async def run(self) -> FoundAnswer | None:
        found = await self._stored()
        try:
            while found is None and (self._running or (self._waiting and not self._course.stopped)):
                if not self._running:
                    self._start()
                for run in await self._news():
                    found = self._ended(run) or found
            return found
        finally:
            await self._stop()
            self._course.unused_hedges += sum(not visit.called for visit in self._hedges)

    async def _stored(self) -> FoundAnswer | None:
        """The answer of either of the two that would be asked is good enough, and costs nothing."""
        usable = [one for one in self._visits if self._course.obstacle(one.candidate) is None]
        for visit in usable[:AT_ONCE]:
            found = await visit.stored()
            if found is not None:
                return found
        return None

    def _start(self) -> None:
        visit = self._waiting.popleft()
        self._running[asyncio.ensure_future(visit.run())] = visit

    async def _news(self) -> Collection[AttemptTask]:
        """Those that have ended; none when it was the time that is up."""
        if not self._could_hedge():
            ended, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            return ended
        alarm = asyncio.ensure_future(self._course.ports.sleep(self._late))
        try:
            await asyncio.wait({*self._running, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
        ended = {run for run in self._running if run.done()}
        if not ended and self._could_hedge():
            await self._hedge()
        return ended

    def _could_hedge(self) -> bool:
        """Whether somebody is left to be asked besides, and nobody is heard yet."""
        silent = self._course.floor.speaker is None and not self._course.stopped
        return self._may_hedge and silent and bool(self._waiting) and len(self._running) < AT_ONCE

    async def _hedge(self) -> None:
        keeper, feature = self._course.ports.store, self._course.job.feature
        self._may_hedge = await keeper.update(
            (hedge_budget.bucket_key(feature),), partial(hedge_budget.debit, feature)
        )
        if self._may_hedge and self._course.floor.speaker is not None:
            self._course.unused_hedges += 1
        elif self._may_hedge:
            self._hedges.append(self._waiting[0])
            self._start()

    def _ended(self, run: AttemptTask) -> FoundAnswer | None:
        visit = self._running.pop(run)
        if run.cancelled():
            visit.beaten()
            return None
        found = run.result()
        speaker = self._course.floor.speaker
        if speaker not in {None, visit.voice}:
            # Somebody began to be heard after it had ended: his is the answer, or there is none.
            visit.beaten()
            return None
        if found is not None:
            self._winner = visit
        elif visit.stopped:
            self._cancel_behind(visit)
        elif visit in self._hedges and not visit.called and self._running and self._waiting:
            # It came to no call: another takes its place at once.
            self._hedges[self._hedges.index(visit)] = self._waiting[0]
            self._start()
        return found

    def _cancel_behind(self, visit: Attempt) -> None:
        """Nobody behind this one would have been asked."""
        place = self._visits.index(visit)
        for run, other in self._running.items():
            if self._visits.index(other) > place:
                run.cancel()

    def _silence(self, speaker: TargetOutput) -> None:
        """Somebody is heard: nobody else can be."""
        for run, visit in self._running.items():
            if visit.voice is not speaker:
                run.cancel()

    async def _stop(self) -> None:
        """Those that still run. Whoever is stopped meanwhile waits for them all the same."""
        stopped: asyncio.CancelledError | None = None
        for run in self._running:
            run.cancel()
        while any(not run.done() for run in self._running):
            try:
                await asyncio.wait(self._running)
            except asyncio.CancelledError as error:
                stopped = error
        for run, visit in self._running.items():
            if run.cancelled() or run.exception() is not None:
                visit.beaten()
        self._running.clear()
        if stopped is not None:
            raise stopped
