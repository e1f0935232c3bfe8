"""What the targets of one walk have in common: the time that is left, what the request needs, what was spent.

Several of them may be under way at once, in tasks of one event loop; nothing in here waits for anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct

from llmfail.core.cache.cache_key import digest_of, fingerprint
from llmfail.core.classification.outcome import Outcome
from llmfail.core.model import Completion, Target
from llmfail.core.routing import candidates
from llmfail.core.routing.candidates import Candidate
from llmfail.engine.attempt.settlement import SettlementLog
from llmfail.engine.attempt.stream_commit import OutputClaim
from llmfail.engine.planning.codec import Answer, Codec
from llmfail.engine.planning.job import Job
from llmfail.engine.planning.targets import TargetRoute, TargetRoutes
from llmfail.engine.ports.protocols import OnText, Ports


class FoundAnswer(Struct, frozen=True):
    """The answer, and whose it is."""

    candidate: Candidate
    answer: Answer
    stored: bool = False
    """Nobody was asked: the same question has been answered before."""


class PartialAnswer(Struct, frozen=True):
    """Somebody began to be shown an answer, and there is no more of it."""

    target: Target
    answer: Completion
    outcome: Outcome


class AskState:
    """``needs``: what a target must have room for, as far as is known; ``spent`` in pico-dollars, at worst
    where nobody knows; ``outcomes`` are those of this round; ``stopped``: nobody else can help.
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
        self.ports = ports
        self.job = job
        self.exchange = exchange
        self.ledger = SettlementLog(ports, job)
        self.floor = OutputClaim(show, ports.monotonic)
        self.needs = candidates.requirements_of(job.request)
        self.spent = 0
        self.outcomes: list[Outcome] = []
        self.retry_at: float | None = None
        self.stopped = False
        self.deadline_passed = False
        self.broken: PartialAnswer | None = None
        self.unused_hedges = 0
        self.ends_at = ends_at
        self.routes = routes

    def route(self, candidate: Candidate) -> TargetRoute:
        return self.routes[candidate.target]

    def fingerprint(self, candidate: Candidate) -> str:
        """Of the request on this target."""
        return fingerprint(self._digest, self.route(candidate).endpoint)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.ends_at - self.ports.monotonic()

    def limit(self, candidate: Candidate, later: Sequence[Candidate]) -> float:
        """Seconds that an attempt may take, so that those behind it have their share."""
        behind = [one.timeout for one in later if self.obstacle(one) is None]
        return candidates.compute_attempt_timeout(self.left(), [candidate.timeout, *behind])

    def fair(self, candidate: Candidate) -> float:
        """Seconds after which a target is to blame for running out of time."""
        return min(candidate.timeout, self.job.fair_deadline / len(self.job.candidates))

    def obstacle(self, candidate: Candidate) -> candidates.CandidateSkip | None:
        return candidates.find_skip(candidate, self.needs)

    def note_retry_at(self, moment: float | None) -> None:
        """The earliest moment at which anybody may answer again."""
        if moment is not None:
            self.retry_at = moment if self.retry_at is None else min(self.retry_at, moment)

    async def pause(self, seconds: float) -> None:
        """Others learn of failures before anybody waits."""
        if seconds > 0:
            await self.ledger.settle_before_pause()
            await self.ports.sleep(seconds)

    @cached_property
    def _digest(self) -> str:
        return digest_of(self.job.request)
