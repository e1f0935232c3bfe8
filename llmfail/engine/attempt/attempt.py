"""One target's turn: what it said to the same question before, or admit, send, settle, and again where that
helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core.admission.breaker import believed
from llmfail.core.admission.gate import Admitted, Settlement
from llmfail.core.admission.refusal import Refused
from llmfail.core.admission.reservation import Claim
from llmfail.core.cache.single_flight import Kept
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Completion
from llmfail.core.pricing.price import charge
from llmfail.core.receipt import Entry, Skip
from llmfail.core.routing import candidates, next_step
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.answers.answer_cache import Shelf, reader_of, shelf_of
from llmfail.engine.attempt.ask_state import BrokenOff, Course, Found
from llmfail.engine.attempt.call import Departure, call
from llmfail.engine.attempt.settlement import LEASE_MARGIN, Made
from llmfail.engine.attempt.stream_commit import Voice
from llmfail.engine.planning.codec import Reading
from llmfail.engine.planning.job import claim_of, patience

if TYPE_CHECKING:
    from llmfail.engine.attempt.stream_reader import Ear

LATEST = 0.9
"""Seconds that a call may start after its place in a row: ``rate.MINUTE`` has as many to spare."""
PLACES = 3
"""How often somebody who is late for a place asks for another."""
BEATEN = "another target answered first"
REFUSED = "another target refused the request for all"
TOO_LONG = "the deadline passed before it was whole"


class Visit:
    """``later`` are those that would come behind it. Run it once; ``trail`` is what it came to, and
    ``stopped`` says that nobody behind it can help.
    """

    def __init__(self, course: Course, candidate: Candidate, later: Sequence[Candidate]) -> None:
        self.candidate = candidate
        self.voice = Voice(course.floor)
        self.trail: list[Entry] = []
        self.stopped = False
        self.was_beaten = False
        self._course = course
        self._later = later
        self._under_way: Admitted | None = None
        self._started = 0.0

    async def run(self) -> Found | None:
        """Whoever waits for the same answer has it then, or waits no longer."""
        job, ports = self._course.job, self._course.ports
        shelf = shelf_of(ports, job.terms, job.expected, job.id)
        if shelf is None:
            return await self._asked()
        question = self._course.fingerprint(self.candidate)
        try:
            kept = await self._kept(shelf, question)
            if kept is not None:
                return Found(self.candidate, kept.completion, stored=True)
            found = await self._asked()
            if found is not None and isinstance(found.answer, Completion):
                await shelf.keep(question, self.candidate.target, found.answer)
        except BaseException:
            await shelf.leave()
            raise
        await shelf.give_up()
        return found

    @property
    def called(self) -> bool:
        return any(entry.action == "called" for entry in self.trail)

    async def stored(self) -> Found | None:
        """What it said to the same question before, if that is fresh."""
        job, ports = self._course.job, self._course.ports
        reader = reader_of(ports, job.terms, job.expected)
        kept = None if reader is None else await reader.fresh([self._course.fingerprint(self.candidate)])
        return None if kept is None else Found(self.candidate, kept.completion, stored=True)

    def beaten(self) -> None:
        """It was stopped because of somebody else, who has answered, or refused the request."""
        self.was_beaten, admitted = True, self._under_way
        if admitted is None:
            return
        self.trail.append(
            Entry(
                self.candidate.target,
                "called",
                Kind.CANCELLED,
                latency_ms=self._since_start(),
                cost=None,
                note=BEATEN if self._course.floor.speaker or not self._course.stopped else REFUSED,
                held=admitted.grant.amount,
            )
        )

    async def _kept(self, shelf: Shelf, question: str) -> Kept | None:
        """Who waits for somebody else's answer keeps half of the time that is left."""
        left = self._course.left()
        if self._course.obstacle(self.candidate) is not None or left <= 0:
            return await shelf.reader.fresh([question])
        limit = self._course.limit(self.candidate, self._later)
        return await shelf.fetch(question, min(limit, left / 2), self._course.pause)

    async def _asked(self) -> Found | None:
        course, candidate = self._course, self.candidate
        obstacle = course.obstacle(candidate)
        if obstacle is None and course.left() <= 0:
            course.deadline_passed = True
            obstacle = candidates.Obstacle(Skip.DEADLINE, "no time was left")
        if obstacle is not None:
            self.trail.append(Entry(candidate.target, "skipped", obstacle.reason, note=obstacle.note))
            return None
        return await self._tried()

    async def _tried(self) -> Found | None:
        """With its retries."""
        job, dropped = self._course.job, frozenset[str]()
        streamed = job.patience is not None
        for made in count(1):
            result = await self._attempt(dropped)
            if result is None or isinstance(result, Found):
                return result
            if self._course.broken is not None:
                self._stop()
                return None
            tries = next_step.Tries(made, job.target_retries, dropped, job.stop_on_refusal, streamed)
            step = next_step.after(result, job.request, tries, self._course.ports.draw())
            match step:
                case next_step.Again(wait, quirk) if wait < self._course.left():
                    dropped |= {quirk} if quirk else set()
                    await self._course.pause(wait)
                case next_step.Stop():
                    self._stop()
                    return None
                case _:
                    return None
        return None

    def _stop(self) -> None:
        """Nobody behind it can help."""
        self.stopped = self._course.stopped = True

    async def _attempt(self, dropped: frozenset[str]) -> Found | Outcome | None:
        """One admitted call, settled; None when nothing was sent."""
        course = self._course
        latest = LATEST if course.route(self.candidate).gate.limits else LEASE_MARGIN
        for _ in range(PLACES):
            admitted = await self._admitted()
            if isinstance(admitted, Refused):
                self._refused(admitted)
                return None
            await course.pause(admitted.grant.wait)
            if course.ports.wall() <= admitted.grant.starts_at + latest:
                return await self._call(admitted, dropped)
            # Somebody has held this process: its place in the row has gone by, and its hold may have ended.
            course.ledger.conclude(admitted.grant.claim.call, _stopped(cost=0))
        self._refused(Refused(Skip.RATE_LIMITED_HERE, None, "too late for its place"))
        return None

    async def _admitted(self) -> Admitted | Refused:
        """A place, which is given back unless a call is made of it."""
        course = self._course
        gate = course.route(self.candidate).gate
        if gate.limits:
            # Who has a place in the row must not be late for it.
            course.ports.prepare()
        admitted = await course.ledger.admit(gate, self._claim())
        if isinstance(admitted, Admitted):
            course.ledger.enter(Made(gate, admitted, _stopped(cost=0)))
        return admitted

    async def _call(self, admitted: Admitted, dropped: frozenset[str]) -> Found | Outcome | None:
        """Wherever it is stopped, the ledger knows what it may have cost."""
        course, candidate = self._course, self.candidate
        limit = course.limit(candidate, self._later)
        self._started = course.ports.monotonic()
        quirks = admitted.quirks | dropped
        departure = Departure(limit, lambda: self._leaving(admitted), self._ear())
        read = await call(course.ports, course.exchange, course.route(candidate), quirks, departure)
        reading = self._blamed(read, limit)
        settlement = self._settlement(reading, admitted, dropped)
        course.ledger.conclude(admitted.grant.claim.call, settlement, reading.host)
        if self._under_way is not None and settlement.cost is not None:
            course.spent += settlement.cost - admitted.grant.amount
        self._under_way = None
        self._told(reading, settlement, admitted.grant.amount)
        if reading.skipped is not None:
            return None
        if reading.outcome.kind is Kind.OK and reading.answer is not None:
            return Found(candidate, reading.answer)
        if self.voice.spoke and isinstance(reading.answer, Completion):
            course.broken = BrokenOff(candidate.target, reading.answer, reading.outcome)
        return reading.outcome

    def _ear(self) -> Ear | None:
        patience = self._course.job.patience
        if patience is None:
            return None
        from llmfail.engine.attempt.stream_reader import Ear

        self.voice.clear()
        return Ear(patience, self.voice, self._course.ends_at)

    def _leaving(self, admitted: Admitted) -> None:
        """From here on nobody knows what it will cost."""
        if self._under_way is None:
            self._under_way = admitted
            self._course.spent += admitted.grant.amount
        self._course.ledger.depart(admitted.grant.claim.call, _stopped(cost=None))

    def _claim(self) -> Claim:
        """What is shown may go on until the deadline."""
        course, job = self._course, self._course.job
        moment = course.ports.wall()
        covers = course.routes.covers(job.feature, job.user, self.candidate.target, moment)
        claim = claim_of(job, self.candidate, covers, moment, priced=False)
        limit = course.limit(self.candidate, self._later) if course.floor.show is None else course.left()
        return replace(
            claim,
            call=course.ledger.new_call(),
            lasts=limit + LEASE_MARGIN,
            most=None if claim.most is None else claim.most - course.spent,
            patience=self._patience(),
        )

    def _patience(self) -> float:
        course = self._course
        if not course.route(self.candidate).gate.limits:
            return 0.0
        others = any(course.obstacle(one) is None for one in self._later)
        return patience(course.left(), others=others)

    def _blamed(self, reading: Reading, limit: float) -> Reading:
        """A target that had less than its fair share of time is not to blame for running out of it, nor is
        one that was still talking.
        """
        if reading.outcome.kind is not Kind.TIMEOUT or reading.is_slow:
            return reading
        note = TOO_LONG
        if not self.voice.spoke:
            if limit >= self._course.fair(self.candidate) * 0.999:
                return reading
            note = f"no answer in the {max(limit, 0.0):.3g} s that the deadline left"
        return replace(reading, outcome=Outcome(Kind.CANCELLED, note))

    def _settlement(self, reading: Reading, admitted: Admitted, dropped: frozenset[str]) -> Settlement:
        course, target, answer = self._course, self.candidate.target, reading.answer
        cost = 0 if reading.free else None
        if answer is not None:
            price = course.routes.prices.answered(target, answer.model)
            told = course.route(self.candidate).tells_cost
            cost = charge(answer, price, admitted.grant.starts_at, told=told)
        return Settlement(
            outcome=reading.outcome,
            latency_ms=self._since_start(),
            cost=cost,
            fallback=target != course.job.primary,
            quirks=dropped if reading.outcome.kind is Kind.OK else frozenset(),
            usage=answer.usage if answer else None,
        )

    def _refused(self, refused: Refused) -> None:
        self._course.note_retry_at(refused.retry_at)
        target = self.candidate.target
        self.trail.append(Entry(target, "skipped", refused.reason, note=refused.note, cause=refused.cause))

    def _told(self, reading: Reading, settlement: Settlement, held: int) -> None:
        """A line in the trail, and what follows from it for the rest of the walk."""
        course, candidate, outcome = self._course, self.candidate, reading.outcome
        if reading.skipped is not None:
            self.trail.append(Entry(candidate.target, "skipped", reading.skipped, note=outcome.note))
            return
        course.outcomes.append(outcome)
        whole = outcome.kind is Kind.CONTEXT_OVERFLOW and outcome.parameter is None
        if whole and candidate.context is not None:
            course.needs = replace(course.needs, context=max(course.needs.context, candidate.context + 1))
        if outcome.kind is not Kind.OK:
            wait = outcome.retry_after
            course.note_retry_at(outcome.until if wait is None else course.ports.wall() + believed(wait))
        self.trail.append(
            Entry(
                target=candidate.target,
                action="called",
                outcome=outcome.kind,
                status=reading.status,
                latency_ms=settlement.latency_ms,
                cost=settlement.cost,
                retry_after=outcome.retry_after,
                note=outcome.note or candidate.note,
                held=held,
            )
        )

    def _since_start(self) -> int:
        """Milliseconds."""
        return round((self._course.ports.monotonic() - self._started) * 1000)


def _stopped(cost: int | None) -> Settlement:
    """A call that came to nothing because the caller was stopped."""
    return Settlement(Outcome(Kind.CANCELLED), 0, cost, fallback=False)
