"""One ask on its way along its chain: a stored answer, or admit, send, settle, and on to wherever the outcome
leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import count
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core import plan, retry
from llmfail.core.allowance import Claim, Notice
from llmfail.core.breaker import believed
from llmfail.core.fingerprint import digest, fingerprint
from llmfail.core.gate import Admitted, Look, Settlement, look
from llmfail.core.kept import Kept
from llmfail.core.model import Completion, Target
from llmfail.core.outcome import CONSEQUENCES, Kind, Outcome
from llmfail.core.plan import Candidate
from llmfail.core.pricing import charge
from llmfail.core.receipt import Entry, Skip
from llmfail.core.record import Step
from llmfail.core.refusal import Refused
from llmfail.engine.caller import Departure, call
from llmfail.engine.chain import Job, claim_of, patience
from llmfail.engine.exchange import Answer, Exchange, Reading
from llmfail.engine.ledger import LEASE_MARGIN, Ledger, Made
from llmfail.engine.ports import Ports
from llmfail.engine.route import Routes
from llmfail.engine.shelf import Shelf, shelf_of

WALKABLE = frozenset({Skip.CIRCUIT_OPEN, Skip.PROBING, Skip.RATE_LIMITED_HERE})
"""Skips that may have passed by the next round."""


LATEST = 0.9
"""Seconds that a call may start after its place in a row: ``rate.MINUTE`` has as many to spare."""
TRIAL_TAKES = 1.0
"""Seconds after which to look again whether the trial of somebody else is over."""
TICK = 0.02
PLACES = 3
"""How often somebody who is late for a place asks for another."""


class Found(Struct, frozen=True):
    """The answer, and whose it is."""

    candidate: Candidate
    answer: Answer
    cost: int | None
    dropped: frozenset[str] = frozenset()
    """The parameters that this target did not get, because it refuses them."""
    stored: bool = False
    """Nobody was asked: the same question has been answered before."""


class Walk:
    """One ask under way. Run it once, read ``trail``, ``deadline_passed`` and ``own_network``, and ``settle``
    whatever happened.
    """

    def __init__(self, routes: Routes, ports: Ports, job: Job, exchange: Exchange) -> None:
        self._routes = routes
        self._ports = ports
        self._job = job
        self._exchange = exchange
        self._ends_at = ports.monotonic() + job.deadline
        self._wait_ends_at = ports.monotonic() + job.wait
        self._stopped = False
        self._needs = plan.needs_of(job.request)
        self._ledger = Ledger(ports, job)
        self._shelf = shelf_of(ports, job.terms, job.expected, job.id)
        self._spent = 0
        self._outcomes: list[Outcome] = []
        self.trail: list[Entry] = []
        self.retry_at: float | None = None
        self.deadline_passed = False

    async def run(self) -> Found | None:
        found = await self._rounds()
        called = [entry for entry in self.trail if entry.action == "called"]
        self._ledger.end(answered=found is not None, calls=len(called))
        return found

    @property
    def own_network(self) -> bool:
        return self._ledger.own_network

    @property
    def notices(self) -> Sequence[Notice]:
        """What somebody should know of budgets, once everything is settled."""
        return self._ledger.notices

    async def settle(self, *also: Step) -> None:
        """Settle what is left to settle, in one step with ``also``."""
        await self._ledger.settle(*also)

    async def _rounds(self) -> Found | None:
        candidates: Sequence[Candidate] = self._job.candidates
        for made in count(1):
            self._outcomes = []
            found = await self._round(candidates)
            if found is not None or self._stopped or self.deadline_passed:
                return found
            wait = retry.next_round(self._outcomes, made, self._job.rounds, self._ports.draw())
            if wait is None:
                wait, candidates = await self._until_a_trial(), self._job.candidates
            else:
                candidates = [one for one in candidates if self._may_help(one)]
            if wait is None or wait >= self._left():
                return None
            await self._pause(wait)
        return None

    async def _round(self, candidates: Sequence[Candidate]) -> Found | None:
        for place, candidate in enumerate(candidates):
            found = await self._visited(candidate, candidates[place + 1 :])
            if found is not None or self._stopped:
                return found
        self.deadline_passed = self.deadline_passed or self._left() <= 0
        return None

    async def _visited(self, candidate: Candidate, later: Sequence[Candidate]) -> Found | None:
        """What a target said to the same question before, or says now; whoever waits for the same has the
        answer then, or waits no longer.
        """
        shelf = self._shelf
        if shelf is None:
            return await self._asked(candidate, later)
        question = fingerprint(self._digest, self._routes[candidate.target].endpoint)
        try:
            kept = await self._kept(shelf, question, candidate, later)
            if kept is not None:
                return Found(candidate, kept.completion, 0, stored=True)
            found = await self._asked(candidate, later)
            if found is not None and isinstance(found.answer, Completion):
                await shelf.keep(question, candidate.target, found.answer)
        except BaseException:
            await shelf.leave()
            raise
        await shelf.give_up()
        return found

    async def _kept(
        self, shelf: Shelf, question: str, candidate: Candidate, later: Sequence[Candidate]
    ) -> Kept | None:
        """Who waits for somebody else's answer keeps half of the time that is left."""
        if plan.obstacle(candidate, self._needs) is not None or self._left() <= 0:
            return await shelf.reader.fresh([question])
        patience = min(self._limit(candidate, later), self._left() / 2)
        return await shelf.fetch(question, patience, self._pause)

    async def _asked(self, candidate: Candidate, later: Sequence[Candidate]) -> Found | None:
        obstacle = plan.obstacle(candidate, self._needs)
        if obstacle is None and self._left() <= 0:
            self.deadline_passed = True
            obstacle = plan.Obstacle(Skip.DEADLINE, "no time was left")
        if obstacle is not None:
            self.trail.append(Entry(candidate.target, "skipped", obstacle.reason, note=obstacle.note))
            return None
        return await self._target(candidate, later)

    async def _target(self, candidate: Candidate, later: Sequence[Candidate]) -> Found | None:
        """One target, with its retries."""
        dropped: frozenset[str] = frozenset()
        for made in count(1):
            result = await self._attempt(candidate, dropped, later)
            if result is None or isinstance(result, Found):
                return result
            tries = retry.Tries(made, self._job.target_retries, dropped, self._job.stop_on_refusal)
            step = retry.after(result, self._job.request, tries, self._ports.draw())
            match step:
                case retry.Again(wait, quirk) if wait < self._left():
                    dropped |= {quirk} if quirk else set()
                    await self._pause(wait)
                case retry.Stop():
                    self._stopped = True
                    return None
                case _:
                    return None
        return None

    async def _attempt(
        self, candidate: Candidate, dropped: frozenset[str], later: Sequence[Candidate]
    ) -> Found | Outcome | None:
        """One admitted call, settled; None when nothing was sent."""
        latest = LATEST if self._routes[candidate.target].gate.limits else LEASE_MARGIN
        for _ in range(PLACES):
            admitted = await self._admitted(candidate, later)
            if isinstance(admitted, Refused):
                self._refused(candidate, admitted)
                return None
            await self._pause(admitted.grant.wait)
            if self._ports.wall() <= admitted.grant.starts_at + latest:
                return await self._call(candidate, admitted, self._limit(candidate, later), dropped)
            # Somebody has held this process: its place in the row has gone by, and its hold may have ended.
            self._ledger.conclude(_stopped(cost=0))
        self._refused(candidate, Refused(Skip.RATE_LIMITED_HERE, None, "too late for its place"))
        return None

    async def _admitted(self, candidate: Candidate, later: Sequence[Candidate]) -> Admitted | Refused:
        """A place, which is given back unless a call is made of it."""
        gate = self._routes[candidate.target].gate
        if gate.limits:
            # Who has a place in the row must not be late for it.
            self._ports.prepare()
        limit = self._limit(candidate, later)
        admitted = await self._ledger.admit(gate, self._claim(candidate, limit, later))
        if isinstance(admitted, Admitted):
            self._ledger.enter(Made(gate, admitted, _stopped(cost=0)))
        return admitted

    async def _call(
        self, candidate: Candidate, admitted: Admitted, limit: float, dropped: frozenset[str]
    ) -> Found | Outcome | None:
        """Wherever it is stopped, the ledger knows what it may have cost."""
        route = self._routes[candidate.target]
        started = self._ports.monotonic()
        quirks = admitted.quirks | dropped
        read = await call(self._ports, self._exchange, route, quirks, Departure(limit, self._leaving))
        reading = self._blamed(read, candidate, limit)
        latency_ms = round((self._ports.monotonic() - started) * 1000)
        settlement = self._settlement(candidate, reading, latency_ms, admitted, dropped)
        self._ledger.conclude(settlement, reading.host)
        self._spent += admitted.grant.amount if settlement.cost is None else settlement.cost
        self._told(candidate, reading, settlement, admitted.grant.amount)
        if reading.skipped is not None:
            return None
        if reading.outcome.kind is Kind.OK and reading.answer is not None:
            return Found(candidate, reading.answer, settlement.cost, quirks)
        return reading.outcome

    def _leaving(self) -> None:
        """From here on nobody knows what it will cost."""
        self._ledger.depart(_stopped(cost=None))

    def _claim(self, candidate: Candidate, limit: float, later: Sequence[Candidate]) -> Claim:
        moment = self._ports.wall()
        job = self._job
        covers = self._routes.covers(job.feature, job.user, candidate.target, moment)
        claim = claim_of(job, candidate, covers, moment, priced=False)
        return replace(
            claim,
            call=self._ledger.new_call(),
            lasts=limit + LEASE_MARGIN,
            most=None if claim.most is None else claim.most - self._spent,
            patience=self._patience(candidate, later),
        )

    def _patience(self, candidate: Candidate, later: Sequence[Candidate]) -> float:
        if not self._routes[candidate.target].gate.limits:
            return 0.0
        others = any(plan.obstacle(one, self._needs) is None for one in later)
        return patience(self._left(), others=others)

    def _blamed(self, reading: Reading, candidate: Candidate, limit: float) -> Reading:
        """A target that had less than its fair share of time is not to blame for running out of it."""
        fair = min(candidate.timeout, self._job.fair_deadline / len(self._job.candidates))
        if reading.outcome.kind is not Kind.TIMEOUT or limit >= fair * 0.999:
            return reading
        note = f"no answer in the {max(limit, 0.0):.3g} s that the deadline left"
        return replace(reading, outcome=Outcome(Kind.CANCELLED, note))

    def _settlement(
        self,
        candidate: Candidate,
        reading: Reading,
        latency_ms: int,
        admitted: Admitted,
        dropped: frozenset[str],
    ) -> Settlement:
        answer = reading.answer
        cost = 0 if reading.free else None
        if answer is not None:
            price = self._routes.prices.answered(candidate.target, answer.model)
            told = self._routes[candidate.target].tells_cost
            cost = charge(answer, price, admitted.grant.starts_at, told=told)
        return Settlement(
            outcome=reading.outcome,
            latency_ms=latency_ms,
            cost=cost,
            fallback=candidate.target != self._job.primary,
            quirks=dropped if reading.outcome.kind is Kind.OK else frozenset(),
            usage=answer.usage if answer else None,
        )

    async def _until_a_trial(self) -> float | None:
        """Seconds until the first open circuit allows one. None when nobody is to wait, or all who could be
        asked right now have just been asked in vain.
        """
        left = self._wait_ends_at - self._ports.monotonic()
        usable = [one for one in self._job.candidates if plan.obstacle(one, self._needs) is None]
        if left <= 0 or not usable:
            return None
        await self._ledger.before_pause()
        gates = [self._routes[one.target].gate for one in usable]
        values, now = await self._ports.keeper.read([key for gate in gates for key in gate.keys])
        looks = [look(gate, values, now) for gate in gates]
        free = [gate.target for gate, one in zip(gates, looks, strict=True) if one.refusal is None]
        if free and all(map(self._was_called, free)):
            return None
        soonest = min(_until_open(one, now) for one in looks)
        return soonest if soonest <= left else None

    def _was_called(self, target: Target) -> bool:
        """The last time that it had its turn."""
        return next(one for one in reversed(self.trail) if one.target == target).action == "called"

    @cached_property
    def _digest(self) -> str:
        return digest(self._job.request)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._ledger.before_pause()
            await self._ports.sleep(seconds)

    def _limit(self, candidate: Candidate, later: Sequence[Candidate]) -> float:
        open_later = [one for one in later if plan.obstacle(one, self._needs) is None]
        return plan.share(self._left(), [candidate.timeout, *(one.timeout for one in open_later)])

    def _left(self) -> float:
        return self._ends_at - self._ports.monotonic()

    def _may_help(self, candidate: Candidate) -> bool:
        """Whether what stood in the way of this target, called or skipped, may have passed."""
        last = next(entry for entry in reversed(self.trail) if entry.target == candidate.target)
        if last.action == "skipped":
            return last.outcome in WALKABLE
        return CONSEQUENCES[Kind(last.outcome)].passing

    def _refused(self, candidate: Candidate, refused: Refused) -> None:
        self._note_retry_at(refused.retry_at)
        self.trail.append(
            Entry(candidate.target, "skipped", refused.reason, note=refused.note, cause=refused.cause)
        )

    def _told(self, candidate: Candidate, reading: Reading, settlement: Settlement, held: int) -> None:
        """A line in the trail, and what follows from it for the rest of the walk."""
        outcome = reading.outcome
        if reading.skipped is not None:
            self.trail.append(Entry(candidate.target, "skipped", reading.skipped, note=outcome.note))
            return
        self._outcomes.append(outcome)
        whole = outcome.kind is Kind.CONTEXT_OVERFLOW and outcome.parameter is None
        if whole and candidate.context is not None:
            self._needs = replace(self._needs, context=max(self._needs.context, candidate.context + 1))
        if outcome.kind is not Kind.OK:
            wait = outcome.retry_after
            self._note_retry_at(outcome.until if wait is None else self._ports.wall() + believed(wait))
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

    def _note_retry_at(self, moment: float | None) -> None:
        """The earliest moment at which anybody may answer again."""
        if moment is not None:
            self.retry_at = moment if self.retry_at is None else min(self.retry_at, moment)


def _until_open(look: Look, now: float) -> float:
    """Seconds until a target may be asked; a trial of somebody else may be over any moment."""
    if look.refusal is None:
        return TICK
    wait = inf if look.retry_at is None else max(look.retry_at - now, TICK)
    return min(wait, TRIAL_TAKES) if look.refusal.reason is Skip.PROBING else wait


def _stopped(cost: int | None) -> Settlement:
    """A call that came to nothing because the caller was stopped."""
    return Settlement(Outcome(Kind.CANCELLED), 0, cost, fallback=False)
