"""The engine's face: ask, embed, plan. Each returns a value; only a wrong call raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import hedge_budget, reservation
from llmfail.core.admission.budget import fraction
from llmfail.core.admission.reservation import (
    Claim,
    NearlySpent,
    Notice,
    Unsettled,
)
from llmfail.core.cache.cache_key import digest, fingerprint
from llmfail.core.errors import ExitCode, UsageError
from llmfail.core.model import Completion, Embedding, Target
from llmfail.core.receipt import Receipt, total, usd
from llmfail.core.records.record import Step, together
from llmfail.core.request.ask import Ask, question
from llmfail.core.request.expectation import can_be_shown
from llmfail.core.routing import candidates as plan
from llmfail.core.routing.candidates import Candidate
from llmfail.core.routing.failure import broken_off, failure
from llmfail.engine.answers.answer_cache import reader_of
from llmfail.engine.attempt.ask_state import Found
from llmfail.engine.attempt.settlement import unguarded
from llmfail.engine.fallback.fallback import Walk
from llmfail.engine.planning import embedding_rules
from llmfail.engine.planning.codec import Exchange, completion, embedding
from llmfail.engine.planning.embedding_rules import Space, told_apart
from llmfail.engine.planning.job import (
    Job,
    claim_of,
    job_of,
    late_after,
    patience,
)
from llmfail.engine.planning.targets import Routes
from llmfail.engine.ports.ports import (
    Onlooker,
    Ports,
    Show,
    write,
)
from llmfail.engine.reports import request_log
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.routing.plan import Preview, Stored
    from llmfail.core.routing.plan import Step as PlanStep

RETRYABLE = frozenset({ExitCode.UNAVAILABLE, ExitCode.CREDENTIALS_MISSING, ExitCode.DEADLINE_PASSED})
"""Exit codes after which asking again later may help."""
NO_TEXT = 'there is no text: llmfail embed "…", or pipe one to standard input'
PROBE = "Reply with the single word: OK"
PROBE_TOKENS = 1024
"""Room for a model that thinks before it says one word."""


class Outing(Struct, frozen=True):
    """One way along a chain, since ``started`` on the monotonic clock. ``is_kept``: counted and logged as an
    ask, unless it has no answer and something else is tried behind it (not ``is_last``).
    """

    started: float
    is_kept: bool = True
    is_last: bool = True
    show: Show | None = None


class Engine:
    """Asks through fallback chains. Holds no state of its own: settings and ports are all it knows."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.ports = ports
        self._routes = Routes(settings, ports.catalogue)

    async def ask(self, ask: Ask, *, ladder: bool = True, show: Show | None = None) -> Receipt:
        """Raises UsageError for what is not configured; everything else is in the receipt. ``ladder``: the
        feature's ``degrade`` steps may answer when no model does. ``show`` hears a streamed answer as it
        comes, unless only the whole of it can be judged; what is not streamed is in the receipt alone.
        """
        started = self.ports.monotonic()
        job = await job_of(self.settings, self._routes, ask, self.ports)
        below = ladder and (ask.queue or bool(self.settings.feature(ask.feature).degrade))
        if not can_be_shown(job.expected):
            show = None
        outing = Outing(started, is_last=not below, show=show)
        receipt = await self._walk(job, ask, _questioned(job), outing)
        if receipt.error is None or not below:
            return receipt
        degraded = await self._degraded(receipt, job, ask, started + job.deadline, show)
        degraded = replace(degraded, latency_ms=self._since(started))
        await self._keep([self._entry(degraded, ask)])
        return degraded

    async def embed(self, ask: Ask) -> Receipt:
        """One vector per message of the ask. Raises UsageError as well for a text that is empty, and where no
        target has embeddings.
        """
        started = self.ports.monotonic()
        texts = tuple(message.text for message in ask.messages)
        if not texts or not all(text.strip() for text in texts):
            raise UsageError(NO_TEXT)
        job = await job_of(self.settings, self._routes, ask, self.ports, vectors=True)
        exchange = embedding(texts)
        embedding_rules.require_embeddings(
            job.feature, exchange, self._routes, [one.target for one in job.candidates]
        )
        if self.settings.feature(ask.feature).allow_other_models:
            return await self._walk(job, ask, exchange, Outing(started))
        key = embedding_rules.space_key(job.feature, job.primary)
        values, _ = await self.ports.keeper.read([key])
        space = embedding_rules.space_of(key, self._routes[job.primary].endpoint, values)
        receipt = await self._walk(job, ask, replace(exchange, objection=space.objection), Outing(started))
        return await self._placed(receipt, space)

    async def _placed(self, receipt: Receipt, space: Space) -> Receipt:
        """What its vectors are like is known from now on."""
        if receipt.embedding is None or receipt.embedding.dimensions == space.dimensions:
            return receipt
        await self._keep([space.change(receipt.embedding.dimensions)])
        return embedding_rules.warned(receipt, receipt.embedding.dimensions, space.dimensions)

    async def races(self, ask: Ask) -> bool:
        """Whether a second target may be asked while the first is late, which takes an event loop."""
        return await late_after(self.settings, self._routes, ask, self._onlooking) is not None

    async def plan(self, ask: Ask) -> Preview:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        from llmfail.core.routing.plan import Preview, step_of
        from llmfail.engine.answers.degrade import step_name

        job = await job_of(self.settings, self._routes, ask, self._onlooking, previewed=True)
        moment = self.ports.wall()
        claims = [self._claim(job, place, moment) for place in range(len(job.candidates))]
        gates_of = [self._routes[candidate.target].gate for candidate in job.candidates]
        keys = (key for gate, claim in zip(gates_of, claims, strict=True) for key in gate.keys_with(claim))
        values, now = await self.ports.keeper.read(list(dict.fromkeys(keys)))
        steps = []
        for candidate, gate, claim in zip(job.candidates, gates_of, claims, strict=True):
            obstacle = plan.obstacle(candidate, plan.needs_of(job.request))
            found = (
                obstacle or unguarded(self.ports, job, claim) or gates.look(gate, values, now, claim).refusal
            )
            reason, note = (found.reason, found.note) if found else (None, "")
            known = reservation.calibration(candidate.target, values)
            steps.append(step_of(candidate, claim, known, reason, note))
        degrade = tuple(map(step_name, self.settings.feature(ask.feature).degrade))
        return Preview(job.feature, tuple(steps), degrade, await self._stored(job, steps))

    async def _stored(self, job: Job, steps: Sequence[PlanStep]) -> Stored:
        """What a stored answer would do: one of a target before or instead of the first that would be called
        is a hit.
        """
        reader = reader_of(self.ports, job.terms, job.expected)
        if reader is None:
            return "off"
        prints = self._fingerprints(job)
        first = next((place for place, step in enumerate(steps) if step.decision == "call"), len(prints))
        if await reader.fresh(prints[: first + 1]):
            return "hit"
        return "stale" if await reader.stale(prints) else "miss"

    def _claim(self, job: Job, place: int, moment: float) -> Claim:
        """What an ask would claim of its candidate in that place, if it came to it at once."""
        candidate, later = job.candidates[place], job.candidates[place + 1 :]
        covers = self._routes.covers(job.feature, job.user, candidate.target, moment)
        others = any(plan.obstacle(one, plan.needs_of(job.request)) is None for one in later)
        claim = claim_of(job, candidate, covers, moment, priced=True)
        return replace(claim, patience=patience(job.deadline, others=others))

    async def probe(self, target: Target) -> Receipt:
        """Ask one target something tiny; what it says of the target is recorded, the ask itself is not."""
        started = self.ports.monotonic()
        ask = Ask(question(PROBE), targets=(target,), max_tokens=PROBE_TOKENS, fallback=False, cache="off")
        job = replace(await job_of(self.settings, self._routes, ask, self.ports), rounds=0)
        return await self._walk(job, ask, _questioned(job), Outing(started, is_kept=False))

    async def _walk(self, job: Job, ask: Ask, exchange: Exchange, outing: Outing) -> Receipt:
        """What was learnt of the targets is recorded in any case."""
        ends_at = outing.started + job.deadline
        walk = Walk(self._routes, self.ports, job, exchange, ends_at, outing.show)
        entries = []
        try:
            found = await walk.run()
            receipt = self._receipt(job, ask, walk, found, self._since(outing.started))
            if outing.is_kept and (outing.is_last or receipt.ok):
                entries.append(self._entry(receipt, ask))
            if job.hedge is not None:
                entries.append(hedge_budget.earn(job.feature, walk.unused_hedges, asks=int(outing.is_kept)))
        finally:
            await self._settled(walk, *entries)
        return replace(receipt, warnings=(*receipt.warnings, *map(_notice, walk.notices)))

    async def _degraded(
        self, failed: Receipt, job: Job, ask: Ask, ends_at: float, show: Show | None
    ) -> Receipt:
        from llmfail.engine.answers import degrade as ladder

        if not ladder.may_help(failed.error):
            return failed

        async def again(job: Job) -> Receipt:
            outing = Outing(self.ports.monotonic(), is_kept=False, show=show)
            return await self._walk(job, ask, _questioned(job), outing)

        steps = ladder.steps_of(self.settings, ask)
        prints = self._fingerprints(job)
        below = ladder.Ladder(
            self.settings, self.ports, reader_of(self.ports, job.terms, job.expected), again, ends_at
        )
        return await below.descend(steps, failed, ladder.Case(job, ask, prints))

    @property
    def _onlooking(self) -> Ports:
        """For who only wants to know."""
        return replace(self.ports, keeper=Onlooker(self.ports.keeper))

    def _fingerprints(self, job: Job) -> tuple[str, ...]:
        """Of the request on each target of the chain."""
        question = digest(job.request)
        return tuple(fingerprint(question, self._routes[one.target].endpoint) for one in job.candidates)

    def _entry(self, receipt: Receipt, ask: Ask) -> Step:
        prompt = ask.prompt if self.settings.privacy.log_prompts else None
        return request_log.entry(receipt, prompt, self.ports.wall())

    def _since(self, started: float) -> int:
        """Milliseconds."""
        return round((self.ports.monotonic() - started) * 1000)

    async def _settled(self, walk: Walk, *entries: Step) -> None:
        """Whoever is stopped in the middle of it settles what is left, and what came to light is kept."""
        try:
            await walk.settle(*entries)
        except BaseException:
            await walk.settle()
            raise
        finally:
            wall = self.ports.wall()
            lost = (one for one in walk.notices if isinstance(one, Unsettled))
            await self._keep([request_log.unsettled(one, self.ports.new_id(), wall) for one in lost])

    async def _keep(self, steps: Sequence[Step]) -> None:
        if steps:
            await write(self.ports.keeper, together(steps))

    def _receipt(self, job: Job, ask: Ask, walk: Walk, found: Found | None, latency_ms: int) -> Receipt:
        blank = Receipt(
            id=job.id,
            feature=job.feature,
            trail=tuple(walk.trail),
            cost=total(walk.trail),
            latency_ms=latency_ms,
            ref=ask.ref,
            looked=job.terms is not None and job.terms.reads,
        )
        return told_apart(_failed(blank, walk), job.others) if found is None else _answered(blank, job, found)


def _questioned(job: Job) -> Exchange:
    return completion(job.request, job.expected, stream=job.patience is not None)


def _answered(blank: Receipt, job: Job, found: Found) -> Receipt:
    answer = found.answer
    receipt = replace(
        blank,
        source="cache" if found.stored else "model",
        tier=_tier(job, found.candidate),
        target=found.candidate.target,
        response_model=answer.model,
        usage=answer.usage,
    )
    if isinstance(answer, Embedding):
        return replace(receipt, embedding=answer)
    return replace(
        receipt,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        warnings=_warnings(job, answer),
    )


def _failed(blank: Receipt, walk: Walk) -> Receipt:
    if walk.broken is not None:
        error, half = broken_off(walk.broken.target, walk.broken.outcome), walk.broken.answer
        return replace(blank, error=error, partial=half.text, usage=half.usage)
    error = failure(
        walk.trail,
        deadline_passed=walk.deadline_passed,
        own_network=walk.own_network,
        retry_at=walk.retry_at,
    )
    return replace(blank, error=error, retry_at=walk.retry_at if error.code in RETRYABLE else None)


def _tier(job: Job, candidate: Candidate) -> int:
    if candidate.target == job.primary:
        return 0
    if job.downgraded:
        return 3
    return 1 if candidate.target.provider == job.primary.provider else 2


def _warnings(job: Job, answer: Completion) -> tuple[str, ...]:
    if answer.finish_reason != "length":
        return ()
    return (f"the answer was cut at max_tokens ({job.request.max_tokens})",)


def _notice(notice: Notice) -> str:
    cover = notice.cover
    if isinstance(notice, NearlySpent):
        share = fraction(notice.spent, cover.limit)
        return f"budget {cover.label}: ${usd(notice.spent)} of ${usd(cover.limit)} are spent ({share:.0%})"
    return f"budget {cover.label}: {request_log.told(notice)}"
