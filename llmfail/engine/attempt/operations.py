"""The operations of one ask, over the ports: each is done once, and ends in one event."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from msgspec.structs import replace

from llmfail.core.admission import gate as gates
from llmfail.core.admission import hedge_budget
from llmfail.core.admission.gate import Admission
from llmfail.core.cache.cache_key import fingerprint
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Completion, Embedding, Target
from llmfail.core.pricing.price import charge
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing.ask_events import Event, Operation
from llmfail.core.routing.attempt_result import AttemptResult
from llmfail.engine.answers.answer_cache import CacheReader, SingleFlightCache, reader_of
from llmfail.engine.attempt.call import CallOptions, call
from llmfail.engine.attempt.settlement import SettlementLog
from llmfail.engine.planning.codec import Codec
from llmfail.engine.planning.job import Job, digest_job, tier_of
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import AnswerReader, Ports

if TYPE_CHECKING:
    from llmfail.core.answer_piece import AnswerBegun
    from llmfail.engine.answers.vector_cache import VectorCache
    from llmfail.engine.attempt.live_ask import LiveAsk
    from llmfail.engine.attempt.target_output import TargetOutput


class Operations:
    """Those of one ask."""

    def __init__(
        self,
        routes: TargetRoutes,
        ports: Ports,
        job: Job,
        codec: Codec,
        reader: AnswerReader | None,
        ask: LiveAsk,
    ) -> None:
        self._routes = routes
        self._ports = ports
        self._job = job
        self._codec = codec
        self._answer_reader = reader
        self._ask = ask
        self._reader = reader_of(ports, job.cache_policy, job.expected)
        self._vectors = _vector_cache_of(ports, job, codec)
        self._caches: dict[int, SingleFlightCache] = {}
        self._digest = ""
        self.log = SettlementLog(ports, job, routes, ask)

    def perform(self, command: Operation) -> Coroutine[Any, Any, Event]:
        match command:
            case ev.Admit():
                return self._admit(command)
            case ev.Send():
                return self._send(command)
            case ev.Sleep(attempt, seconds):
                return self._sleep(attempt, seconds)
            case ev.DebitHedge():
                return self._debit_hedge()
            case ev.ViewGates():
                return self._view_gates(command)
            case ev.SeekStoredAnswer() | ev.LookUp() | ev.StoreAnswer() | ev.EndLease():
                return self._use_cache(command)
            case _:
                assert_never(command)

    async def _admit(self, command: ev.Admit) -> Event:
        gate = self._routes[command.target].gate
        if gate.limits:
            # A call must not be late for its place in a rate limit.
            self._ports.prepare()
        answer = await self.log.admit(gate, command.reservation_request)
        if isinstance(answer, Admission):
            return ev.Admitted(command.attempt, answer)
        return ev.Refused(command.attempt, answer)

    async def _send(self, command: ev.Send) -> Event:
        attempt, route = command.attempt, self._routes[command.target]
        limits = output = None
        if self._job.stream_timeouts is not None:
            from llmfail.engine.attempt.stream_reader import StreamLimits
            from llmfail.engine.attempt.target_output import TargetOutput

            commit = partial(self._commit, attempt)
            begun = self._describe_begun(attempt)
            output = TargetOutput(begun, self._answer_reader, commit, self._ports.monotonic)
            limits = StreamLimits(self._job.stream_timeouts, output, self._ask.state.plan.ends_at)
        listener = self._ports.listener
        headers = None if listener is None else listener.begin_call(self._job.id, str(command.target))
        options = CallOptions(command.limit, lambda: self._ask.apply_event(ev.Sent(attempt)), limits, headers)
        try:
            result = await call(self._ports, self._codec, route, command.dropped_parameters, options)
        except BaseException:
            if output is not None:
                self._tell_left(command, output)
            raise
        finally:
            if output is not None:
                output.end()
        return ev.CallFinished(attempt, result, self._cost_of(attempt, command.target, result))

    def _describe_begun(self, attempt: int) -> AnswerBegun:
        """What is known of an answer before it has begun."""
        from llmfail.core.answer_piece import AnswerBegun

        state = self._ask.state
        candidate = state.attempt(attempt).candidate
        trail = (*state.trail, *state.list_round_trail())
        earlier = [entry for entry in trail if entry.action == "called"]
        return AnswerBegun(
            candidate.target,
            model=None,
            is_relayed=False,
            dropped=candidate.dropped,
            tier=tier_of(self._job, candidate.target),
            attempts=len(earlier) + 1,
        )

    def _tell_left(self, command: ev.Send, output: TargetOutput) -> None:
        """What a call has used that is left, if it has begun to answer."""
        from llmfail.core.tokens.heard_answer import estimate_left_usage

        heard = output.read_heard()
        if heard is None or heard.completion.usage is None:
            return
        silent = heard.first_token_at - self._ask.state.attempt(command.attempt).sent_at
        usage = estimate_left_usage(heard.completion.usage, silent, self._job.output)
        answer = replace(heard.completion, usage=usage)
        cost = self._cost_of(command.attempt, command.target, AttemptResult(Outcome(Kind.CANCELLED), answer))
        self._ask.apply_event(ev.CallLeft(command.attempt, usage, cost))

    def _commit(self, attempt: int) -> bool:
        self._ask.apply_event(ev.FirstOutput(attempt))
        return self._ask.state.committed == attempt

    def _cost_of(self, attempt: int, target: Target, result: AttemptResult) -> int | None:
        """In pico-dollars, by the price at the moment at which the call could start."""
        if result.answer is None:
            return 0 if result.is_free else None
        admission = self._ask.state.attempt(attempt).admission
        assert admission is not None, "a call is sent after its admission"
        price = self._routes.prices.find_billed(target, result.answer.model)
        reports_cost = self._routes[target].reports_cost
        return charge(result.answer, price, admission.reservation.starts_at, reports_cost=reports_cost)

    async def _pause(self, seconds: float) -> None:
        """Others learn of failures before this ask waits."""
        if seconds > 0:
            await self.log.settle_before_pause()
            await self._ports.sleep(seconds)

    async def _sleep(self, attempt: int, seconds: float) -> Event:
        await self._pause(seconds)
        return ev.Woke(attempt)

    async def _debit_hedge(self) -> Event:
        key = self._routes.hedge_key(self._job.feature)
        return ev.HedgeDecided(await self._ports.store.update((key,), partial(hedge_budget.debit, key)))

    async def _view_gates(self, command: ev.ViewGates) -> Event:
        await self.log.settle_before_pause()
        plan, wall = self._ask.state.plan, self._ports.wall()
        asked = [
            (self._routes[one.target].gate, plan.reservation_request_of(one, wall))
            for one in plan.candidates
            if one.target in command.targets
        ]
        values, now = await self._ports.store.read(
            list(dict.fromkeys(key for gate, request in asked for key in gate.keys_with_budgets(request)))
        )
        return ev.GatesViewed(
            [(gate.target, gates.view(gate, values, now, request)) for gate, request in asked], now
        )

    async def _use_cache(
        self, command: ev.SeekStoredAnswer | ev.LookUp | ev.StoreAnswer | ev.EndLease
    ) -> Event:
        if self._vectors is not None:
            return await self._use_vectors(command, self._vectors)
        reader = self._reader
        assert reader is not None, "answers are stored here"
        await self._hash_request()
        match command:
            case ev.SeekStoredAnswer(candidates):
                for one in candidates:
                    stored = await reader.find_fresh([self._fingerprint(one.target)])
                    if stored is not None:
                        return ev.StoredAnswerSought(one, stored.completion)
                return ev.StoredAnswerSought()
            case ev.LookUp(attempt, target, max_wait):
                question = self._fingerprint(target)
                cache = self._cache_of(attempt, reader)
                if max_wait is None:
                    stored = await reader.find_fresh([question])
                else:
                    stored = await cache.fetch(question, max_wait, self._pause)
                if stored is not None:
                    return ev.CacheHit(attempt, stored.completion)
                return ev.CacheMiss(attempt, cache.is_leader)
            case ev.StoreAnswer(attempt, target, answer):
                assert isinstance(answer, Completion), "vectors are stored elsewhere"
                cache = self._cache_of(attempt, reader)
                await cache.store_answer(self._fingerprint(target), target, answer)
            case ev.EndLease(attempt, hand_over):
                cache = self._cache_of(attempt, reader)
                await (cache.hand_over() if hand_over else cache.give_up())
        return ev.LeaseEnded(command.attempt)

    async def _use_vectors(
        self, command: ev.SeekStoredAnswer | ev.LookUp | ev.StoreAnswer | ev.EndLease, vectors: VectorCache
    ) -> Event:
        """The same for vectors, of which nobody has a lease."""
        match command:
            case ev.SeekStoredAnswer(candidates):
                for one in candidates:
                    found = await vectors.find_all(self._routes[one.target].endpoint)
                    if found is not None:
                        return ev.StoredAnswerSought(one, found)
                return ev.StoredAnswerSought()
            case ev.LookUp(attempt, target):
                found = await vectors.find_all(self._routes[target].endpoint)
                return (
                    ev.CacheMiss(attempt, is_leader=False) if found is None else ev.CacheHit(attempt, found)
                )
            case ev.StoreAnswer(attempt, target, answer):
                assert isinstance(answer, Embedding), "answers are stored elsewhere"
                await vectors.store_all(self._routes[target].endpoint, target, answer)
        return ev.LeaseEnded(command.attempt)

    def _cache_of(self, attempt: int, reader: CacheReader) -> SingleFlightCache:
        """It knows which lease the attempt has, if it has one."""
        if attempt not in self._caches:
            self._caches[attempt] = SingleFlightCache(self._ports, reader, self._job.id)
        return self._caches[attempt]

    def _fingerprint(self, target: Target) -> str:
        """Of the request on this target."""
        return fingerprint(self._digest, self._routes[target].endpoint)

    async def _hash_request(self) -> None:
        """Once for all targets, and a long one where it holds up nobody else."""
        if not self._digest:
            hash_ = partial(digest_job, self._job)
            self._digest = await self._ports.run_blocking(hash_) if self._codec.is_large else hash_()


def _vector_cache_of(ports: Ports, job: Job, codec: Codec) -> VectorCache | None:
    """None where no vectors are wanted, or none are stored."""
    if not job.wants_vectors:
        return None
    from llmfail.engine.answers.vector_cache import vector_cache_of

    return vector_cache_of(ports, job.cache_policy, job.request, codec)
