"""The engine's face: ask, embed, plan. Each returns a value; only a wrong call raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core import allowance, plan
from llmfail.core import gate as gates
from llmfail.core.allowance import Notice, Unsettled
from llmfail.core.ask import Ask, question
from llmfail.core.budget import fraction
from llmfail.core.ending import failure
from llmfail.core.model import Completion, Embedding, Target
from llmfail.core.plan import Candidate
from llmfail.core.receipt import Entry, Receipt, usd
from llmfail.engine import book
from llmfail.engine.chain import Job, claim_of, job_of
from llmfail.engine.exchange import Exchange, completion, embedding
from llmfail.engine.ports import Onlooker, Ports
from llmfail.engine.route import Routes
from llmfail.engine.walk import Found, Walk
from llmfail.settings.settings import Settings
from llmfail.settings.types import Fixed
from llmfail.settings.types import Step as DegradeStep

if TYPE_CHECKING:
    from llmfail.core.preview import Preview

RETRYABLE = frozenset({3, 6, 7})
"""Exit codes after which asking again later may help."""
PROBE = "Reply with the single word: OK"
PROBE_TOKENS = 1024
"""Room for a model that thinks before it says one word."""


class Engine:
    """Asks through fallback chains. Holds no state of its own: settings and ports are all it knows."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.ports = ports
        self._routes = Routes(settings, ports.catalogue)

    async def ask(self, ask: Ask) -> Receipt:
        """Raises UsageError for what is not configured; everything else is in the receipt."""
        job = await job_of(self.settings, self._routes, ask, self.ports)
        return await self._walk(job, ask, completion(job.request))

    async def embed(self, ask: Ask) -> Receipt:
        """One vector per message of the ask."""
        job = await job_of(self.settings, self._routes, ask, self.ports)
        if not self.settings.feature(ask.feature).allow_other_models:
            job = replace(job, candidates=_same_model(job.candidates))
        job = replace(job, output=0)
        return await self._walk(job, ask, embedding(tuple(message.text for message in ask.messages)))

    async def plan(self, ask: Ask) -> Preview:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        from llmfail.core.preview import Preview, step_of  # noqa: PLC0415 - start-up: an ask needs none

        onlooker = replace(self.ports, keeper=Onlooker(self.ports.keeper))
        job = await job_of(self.settings, self._routes, ask, onlooker)
        gates_of = [self._routes[candidate.target].gate for candidate in job.candidates]
        keys = (
            key
            for gate, candidate in zip(gates_of, job.candidates, strict=True)
            for key in gate.keys_with(candidate.covers)
        )
        values, now = await self.ports.keeper.read(list(dict.fromkeys(keys)))
        steps = []
        for candidate, gate in zip(job.candidates, gates_of, strict=True):
            claim = claim_of(job, candidate, now)
            obstacle = plan.obstacle(candidate, plan.needs_of(job.request))
            found = obstacle or gates.look(gate, values, now, claim).refusal
            reason, note = (found.reason, found.note) if found else (None, "")
            known = allowance.calibration(candidate.target, values)
            steps.append(step_of(candidate, claim, known, reason, note))
        degrade = tuple(map(_step_name, self.settings.feature(ask.feature).degrade))
        return Preview(job.feature, tuple(steps), degrade)

    async def probe(self, target: Target) -> Receipt:
        """Ask one target something tiny; what it says of the target is recorded, the ask itself is not."""
        ask = Ask(question(PROBE), targets=(target,), max_tokens=PROBE_TOKENS, fallback=False)
        job = replace(await job_of(self.settings, self._routes, ask, self.ports), rounds=0)
        return await self._walk(job, ask, completion(job.request), kept=False)

    async def _walk(self, job: Job, ask: Ask, exchange: Exchange, *, kept: bool = True) -> Receipt:
        """``kept``: counted and logged as an ask; what was learnt of the targets is recorded in any case."""
        started = self.ports.monotonic()
        walk = Walk(self._routes, self.ports, job, exchange)
        entries = []
        try:
            found = await walk.run()
            latency_ms = round((self.ports.monotonic() - started) * 1000)
            receipt = self._receipt(job, ask, walk, found, latency_ms)
            if kept:
                prompt = ask.prompt if self.settings.privacy.log_prompts else None
                entries.append(book.entry(receipt, prompt, self.ports.wall()))
        finally:
            lost = (book.unsettled(one, self.ports.wall()) for one in walk.unsettled)
            await walk.settle(*lost, *entries)
        warnings = (*receipt.warnings, *map(_lost, walk.unsettled), *map(_nearly_spent, walk.notices))
        return replace(receipt, warnings=warnings)

    def _receipt(self, job: Job, ask: Ask, walk: Walk, found: Found | None, latency_ms: int) -> Receipt:
        blank = Receipt(
            id=job.id,
            feature=job.feature,
            trail=tuple(walk.trail),
            cost=_total(walk.trail),
            latency_ms=latency_ms,
            ref=ask.ref,
        )
        return _failed(blank, walk) if found is None else _answered(blank, job, found)


def _answered(blank: Receipt, job: Job, found: Found) -> Receipt:
    answer = found.answer
    receipt = replace(
        blank,
        source="model",
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
        warnings=_warnings(job, answer, found.dropped),
    )


def _failed(blank: Receipt, walk: Walk) -> Receipt:
    error = failure(
        walk.trail,
        deadline_passed=walk.deadline_passed,
        own_network=walk.own_network,
        retry_at=walk.retry_at,
    )
    return replace(blank, error=error, retry_at=walk.retry_at if error.code in RETRYABLE else None)


def _step_name(step: DegradeStep) -> str:
    """As the configuration writes it."""
    return "text" if isinstance(step, Fixed) else type(step).__name__.lower()


def _total(trail: Sequence[Entry]) -> int | None:
    """Unknown as soon as one part of it is."""
    costs = [entry.cost for entry in trail]
    return None if None in costs else sum(cost or 0 for cost in costs)


def _tier(job: Job, candidate: Candidate) -> int:
    if candidate.target == job.primary:
        return 0
    if job.downgraded:
        return 3
    return 1 if candidate.target.provider == job.primary.provider else 2


def _warnings(job: Job, answer: Completion, dropped: frozenset[str]) -> tuple[str, ...]:
    cut = f"the answer was cut at max_tokens ({job.request.max_tokens})"
    unheld = "the target takes no JSON Schema: the answer was not held to yours"
    return (
        *([cut] if answer.finish_reason == "length" else []),
        *([unheld] if job.request.schema is not None and "schema" in dropped else []),
    )


def _nearly_spent(notice: Notice) -> str:
    cover = notice.cover
    share = fraction(notice.spent, cover.limit)
    return f"budget {cover.label}: ${usd(notice.spent)} of ${usd(cover.limit)} are spent ({share:.0%})"


def _lost(one: Unsettled) -> str:
    return (
        f"a call of {one.hold.call} was never settled: its process ended in the middle, "
        f"and it may have cost up to ${usd(one.hold.amount)}"
    )


def _same_model(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Vectors of two models do not mix; a model may have a vendor's prefix at one provider only."""
    name = candidates[0].target.model.rpartition("/")[2]
    return tuple(one for one in candidates if one.target.model.rpartition("/")[2] == name)
