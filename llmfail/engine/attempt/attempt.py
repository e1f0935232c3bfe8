"""One target's turn: what it said to the same question before, or admit, send, settle, and again where that
helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core.admission.breaker import clamp_retry_after
from llmfail.core.admission.gate import Admission, Settlement
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation import ReservationRequest
from llmfail.core.cache.single_flight import StoredAnswer
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Completion
from llmfail.core.pricing.price import charge
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing import candidates, next_step
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.answers.answer_cache import SingleFlightCache, reader_of, single_flight_cache_of
from llmfail.engine.attempt.ask_state import AskState, FoundAnswer, PartialAnswer
from llmfail.engine.attempt.call import CallOptions, call
from llmfail.engine.attempt.settlement import LEASE_MARGIN, PendingCall
from llmfail.engine.attempt.stream_commit import TargetOutput
from llmfail.engine.planning.codec import AttemptResult
from llmfail.engine.planning.job import max_rate_limit_wait, reservation_request_of

if TYPE_CHECKING:
    from llmfail.engine.attempt.stream_reader import StreamLimits

LATEST = 0.9
"""Seconds that a call may start after its place in a row: ``rate.MINUTE_WITH_MARGIN_SECONDS`` has as many
to spare.
"""
PLACES = 3
"""How often somebody who is late for a place asks for another."""
BEATEN = "another target answered first"
REFUSED = "another target refused the request for all"
TOO_LONG = "the deadline passed before it was whole"


class Attempt:
    """``later`` are those that would come behind it. Run it once; ``trail`` is what it came to, and
    ``stopped`` says that nobody behind it can help.
    """

    def __init__(self, course: AskState, candidate: Candidate, later: Sequence[Candidate]) -> None:
        self.candidate = candidate
        self.voice = TargetOutput(course.floor)
        self.trail: list[TrailEntry] = []
        self.stopped = False
        self.was_beaten = False
        self._course = course
        self._later = later
        self._under_way: Admission | None = None
        self._started = 0.0

    async def run(self) -> FoundAnswer | None:
        """Whoever waits for the same answer has it then, or waits no longer."""
        job, ports = self._course.job, self._course.ports
        shelf = single_flight_cache_of(ports, job.cache_policy, job.expected, job.id)
        if shelf is None:
            return await self._asked()
        question = self._course.fingerprint(self.candidate)
        try:
            kept = await self._kept(shelf, question)
            if kept is not None:
                return FoundAnswer(self.candidate, kept.completion, stored=True)
            found = await self._asked()
            if found is not None and isinstance(found.answer, Completion):
                await shelf.store_answer(question, self.candidate.target, found.answer)
        except BaseException:
            await shelf.hand_over()
            raise
        await shelf.give_up()
        return found

    @property
    def called(self) -> bool:
        return any(entry.action == "called" for entry in self.trail)

    async def stored(self) -> FoundAnswer | None:
        """What it said to the same question before, if that is fresh."""
        job, ports = self._course.job, self._course.ports
        reader = reader_of(ports, job.cache_policy, job.expected)
        kept = None if reader is None else await reader.find_fresh([self._course.fingerprint(self.candidate)])
        return None if kept is None else FoundAnswer(self.candidate, kept.completion, stored=True)

    def beaten(self) -> None:
        """It was stopped because of somebody else, who has answered, or refused the request."""
        self.was_beaten, admitted = True, self._under_way
        if admitted is None:
            return
        self.trail.append(
            TrailEntry(
                self.candidate.target,
                "called",
                Kind.CANCELLED,
                latency_ms=self._since_start(),
                cost=None,
                note=BEATEN if self._course.floor.speaker or not self._course.stopped else REFUSED,
                held=admitted.reservation.amount,
            )
        )

    async def _kept(self, shelf: SingleFlightCache, question: str) -> StoredAnswer | None:
        """Who waits for somebody else's answer keeps half of the time that is left."""
        left = self._course.left()
        if self._course.obstacle(self.candidate) is not None or left <= 0:
            return await shelf.reader.find_fresh([question])
        limit = self._course.limit(self.candidate, self._later)
        return await shelf.fetch(question, min(limit, left / 2), self._course.pause)

    async def _asked(self) -> FoundAnswer | None:
        course, candidate = self._course, self.candidate
        obstacle = course.obstacle(candidate)
        if obstacle is None and course.left() <= 0:
            course.deadline_passed = True
            obstacle = candidates.CandidateSkip(SkipReason.DEADLINE, "no time was left")
        if obstacle is not None:
            self.trail.append(TrailEntry(candidate.target, "skipped", obstacle.reason, note=obstacle.note))
            return None
        return await self._tried()

    async def _tried(self) -> FoundAnswer | None:
        """With its retries."""
        job, dropped = self._course.job, frozenset[str]()
        streamed = job.stream_timeouts is not None
        for made in count(1):
            result = await self._attempt(dropped)
            if result is None or isinstance(result, FoundAnswer):
                return result
            if self._course.broken is not None:
                self._stop()
                return None
            tries = next_step.AttemptsMade(made, job.target_retries, dropped, job.stop_on_refusal, streamed)
            step = next_step.decide_next_step(result, job.request, tries, self._course.ports.random())
            match step:
                case next_step.RetrySameTarget(wait, quirk) if wait < self._course.left():
                    dropped |= {quirk} if quirk else set()
                    await self._course.pause(wait)
                case next_step.StopChain():
                    self._stop()
                    return None
                case _:
                    return None
        return None

    def _stop(self) -> None:
        """Nobody behind it can help."""
        self.stopped = self._course.stopped = True

    async def _attempt(self, dropped: frozenset[str]) -> FoundAnswer | Outcome | None:
        """One admitted call, settled; None when nothing was sent."""
        course = self._course
        latest = LATEST if course.route(self.candidate).gate.limits else LEASE_MARGIN
        for _ in range(PLACES):
            admitted = await self._admitted()
            if isinstance(admitted, Refusal):
                self._refused(admitted)
                return None
            await course.pause(admitted.reservation.wait)
            if course.ports.wall() <= admitted.reservation.starts_at + latest:
                return await self._call(admitted, dropped)
            # Somebody has held this process: its place in the row has gone by, and its hold may have ended.
            course.ledger.finish(admitted.reservation.request.call_id, _stopped(cost=0))
        self._refused(Refusal(SkipReason.RATE_LIMITED_HERE, None, "too late for its place"))
        return None

    async def _admitted(self) -> Admission | Refusal:
        """A place, which is given back unless a call is made of it."""
        course = self._course
        gate = course.route(self.candidate).gate
        if gate.limits:
            # Who has a place in the row must not be late for it.
            course.ports.prepare()
        admitted = await course.ledger.admit(gate, self._claim())
        if isinstance(admitted, Admission):
            course.ledger.register(PendingCall(gate, admitted, _stopped(cost=0)))
        return admitted

    async def _call(self, admitted: Admission, dropped: frozenset[str]) -> FoundAnswer | Outcome | None:
        """Wherever it is stopped, the ledger knows what it may have cost."""
        course, candidate = self._course, self.candidate
        limit = course.limit(candidate, self._later)
        self._started = course.ports.monotonic()
        quirks = admitted.dropped_parameters | dropped
        departure = CallOptions(limit, lambda: self._leaving(admitted), self._ear())
        read = await call(course.ports, course.exchange, course.route(candidate), quirks, departure)
        reading = self._blamed(read, limit)
        settlement = self._settlement(reading, admitted, dropped)
        course.ledger.finish(admitted.reservation.request.call_id, settlement, reading.host)
        if self._under_way is not None and settlement.cost is not None:
            course.spent += settlement.cost - admitted.reservation.amount
        self._under_way = None
        self._told(reading, settlement, admitted.reservation.amount)
        if reading.skipped is not None:
            return None
        if reading.outcome.kind is Kind.OK and reading.answer is not None:
            return FoundAnswer(candidate, reading.answer)
        if self.voice.is_committed and isinstance(reading.answer, Completion):
            course.broken = PartialAnswer(candidate.target, reading.answer, reading.outcome)
        return reading.outcome

    def _ear(self) -> StreamLimits | None:
        patience = self._course.job.stream_timeouts
        if patience is None:
            return None
        from llmfail.engine.attempt.stream_reader import StreamLimits

        self.voice.discard_unsent()
        return StreamLimits(patience, self.voice, self._course.ends_at)

    def _leaving(self, admitted: Admission) -> None:
        """From here on nobody knows what it will cost."""
        if self._under_way is None:
            self._under_way = admitted
            self._course.spent += admitted.reservation.amount
        self._course.ledger.mark_sent(admitted.reservation.request.call_id, _stopped(cost=None))

    def _claim(self) -> ReservationRequest:
        """What is shown may go on until the deadline."""
        course, job = self._course, self._course.job
        moment = course.ports.wall()
        covers = course.routes.budget_scopes(job.feature, job.user, self.candidate.target, moment)
        claim = reservation_request_of(job, self.candidate, covers, moment, priced=False)
        limit = course.limit(self.candidate, self._later) if course.floor.show is None else course.left()
        return replace(
            claim,
            call_id=course.ledger.new_call_id(),
            lease_seconds=limit + LEASE_MARGIN,
            max_cost=None if claim.max_cost is None else claim.max_cost - course.spent,
            max_wait=self._patience(),
        )

    def _patience(self) -> float:
        course = self._course
        if not course.route(self.candidate).gate.limits:
            return 0.0
        others = any(course.obstacle(one) is None for one in self._later)
        return max_rate_limit_wait(course.left(), others=others)

    def _blamed(self, reading: AttemptResult, limit: float) -> AttemptResult:
        """A target that had less than its fair share of time is not to blame for running out of it, nor is
        one that was still talking.
        """
        if reading.outcome.kind is not Kind.TIMEOUT or reading.is_slow:
            return reading
        note = TOO_LONG
        if not self.voice.is_committed:
            if limit >= self._course.fair(self.candidate) * 0.999:
                return reading
            note = f"no answer in the {max(limit, 0.0):.3g} s that the deadline left"
        return replace(reading, outcome=Outcome(Kind.CANCELLED, note))

    def _settlement(self, reading: AttemptResult, admitted: Admission, dropped: frozenset[str]) -> Settlement:
        course, target, answer = self._course, self.candidate.target, reading.answer
        cost = 0 if reading.is_free else None
        if answer is not None:
            price = course.routes.prices.find_billed(target, answer.model)
            told = course.route(self.candidate).reports_cost
            cost = charge(answer, price, admitted.reservation.starts_at, reports_cost=told)
        return Settlement(
            outcome=reading.outcome,
            latency_ms=self._since_start(),
            cost=cost,
            fallback=target != course.job.primary,
            dropped_parameters=dropped if reading.outcome.kind is Kind.OK else frozenset(),
            usage=answer.usage if answer else None,
        )

    def _refused(self, refused: Refusal) -> None:
        self._course.note_retry_at(refused.retry_at)
        target = self.candidate.target
        self.trail.append(
            TrailEntry(target, "skipped", refused.reason, note=refused.note, cause=refused.cause)
        )

    def _told(self, reading: AttemptResult, settlement: Settlement, held: int) -> None:
        """A line in the trail, and what follows from it for the rest of the walk."""
        course, candidate, outcome = self._course, self.candidate, reading.outcome
        if reading.skipped is not None:
            self.trail.append(TrailEntry(candidate.target, "skipped", reading.skipped, note=outcome.note))
            return
        course.outcomes.append(outcome)
        whole = outcome.kind is Kind.CONTEXT_OVERFLOW and outcome.parameter is None
        if whole and candidate.context is not None:
            course.needs = replace(course.needs, context=max(course.needs.context, candidate.context + 1))
        if outcome.kind is not Kind.OK:
            wait = outcome.retry_after
            course.note_retry_at(
                outcome.quota_resets_at if wait is None else course.ports.wall() + clamp_retry_after(wait)
            )
        self.trail.append(
            TrailEntry(
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
