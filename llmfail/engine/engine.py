"""What the engine offers: ask, embed, plan. Each returns a value; only a wrong call raises. What is asked
seldom stands in modules of its own, which are imported then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from llmfail.core.admission import hedge_budget
from llmfail.core.admission.budget_notice import BudgetNotice, UnsettledCalls
from llmfail.core.cache.cache_key import describe_asked, digest_of, fingerprint
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt
from llmfail.core.records.record import StoreChange, combine
from llmfail.core.records.statistics import Statistics, steps_of
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.request.expectation import can_be_shown, without_schema
from llmfail.core.routing.ask_state import AskState
from llmfail.engine.answers.answer_cache import reader_of
from llmfail.engine.chain_run import ChainRun
from llmfail.engine.driver import Driver, Trace
from llmfail.engine.planning import embedding_rules
from llmfail.engine.planning.codec import Codec, completion_codec, embedding_codec
from llmfail.engine.planning.job import (
    Job,
    digest_job,
    find_targets,
    hedge_delay,
    plan_job,
    plan_request,
)
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import AnswerReader, OnPiece, OnText, Ports
from llmfail.engine.ports.store_access import ReadOnlyStore, write
from llmfail.engine.reports import request_log
from llmfail.engine.reports.ask_receipt import build_receipt, describe_notice, find_reply
from llmfail.providers import load_wire_format
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.answer_piece import OriginalRequest, ServedAnswer
    from llmfail.core.routing.plan import Plan
    from llmfail.core.routing.repeat import RepeatRules

PROBE_PROMPT = "Reply with the single word: OK"
PROBE_MAX_TOKENS = 1024
"""Room for a model that thinks before it says one word."""


class Engine:
    """Asks through fallback chains. Holds no state of its own: settings and ports are all it knows.
    ``trace`` is called with the steps of every ask.
    """

    def __init__(self, settings: Settings, ports: Ports, trace: Trace | None = None) -> None:
        self.settings = settings
        self.ports = ports
        self._unheard_ports = replace(ports, listener=None)
        self._trace = trace
        self.routes = TargetRoutes(settings, ports.catalogue)

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
        job = await plan_job(self.settings, self.routes, ask, self.ports)
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
        if ask.stream is not (reader is not None):
            ask = replace(ask, stream=reader is not None)
        started = self.ports.monotonic()
        job = await plan_job(self.settings, self.routes, ask, self.ports)
        if original is not None:
            from llmfail.engine.planning.relay_plan import add_relay

            job = add_relay(job, ask, original)
        if reader is not None:
            is_own_schema = ask.schema is not None and job.expected.schema == ask.schema
            expected = without_schema(job.expected) if is_own_schema else job.expected
            reader = reader if can_be_shown(expected) else None
        ends: list[AskState] = []
        receipt = await self._answer(job, ask, ChainRun(started, reader=reader, on_end=ends.append))
        return ServedAnswer(receipt, find_reply(receipt, ends[0]))

    def _answer(self, job: Job, ask: Ask, run: ChainRun, *, degrade: bool = True) -> Awaitable[Receipt]:
        return self.observe(job, ask, self._run_with_steps(job, ask, run, degrade=degrade))

    def observe(self, job: Job, ask: Ask, work: Awaitable[Receipt]) -> Awaitable[Receipt]:
        """The work, of which whoever traces is told when it begins and ends."""
        listener = self.ports.active_listener
        if listener is None:
            return work
        from llmfail.engine.attempt.event_reports import observe

        return observe(listener, job, ask, work)

    async def _run_with_steps(self, job: Job, ask: Ask, run: ChainRun, *, degrade: bool) -> Receipt:
        steps_follow = degrade and (ask.queue or bool(self.settings.find_feature(ask.feature).degrade))
        if steps_follow:
            run = replace(run, is_last=False)
        receipt = await self.run_chain(job, ask, _codec_of(job), run)
        if receipt.repeat is not None:
            return receipt
        if receipt.error is None or not steps_follow:
            self._report_answer(receipt, job)
            return receipt
        degraded = await self._run_degrade_steps(receipt, job, ask, run.started_at + job.deadline, run.reader)
        took = self.milliseconds_since(run.started_at)
        degraded = replace(degraded, latency_ms=took, request=receipt.request)
        await self.write_steps(steps_of([self.statistics_of(degraded, ask)]))
        self._report_answer(degraded, job)
        return degraded

    async def embed(self, ask: Ask, *, repeats: RepeatRules | None = None) -> Receipt:
        """One vector per message of the ask, all from one target in one call, or all stored; ``repeats`` as
        for ``ask``. Raises UsageError as well for a text that is empty, and where no target has embeddings.
        """
        from llmfail.engine.embedding import embed

        return await embed(self, ask, repeats)

    async def find_vectors(self, ask: Ask) -> Sequence[Receipt | None]:
        """For each message a receipt with its stored vector, where a target that ``embed`` would come to
        before its first call has one. They are logged as one. Raises UsageError as ``embed`` does.
        """
        from llmfail.engine.embedding import find_vectors

        return await find_vectors(self, ask)

    def is_cached(self, ask: Ask) -> bool:
        """Whether what this ask gets is stored for others. Raises UsageError."""
        return self.ports.answers is not None and self.routes.resolve(ask).cache_policy is not None

    def describe_asked(self, ask: Ask, *, vectors: bool = False) -> str:
        """What the receipt of this ask would say was asked; ``vectors``: of ``embed``. Raises UsageError for
        what is not configured.
        """
        request, expected = plan_request(self.routes, ask, vectors=vectors)
        return describe_asked(digest_of(request), ask.feature, ask.targets, expected)

    def check(self, ask: Ask, *, vectors: bool = False) -> None:
        """Raises UsageError for what would be wrong with every ask that differs from this one in its text
        only.
        """
        feature, targets = find_targets(self.routes, ask, vectors=vectors)
        if vectors:
            embedding_rules.require_embeddings(feature, embedding_codec(("",)), self.routes, targets)

    async def count_tokens(self, ask: Ask) -> int:
        """How many tokens its request is on the first target. Raises UsageError."""
        from llmfail.engine.reports.token_count import count_tokens

        request, _ = plan_request(self.routes, ask)
        _, targets = find_targets(self.routes, ask)
        return await count_tokens(self.routes, self.ports, request, targets[0])

    def max_texts(self, ask: Ask) -> int:
        """How many texts every target of this ask embeds in one call. Raises UsageError."""
        _, targets = find_targets(self.routes, ask, vectors=True)
        endpoints = [self.routes[target].endpoint for target in targets]
        return min(load_wire_format(one.api).max_texts(one) for one in endpoints)

    async def may_hedge(self, ask: Ask) -> bool:
        """Whether a second target may be asked while the first is late, which takes an event loop."""
        return await hedge_delay(self.routes, ask, self.read_only_ports) is not None

    async def plan(self, ask: Ask) -> Plan:
        """What ``ask`` would do now; nothing is sent, nothing is recorded."""
        from llmfail.engine.preview import preview

        return await preview(self, ask)

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
        job = await plan_job(self.settings, self.routes, ask, self.ports)
        job = replace(job, rounds=0, is_probe=True, is_forced=is_forced)
        return await self.run_chain(job, ask, _codec_of(job), ChainRun(started, is_counted=False))

    async def run_chain(self, job: Job, ask: Ask, codec: Codec, run: ChainRun) -> Receipt:
        """What was learnt of the targets is recorded in any case."""
        ends_at = run.started_at + job.deadline
        ports = self._unheard_ports if self.ports.active_listener is None else self.ports
        driver = Driver(self.routes, ports, job, codec, ends_at, run.reader, self._trace)
        steps: list[StoreChange] = []
        statistics: list[Statistics] = []
        try:
            await driver.run()
            if run.on_end is not None:
                run.on_end(driver.state)
            receipt = build_receipt(
                job,
                ask,
                driver.state,
                earlier=() if run.repeats is None else run.repeats.earlier,
                key_names={one.target: self.routes[one.target].key_name for one in job.candidates},
                latency_ms=self.milliseconds_since(run.started_at),
            )
            if receipt.error is not None and run.repeats is not None:
                from llmfail.engine.planning.chain_opening import decide_repeat

                await driver.settle()
                repeat = await decide_repeat(self.ports, self.routes, job, receipt, run.repeats)
                receipt = replace(receipt, repeat=repeat)
            if run.is_counted and receipt.repeat is None and (run.is_last or receipt.ok):
                statistics.append(self.statistics_of(receipt, ask))
            if job.hedge_delay is not None:
                unused = driver.state.unused_hedges
                steps.append(
                    hedge_budget.credit(self.routes.hedge_key(job.feature), unused, asks=int(run.is_counted))
                )
        finally:
            await self._settle(driver, steps, statistics)
            driver.end()
        if not driver.notices:
            return receipt
        return replace(receipt, warnings=(*receipt.warnings, *map(describe_notice, driver.notices)))

    async def _run_degrade_steps(
        self, failed: Receipt, job: Job, ask: Ask, ends_at: float, reader: AnswerReader | None
    ) -> Receipt:
        from llmfail.engine.answers import degrade

        if not degrade.may_help(failed.error):
            return failed

        async def run_job(job: Job) -> Receipt:
            chain_run = ChainRun(self.ports.monotonic(), is_counted=False, reader=reader)
            job = replace(job, relay=None)
            return await self.run_chain(job, ask, _codec_of(job), chain_run)

        steps = degrade.steps_of(self.settings, ask)
        prints = self.fingerprints_of(job)
        degrade_steps = degrade.DegradeSteps(
            self.settings, self.ports, reader_of(self.ports, job.cache_policy, job.expected), run_job, ends_at
        )
        return await degrade_steps.run(steps, failed, degrade.FailedAsk(job, ask, prints))

    @property
    def read_only_ports(self) -> Ports:
        """For who only wants to know."""
        return replace(self.ports, store=ReadOnlyStore(self.ports.store))

    def fingerprints_of(self, job: Job) -> tuple[str, ...]:
        """Of the request on each target of the chain."""
        question = digest_job(job)
        return tuple(fingerprint(question, self.routes[one.target].endpoint) for one in job.candidates)

    def statistics_of(self, receipt: Receipt, ask: Ask) -> Statistics:
        prompt = ask.prompt if self.settings.privacy.log_prompts else None
        return request_log.statistics_of(receipt, prompt, self.settings, self.ports.wall())

    def milliseconds_since(self, started_at: float) -> int:
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
        await self.write_steps(
            [request_log.log_unsettled_step(one, self.ports.new_id(), wall) for one in lost]
        )

    def _report_answer(self, receipt: Receipt, job: Job) -> None:
        listener = self.ports.active_listener
        if listener is not None:
            from llmfail.engine.attempt.event_reports import report_answer

            report_answer(listener, self.ports.wall(), receipt, job.primary)

    async def write_steps(self, steps: Sequence[StoreChange]) -> None:
        if steps:
            await write(self.ports.store, combine(steps))


def _codec_of(job: Job) -> Codec:
    stream = job.stream_timeouts is not None
    return completion_codec(job.request, job.expected, stream=stream, relay=job.relay, is_large=job.is_large)
