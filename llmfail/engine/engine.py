"""What the engine offers: ask, embed, plan. Each returns a value; only a wrong call raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import hedge_budget, reservation
from llmfail.core.admission.budget import share_of_limit
from llmfail.core.admission.budget_unit import format_amount
from llmfail.core.admission.reservation import (
    BudgetNotice,
    BudgetWarning,
    ReservationRequest,
    UnsettledCalls,
)
from llmfail.core.cache.cache_key import describe_asked, fingerprint
from llmfail.core.errors import EmptyPrompt, ExitCode
from llmfail.core.model import Completion, Embedding, Target
from llmfail.core.receipt import DEGRADED_TIER, Receipt, Repeat, sum_cost
from llmfail.core.records.record import NameSet, StoreChange, combine, load_or_default
from llmfail.core.records.statistics import Statistics, steps_of
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import can_be_shown
from llmfail.core.routing import candidates as plan
from llmfail.core.routing.ask_state import AskState
from llmfail.core.routing.attempt_result import FoundAnswer
from llmfail.core.routing.attempt_steps import max_rate_limit_wait
from llmfail.core.routing.candidates import Candidate
from llmfail.core.routing.failure import decide_failure, explain_broken_answer
from llmfail.core.routing.rejected_parameters import (
    FORMAT,
    SCHEMA,
    describe_left_out,
    names_to_leave_out,
)
from llmfail.core.routing.repeat import RepeatRules, find_hopeful, find_repeat
from llmfail.engine.answers.answer_cache import reader_of
from llmfail.engine.answers.vector_cache import vector_cache_of
from llmfail.engine.attempt.settlement import refuse_when_store_down
from llmfail.engine.driver import Driver, Trace
from llmfail.engine.planning import embedding_rules
from llmfail.engine.planning.chain_opening import find_opening
from llmfail.engine.planning.codec import Codec, completion_codec, embedding_codec
from llmfail.engine.planning.embedding_rules import EmbeddingSpace, add_skipped
from llmfail.engine.planning.job import (
    Job,
    digest_job,
    find_targets,
    hedge_delay,
    plan_job,
    plan_request,
    reservation_request_of,
    tier_of,
)
from llmfail.engine.planning.resolved_feature import resolve_feature
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import AnswerReader, OnPiece, OnText, Ports
from llmfail.engine.ports.store_access import ReadOnlyStore, write
from llmfail.engine.reports import request_log
from llmfail.providers import load_wire_format
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.answer_piece import OriginalRequest, RelayedReply, ServedAnswer
    from llmfail.core.routing.plan import CacheState, Plan, PlanStep

RETRYABLE_EXIT_CODES = frozenset(
    {ExitCode.UNAVAILABLE, ExitCode.CREDENTIALS_MISSING, ExitCode.DEADLINE_PASSED}
)
"""Exit codes after which asking again later may help."""
PROBE_PROMPT = "Reply with the single word: OK"
PROBE_MAX_TOKENS = 1024
"""Room for a model that thinks before it says one word."""


class ChainRun(Struct, frozen=True):
    """One run of a chain, since ``started`` on the monotonic clock. ``is_counted``: counted and logged
    as an ask, unless it has no answer and something else is tried behind it (not ``is_last``).
    """

    started_at: float
    is_counted: bool = True
    is_last: bool = True
    reader: AnswerReader | None = None
    on_end: Callable[[AskState], None] | None = None
    """Is told how the ask stood when its chain had ended."""
    repeats: RepeatRules | None = None
    """A failure that is asked again by these rules is no end, and is not logged."""


class Engine:
    """Asks through fallback chains. Holds no state of its own: settings and ports are all it knows.
    ``trace`` is called with the steps of every ask.
    """

    def __init__(self, settings: Settings, ports: Ports, trace: Trace | None = None) -> None:
        self.settings = settings
        self.ports = ports
        self._trace = trace
        self._routes = TargetRoutes(settings, ports.catalogue)

    async def ask(
        self,
        ask: Ask,
        *,
        degrade: bool = True,
        on_text: OnText | None = None,
        repeats: RepeatRules | None = None,
    ) -> Receipt:
        """Raises UsageError for what is not configured; everything else is in the receipt. ``degrade``: the
        feature's ``degrade`` steps may answer when no model does. ``on_text`` gets the pieces of a streamed
        answer as they come, unless only the whole of it can be judged; an answer that is not streamed is in
        the receipt alone. ``repeats``: the receipt may say when to ask again.
        """
        started = self.ports.monotonic()
        reader = None if on_text is None else AnswerReader(on_text=on_text)
        job = await plan_job(self.settings, self._routes, ask, self.ports)
        if not can_be_shown(job.expected):
            reader = None
        chain_run = ChainRun(started, reader=reader, repeats=repeats)
        return await self._answer(job, ask, chain_run, degrade=degrade)

    async def serve(
        self,
        ask: Ask,
        original: OriginalRequest | None,
        on_piece: OnPiece | None,
    ) -> ServedAnswer:
        """As ``ask``, for a program that asked over HTTP: ``on_piece`` gets all of a streamed answer.
        ``original`` goes to targets that speak its dialect, and what the last one replied comes back.
        """
        from llmfail.core.answer_piece import ServedAnswer

        reader = None if on_piece is None else AnswerReader(on_piece=on_piece)
        ask = replace(ask, stream=reader is not None)
        started = self.ports.monotonic()
        job = await plan_job(self.settings, self._routes, ask, self.ports)
        if original is not None:
            from llmfail.engine.planning.relay_plan import add_relay

            job = add_relay(job, ask, original)
        own_schema = ask.schema is not None and job.expected.schema == ask.schema
        if not can_be_shown(replace(job.expected, schema=None) if own_schema else job.expected):
            reader = None
        ends: list[AskState] = []
        receipt = await self._answer(job, ask, ChainRun(started, reader=reader, on_end=ends.append))
        return ServedAnswer(receipt, _find_reply(receipt, ends[0]))

    async def _answer(self, job: Job, ask: Ask, run: ChainRun, *, degrade: bool = True) -> Receipt:
        return await self._observe(job, ask, self._run_with_steps(job, ask, run, degrade=degrade))

    async def _observe(self, job: Job, ask: Ask, work: Awaitable[Receipt]) -> Receipt:
        """Whoever traces is told when it begins and ends."""
        listener = self.ports.active_listener
        if listener is None:
            return await work
        from llmfail.engine.attempt.event_reports import report_begin

        report_begin(listener, job, ask)
        receipt = None
        try:
            receipt = await work
        finally:
            listener.end_ask(job.id, receipt)
        return receipt

    async def _run_with_steps(self, job: Job, ask: Ask, run: ChainRun, *, degrade: bool) -> Receipt:
        steps_follow = degrade and (ask.queue or bool(self.settings.find_feature(ask.feature).degrade))
        run = replace(run, is_last=not steps_follow)
        receipt = await self._run_chain(job, ask, _codec_of(job), run)
        if receipt.repeat is not None:
            return receipt
        if receipt.error is None or not steps_follow:
            self._report_answer(receipt, job)
            return receipt
        degraded = await self._run_degrade_steps(receipt, job, ask, run.started_at + job.deadline, run.reader)
        took = self._milliseconds_since(run.started_at)
        degraded = replace(degraded, latency_ms=took, request=receipt.request)
        await self._write_steps(steps_of([self._statistics_of(degraded, ask)]))
        self._report_answer(degraded, job)
        return degraded

    async def embed(self, ask: Ask, *, repeats: RepeatRules | None = None) -> Receipt:
        """One vector per message of the ask, all from one target in one call, or all stored; ``repeats`` as
        for ``ask``. Raises UsageError as well for a text that is empty, and where no target has embeddings.
        """
        started = self.ports.monotonic()
        job, codec, space = await self._plan_embedding(ask, self.ports)
        work = self._run_chain(job, ask, codec, ChainRun(started, repeats=repeats))
        receipt = await self._observe(job, ask, work)
        return receipt if space is None else await self._record_dimensions(receipt, space)

    async def find_vectors(self, ask: Ask) -> Sequence[Receipt | None]:
        """For each message a receipt with its stored vector, where a target that ``embed`` would come to
        before its first call has one. They are logged as one. Raises UsageError as ``embed`` does.
        """
        started = self.ports.monotonic()
        receipts: list[Receipt | None] = [None] * len(ask.messages)
        if ask.cache != "use" or not self.is_cached(ask):
            return receipts
        job, codec, _ = await self._plan_embedding(ask, self._read_only_ports)
        cache = vector_cache_of(self.ports, job.cache_policy, job.request, codec)
        if cache is None:
            return receipts
        for candidate in _until_callable(job):
            found = await cache.find_each(self._routes[candidate.target].endpoint)
            for place, stored in enumerate(found):
                if stored is not None and receipts[place] is None:
                    answer = FoundAnswer(candidate, stored.embedding, stored=True)
                    receipts[place] = self._build_stored_receipt(job, ask, place, answer, started)
        first = next((one for one in receipts if one is not None), None)
        if first is not None:
            await self._write_steps(steps_of([self._statistics_of(first, ask)]))
        return receipts

    def _build_stored_receipt(
        self, job: Job, ask: Ask, place: int, found: FoundAnswer, started: float
    ) -> Receipt:
        request = replace(job.request, messages=(job.request.messages[place],))
        blank = Receipt(
            id=self.ports.new_id(),
            feature=job.feature,
            latency_ms=self._milliseconds_since(started),
            ref=ask.ref,
            request=describe_asked(request, job.feature, ask.targets, job.expected),
            looked=True,
        )
        return _answered_receipt(blank, job, found)

    def is_cached(self, ask: Ask) -> bool:
        """Whether what this ask gets is stored for others. Raises UsageError."""
        return self.ports.answers is not None and resolve_feature(self.settings, ask).cache_policy is not None

    async def _plan_embedding(self, ask: Ask, ports: Ports) -> tuple[Job, Codec, EmbeddingSpace | None]:
        """The space is None where vectors of several models may come, or dimensions are asked for."""
        texts = tuple(message.text for message in ask.messages)
        if not texts or not all(text.strip() for text in texts):
            raise EmptyPrompt("there is no text")
        job = await plan_job(self.settings, self._routes, ask, ports, vectors=True)
        exchange = embedding_codec(texts, ask.dimensions, has_token_ids=ask.has_token_ids)
        embedding_rules.require_embeddings(
            job.feature, exchange, self._routes, [one.target for one in job.candidates]
        )
        if ask.dimensions is not None or self.settings.find_feature(ask.feature).allow_other_models:
            return job, exchange, None
        key = embedding_rules.space_key(self.settings.configuration_id, job.feature, job.primary)
        values, _ = await ports.store.read([key])
        space = embedding_rules.space_of(key, self._routes[job.primary].endpoint, values)
        return job, replace(exchange, violation=space.violation, dimensions=space.dimensions), space

    async def _record_dimensions(self, receipt: Receipt, space: EmbeddingSpace) -> Receipt:
        """What its vectors are like is known from now on."""
        if receipt.embedding is None or receipt.embedding.dimensions == space.dimensions:
            return receipt
        await self._write_steps([space.record_dimensions(receipt.embedding.dimensions)])
        return embedding_rules.warn_of_new_dimensions(receipt, receipt.embedding.dimensions, space.dimensions)

    def describe_asked(self, ask: Ask, *, vectors: bool = False) -> str:
        """What the receipt of this ask would say was asked; ``vectors``: of ``embed``. Raises UsageError for
        what is not configured.
        """
        request, expected = plan_request(self.settings, ask, vectors=vectors)
        return describe_asked(request, ask.feature, ask.targets, expected)

    def check(self, ask: Ask, *, vectors: bool = False) -> None:
        """Raises UsageError for what would be wrong with every ask that differs from this one in its text
        only.
        """
        feature, targets = find_targets(self.settings, self._routes, ask, vectors=vectors)
        if vectors:
            embedding_rules.require_embeddings(feature, embedding_codec(("",)), self._routes, targets)

    async def count_tokens(self, ask: Ask) -> int:
        """How many tokens its request is on the first target. Raises UsageError."""
        from llmfail.engine.reports.token_count import count_tokens

        request, _ = plan_request(self.settings, ask)
        _, targets = find_targets(self.settings, self._routes, ask)
        return await count_tokens(self._routes, self.ports, request, targets[0])

    def max_texts(self, ask: Ask) -> int:
        """How many texts every target of this ask embeds in one call. Raises UsageError."""
        _, targets = find_targets(self.settings, self._routes, ask, vectors=True)
        endpoints = [self._routes[target].endpoint for target in targets]
        return min(load_wire_format(one.api).max_texts(one) for one in endpoints)

    async def may_hedge(self, ask: Ask) -> bool:
        """Whether a second target may be asked while the first is late, which takes an event loop."""
        return await hedge_delay(self.settings, self._routes, ask, self._read_only_ports) is not None

    async def plan(self, ask: Ask) -> Plan:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        from llmfail.core.routing.plan import Plan, build_step, describe_share
        from llmfail.engine.answers.degrade import step_name

        job = await plan_job(self.settings, self._routes, ask, self._read_only_ports, is_preview=True)
        moment = self.ports.wall()
        reservation_requests = [
            self._preview_reservation(job, place, moment) for place in range(len(job.candidates))
        ]
        gates_of = [self._routes[candidate.target].gate for candidate in job.candidates]
        keys = (
            key
            for gate, reservation_request in zip(gates_of, reservation_requests, strict=True)
            for key in gate.keys_with_budgets(reservation_request)
        )
        values, now = await self.ports.store.read(list(dict.fromkeys(keys)))
        steps = []
        for candidate, gate, reservation_request in zip(
            job.candidates, gates_of, reservation_requests, strict=True
        ):
            view = gates.view(gate, values, now, reservation_request)
            obstacle = (
                plan.find_skip(candidate, plan.requirements_of(job.request))
                or refuse_when_store_down(self.ports, job, reservation_request)
                or view.refusal
            )
            refused = load_or_default(values[gate.dropped_parameters_key], NameSet).names
            left_out = describe_left_out(names_to_leave_out(refused, job.request), job.request)
            known = reservation.load_calibration(gate.address, values)
            hints = "; ".join(filter(None, (left_out, describe_share(view.share))))
            steps.append(build_step(candidate, reservation_request, known, obstacle, hints))
        degrade = tuple(map(step_name, self.settings.find_feature(ask.feature).degrade))
        return Plan(job.feature, tuple(steps), degrade, await self._preview_cache(job, steps))

    async def _preview_cache(self, job: Job, steps: Sequence[PlanStep]) -> CacheState:
        """What a stored answer would do: one of a target before or instead of the first that would be called
        is a hit.
        """
        reader = reader_of(self.ports, job.cache_policy, job.expected)
        if reader is None:
            return "off"
        prints = self._fingerprints(job)
        first = next((place for place, step in enumerate(steps) if step.decision == "call"), len(prints))
        if await reader.find_fresh(prints[: first + 1]):
            return "hit"
        return "stale" if await reader.find_stale(prints) else "miss"

    def _preview_reservation(self, job: Job, place: int, moment: float) -> ReservationRequest:
        """What an ask would request of the gate of its candidate at this index, if its turn came at once."""
        candidate, later = job.candidates[place], job.candidates[place + 1 :]
        covers = self._routes.budget_scopes(job.feature, job.caller, candidate.target, moment)
        others = any(plan.find_skip(one, plan.requirements_of(job.request)) is None for one in later)
        reservation_request = reservation_request_of(job, candidate, covers, moment, priced=True)
        return replace(reservation_request, max_wait=max_rate_limit_wait(job.deadline, others=others))

    async def probe(self, target: Target, *, is_forced: bool = False) -> Receipt:
        """Ask one target something tiny; what it says of the target is recorded, the ask itself is not.
        ``is_forced``: also one that is open, paused, disabled or forced open, whose circuit stays as it is.
        """
        started = self.ports.monotonic()
        ask = Ask(
            to_messages(PROBE_PROMPT),
            targets=(target,),
            max_tokens=PROBE_MAX_TOKENS,
            fallback=False,
            cache="off",
        )
        job = await plan_job(self.settings, self._routes, ask, self.ports)
        job = replace(job, rounds=0, is_probe=True, is_forced=is_forced)
        return await self._run_chain(job, ask, _codec_of(job), ChainRun(started, is_counted=False))

    async def _run_chain(self, job: Job, ask: Ask, codec: Codec, run: ChainRun) -> Receipt:
        """What was learnt of the targets is recorded in any case."""
        ends_at = run.started_at + job.deadline
        driver = Driver(self._routes, self.ports, job, codec, ends_at, run.reader, self._trace)
        steps: list[StoreChange] = []
        statistics: list[Statistics] = []
        try:
            await driver.run()
            if run.on_end is not None:
                run.on_end(driver.state)
            receipt = self._build_receipt(job, ask, driver.state, run)
            if receipt.error is not None and run.repeats is not None:
                await driver.settle()
                receipt = replace(receipt, repeat=await self._find_repeat(job, receipt, run.repeats))
            if run.is_counted and receipt.repeat is None and (run.is_last or receipt.ok):
                statistics.append(self._statistics_of(receipt, ask))
            if job.hedge_delay is not None:
                unused = driver.state.unused_hedges
                steps.append(
                    hedge_budget.credit(self._routes.hedge_key(job.feature), unused, asks=int(run.is_counted))
                )
        finally:
            await self._settle(driver, steps, statistics)
            driver.end()
        return replace(receipt, warnings=(*receipt.warnings, *map(_describe_notice, driver.notices)))

    async def _find_repeat(self, job: Job, receipt: Receipt, rules: RepeatRules) -> Repeat | None:
        """When a batch asks again what has failed."""
        hopeful = find_hopeful(receipt.trail)
        if receipt.error is None or not hopeful:
            return None
        opening = await find_opening(self.ports, self._routes, job, hopeful)
        now, random_number = self.ports.wall(), self.ports.random()
        return find_repeat(
            receipt.error,
            receipt.trail,
            opening,
            now,
            max_pause=rules.max_pause,
            random_number=random_number,
        )

    async def _run_degrade_steps(
        self, failed: Receipt, job: Job, ask: Ask, ends_at: float, reader: AnswerReader | None
    ) -> Receipt:
        from llmfail.engine.answers import degrade

        if not degrade.may_help(failed.error):
            return failed

        async def run_job(job: Job) -> Receipt:
            chain_run = ChainRun(self.ports.monotonic(), is_counted=False, reader=reader)
            job = replace(job, relay=None)
            return await self._run_chain(job, ask, _codec_of(job), chain_run)

        steps = degrade.steps_of(self.settings, ask)
        prints = self._fingerprints(job)
        degrade_steps = degrade.DegradeSteps(
            self.settings, self.ports, reader_of(self.ports, job.cache_policy, job.expected), run_job, ends_at
        )
        return await degrade_steps.run(steps, failed, degrade.FailedAsk(job, ask, prints))

    @property
    def _read_only_ports(self) -> Ports:
        """For who only wants to know."""
        return replace(self.ports, store=ReadOnlyStore(self.ports.store))

    def _fingerprints(self, job: Job) -> tuple[str, ...]:
        """Of the request on each target of the chain."""
        question = digest_job(job)
        return tuple(fingerprint(question, self._routes[one.target].endpoint) for one in job.candidates)

    def _statistics_of(self, receipt: Receipt, ask: Ask) -> Statistics:
        prompt = ask.prompt if self.settings.privacy.log_prompts else None
        return request_log.statistics_of(receipt, prompt, self.settings, self.ports.wall())

    def _milliseconds_since(self, started_at: float) -> int:
        """Milliseconds."""
        return round((self.ports.monotonic() - started_at) * 1000)

    async def _settle(
        self, driver: Driver, steps: Sequence[StoreChange], statistics: Sequence[Statistics]
    ) -> None:
        """Whoever is stopped in the middle of it settles what is left, and what came to light is kept."""
        try:
            await driver.settle(*steps, statistics=statistics)
        except BaseException:
            await driver.settle()
            raise
        finally:
            if driver.notices:
                await self._log_unsettled(driver.notices)

    async def _log_unsettled(self, notices: Sequence[BudgetNotice]) -> None:
        lost = (one for one in notices if isinstance(one, UnsettledCalls))
        wall = self.ports.wall()
        await self._write_steps(
            [request_log.log_unsettled_step(one, self.ports.new_id(), wall) for one in lost]
        )

    def _report_answer(self, receipt: Receipt, job: Job) -> None:
        listener = self.ports.active_listener
        if listener is not None:
            from llmfail.engine.attempt.event_reports import report_answer

            report_answer(listener, self.ports.wall(), receipt, job.primary)

    async def _write_steps(self, steps: Sequence[StoreChange]) -> None:
        if steps:
            await write(self.ports.store, combine(steps))

    def _name_keys(self, job: Job) -> Mapping[Target, str]:
        return {one.target: self._routes[one.target].key_name for one in job.candidates}

    def _build_receipt(self, job: Job, ask: Ask, state: AskState, run: ChainRun) -> Receipt:
        earlier = () if run.repeats is None else run.repeats.earlier
        trail = (*(entry for entry in earlier if entry.action == "called"), *state.trail)
        blank = Receipt(
            id=job.id,
            feature=job.feature,
            trail=trail,
            cost_pico_usd=sum_cost(trail),
            latency_ms=self._milliseconds_since(run.started_at),
            ref=ask.ref,
            request=describe_asked(job.request, job.feature, ask.targets, job.expected),
            looked=job.cache_policy is not None and job.cache_policy.can_read,
            arm=job.arm,
        )
        return (
            add_skipped(_failed_receipt(blank, state, self._name_keys(job)), job.skipped_targets)
            if state.found is None
            else _answered_receipt(blank, job, state.found)
        )


def _find_reply(receipt: Receipt, state: AskState) -> RelayedReply | None:
    """The reply that is the answer, or the refusal of the request, where it was passed on as it was."""
    if receipt.error is None:
        is_degraded = receipt.tier == DEGRADED_TIER
        return None if state.found is None or is_degraded else state.found.relayed
    return state.relayed if receipt.error.code == ExitCode.REQUEST_REFUSED else None


def _until_callable(job: Job) -> Sequence[Candidate]:
    """The candidates up to the first that can be called."""
    needs = plan.requirements_of(job.request)
    for place, candidate in enumerate(job.candidates):
        if plan.find_skip(candidate, needs) is None:
            return job.candidates[: place + 1]
    return job.candidates


def _codec_of(job: Job) -> Codec:
    stream = job.stream_timeouts is not None
    return completion_codec(job.request, job.expected, stream=stream, relay=job.relay)


def _answered_receipt(blank: Receipt, job: Job, found: FoundAnswer) -> Receipt:
    answer = found.answer
    receipt = replace(
        blank,
        source="cache" if found.stored else "model",
        tier=tier_of(job, found.candidate.target),
        target=found.candidate.target,
        response_model=answer.model,
        usage=answer.usage,
    )
    if isinstance(answer, Embedding):
        return replace(receipt, embedding=answer, warnings=_usage_warnings(answer))
    return replace(
        receipt,
        answer=answer.text,
        thoughts=answer.all_thoughts,
        parts=answer.parts,
        logprobs=answer.logprobs,
        finish_reason=answer.finish_reason,
        warnings=(*_warnings(job, answer), *_schema_warnings(found)),
    )


def _failed_receipt(blank: Receipt, state: AskState, key_names: Mapping[Target, str]) -> Receipt:
    partial = state.partial
    if partial is not None:
        error = explain_broken_answer(partial.target, partial.outcome)
        return replace(blank, error=error, partial=partial.answer.text, usage=partial.answer.usage)
    error = decide_failure(
        state.trail,
        deadline_passed=state.deadline_passed,
        own_network=state.is_own_network_down,
        retry_at=state.retry_at,
        stopped=state.stopped,
        key_names=key_names,
    )
    return replace(
        blank, error=error, retry_at=state.retry_at if error.code in RETRYABLE_EXIT_CODES else None
    )


def _warnings(job: Job, answer: Completion) -> tuple[str, ...]:
    if answer.finish_reason == "length" and answer.detail:
        return ("the answer was cut: the model's context was full", *_usage_warnings(answer))
    if answer.finish_reason == "length":
        return (f"the answer was cut at max_tokens ({job.request.max_tokens})", *_usage_warnings(answer))
    if answer.finish_reason == "other":
        return ("the provider did not say that the answer is whole", *_usage_warnings(answer))
    return _usage_warnings(answer)


def _schema_warnings(found: FoundAnswer) -> tuple[str, ...]:
    """Told by the ask that learns of it; later ones have it in their trail."""
    if found.dropped.isdisjoint({SCHEMA, FORMAT}):
        return ()
    what = "any schema" if FORMAT in found.dropped else "this schema"
    text = f"{found.candidate.target} does not take {what}: it went into the system prompt"
    return (f"{text}, and the answer was judged by it all the same",)


def _usage_warnings(answer: Completion | Embedding) -> tuple[str, ...]:
    return (answer.usage_warning,) if answer.usage_warning else ()


def _describe_notice(notice: BudgetNotice) -> str:
    cover = notice.scope
    if isinstance(notice, BudgetWarning):
        share = share_of_limit(notice.spent, cover.limit)
        spent, limit = (format_amount(cover.unit, amount) for amount in (notice.spent, cover.limit))
        return f"budget {cover.label}: {spent} of {limit} are spent ({share:.0%})"
    return f"budget {cover.label}: {request_log.describe_unsettled(notice)}"
