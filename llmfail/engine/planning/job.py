"""Settings and an Ask -> what is to be done: the request, the candidates in order, the limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from functools import cached_property, partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.arm_choice import ArmChoice
from llmfail.core.cache.cache_key import digest_of
from llmfail.core.cache.single_flight import CachePolicy
from llmfail.core.errors import UsageError
from llmfail.core.model import Request, Target
from llmfail.core.request.ask import Ask
from llmfail.core.request.expectation import Expectation
from llmfail.core.routing.candidates import (
    Candidate,
)
from llmfail.core.routing.stream_timeouts import StreamTimeouts
from llmfail.core.tokens import token_bounds
from llmfail.core.tokens.token_bounds import PromptSize
from llmfail.engine.planning.budget_period import zone_of
from llmfail.engine.planning.budget_scope import Caller
from llmfail.engine.planning.candidate_order import choose_hedge_delay, choose_order
from llmfail.engine.planning.embedding_rules import split_by_model
from llmfail.engine.planning.experiment_arm import assign_arm
from llmfail.engine.planning.request_builder import expectation_of, is_large, request_of
from llmfail.engine.planning.resolved_feature import ResolvedFeature
from llmfail.engine.planning.targets import TargetRoutes
from llmfail.engine.ports.protocols import Ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.providers.relay import Relay


class Job(Struct, frozen=True, dict=True):
    """Everything about one ask that is decided before the first call. Durations in seconds."""

    id: str
    feature: str
    request: Request
    candidates: tuple[Candidate, ...]
    rounds: int
    target_retries: int
    stop_on_refusal: bool
    deadline: float
    fair_deadline: float
    """The deadline of the configuration: a target that had its share of this is to blame for a timeout."""
    size: PromptSize
    is_large: bool
    """To write or to hash the request may take milliseconds."""
    output: int
    """Tokens that an answer may have at most."""
    primary: Target
    downgraded: bool
    """A budget is nearly spent, so the cheapest come first."""
    caller: Caller
    zone: tzinfo
    max_cost: int | None
    allow_unknown: bool
    refuse_when_down: bool
    expected: Expectation
    cache_policy: CachePolicy | None
    """How old stored answers may be; None: there are none."""
    wait: float
    """How long to wait for an open circuit."""
    stream_timeouts: StreamTimeouts | None
    """For a streamed answer; None: it is asked for in one piece."""
    hedge_delay: float | None
    """Seconds after which an answer is late, so that a second target is asked too."""
    wants_vectors: bool = False
    """Of the text of each message of the request."""
    is_probe: bool = False
    is_forced: bool = False
    """Its calls go whatever is known of their targets."""
    relay: Relay | None = None
    """The request as a program wrote it."""
    skipped_targets: tuple[Target, ...] = ()
    """Those of the chain that may not give vectors, because their model is another."""
    arm: ArmChoice | None = None
    """Of the experiment that it is part of."""

    @cached_property
    def digest(self) -> str:
        """The part of the identity of its request that is the same on every target."""
        return digest_of(self.request)


def tier_of(job: Job, target: Target) -> int:
    """How far from the primary the answer of a target is."""
    if target == job.primary:
        return 0
    if job.downgraded:
        return 3
    return 1 if target.provider == job.primary.provider else 2


def digest_job(job: Job) -> str:
    """The same of its request as it goes on, which may say more than every wire carries."""
    more = "" if job.relay is None else job.relay.digest()
    return f"{job.digest}/{more}" if more else job.digest


async def plan_job(
    settings: Settings,
    routes: TargetRoutes,
    ask: Ask,
    ports: Ports,
    *,
    vectors: bool = False,
    is_preview: bool = False,
) -> Job:
    """``vectors``: embeddings are wanted, of the bare texts and from one model; ``is_preview``: nothing will
    be sent, so there need be no prompt, and the size of the request counts however small it is. Raises
    UsageError for what is not configured.
    """
    id_ = ask.id or ports.new_id()
    resolved = _resolve(routes, ask, vectors=vectors)
    if settings.experiments and not vectors:
        resolved = resolved.with_arm(assign_arm(settings, resolved.name, ask, id_, ports.wall()))
    feature, numbers = resolved.written, resolved.numbers
    ask = _apply_fallback(ask, resolved)
    candidates = _require_candidates(routes, resolved, ask, vectors=vectors)
    candidates, others = split_by_model(feature, ask, candidates) if vectors else (candidates, ())
    order = await choose_order(routes, resolved, ask, candidates, ports)
    request, expected = _request_of(settings, resolved, ask, vectors=vectors, blank=is_preview)
    tried = order.tried if vectors else _judge_candidates(routes, order.tried, request)
    large = is_large(request)
    needs_size = is_preview or ask.max_cost is not None or bool(settings.budgets)
    found = _Found(
        id_,
        primary=order.listed[0].target,
        tried=tried,
        is_near_budget=order.is_near_budget,
        size=await _prompt_size(tried, request, ports, is_needed=needs_size, is_large=large),
        is_large=large,
        hedge_delay=await choose_hedge_delay(routes, feature, ask, tried, ports),
        stream_timeouts=StreamTimeouts(numbers.first_token_timeout, numbers.stall_timeout)
        if ask.stream and not vectors
        else None,
        wants_vectors=vectors,
        skipped_targets=others,
    )
    return _build_job(settings, resolved, ask, (request, expected), found)


class _Found(Struct, frozen=True):
    """What a job is made of besides what was said."""

    id: str
    primary: Target
    tried: tuple[Candidate, ...]
    is_near_budget: bool
    size: PromptSize
    is_large: bool
    hedge_delay: float | None
    stream_timeouts: StreamTimeouts | None
    wants_vectors: bool
    skipped_targets: tuple[Target, ...]


def _build_job(
    settings: Settings, resolved: ResolvedFeature, ask: Ask, asked: tuple[Request, Expectation], found: _Found
) -> Job:
    feature, numbers = resolved.written, resolved.numbers
    request, expected = asked
    return Job(
        id=found.id,
        feature=feature.name,
        request=request,
        candidates=found.tried if ask.fallback else found.tried[:1],
        rounds=numbers.retries,
        target_retries=numbers.target_retries,
        stop_on_refusal=feature.on_refusal == "stop",
        deadline=numbers.deadline + (ask.wait or 0.0) if ask.deadline is None else ask.deadline,
        fair_deadline=numbers.deadline,
        size=found.size,
        is_large=found.is_large,
        output=request.output_bound,
        primary=found.primary,
        downgraded=found.is_near_budget,
        caller=Caller(ask.user, ask.key),
        zone=zone_of(settings.timezone),
        max_cost=ask.max_cost,
        allow_unknown=settings.on_unknown_price == "allow",
        refuse_when_down=settings.on_store_error == "refuse",
        expected=expected,
        cache_policy=resolved.cache_policy,
        wait=ask.wait or 0.0,
        stream_timeouts=found.stream_timeouts,
        hedge_delay=found.hedge_delay,
        wants_vectors=found.wants_vectors,
        skipped_targets=found.skipped_targets,
        arm=resolved.arm,
    )


def _judge_candidates(
    routes: TargetRoutes, candidates: tuple[Candidate, ...], request: Request
) -> tuple[Candidate, ...]:
    """The candidates with what their wires cannot carry of the request; a plain prompt every wire carries."""
    is_plain = request.is_plain
    judged = [
        one if is_plain and one.takes_plain_text else _judge_candidate(routes, one, request)
        for one in candidates
    ]
    return tuple(judged)


def _judge_candidate(routes: TargetRoutes, candidate: Candidate, request: Request) -> Candidate:
    from llmfail.core.request.fitted_request import report_losses

    report = report_losses(request, routes[candidate.target].endpoint)
    return replace(candidate, dropped=report.dropped, unsuited=report.unsuited)


def plan_request(routes: TargetRoutes, ask: Ask, *, vectors: bool = False) -> tuple[Request, Expectation]:
    """The request of this ask, and what its answer must be. Raises UsageError."""
    return _request_of(routes.settings, _resolve(routes, ask, vectors=vectors), ask, vectors=vectors)


def find_targets(routes: TargetRoutes, ask: Ask, *, vectors: bool = False) -> tuple[str, tuple[Target, ...]]:
    """The feature of this ask, and the targets that may answer it. Raises UsageError."""
    resolved = _resolve(routes, ask, vectors=vectors)
    candidates = _require_candidates(routes, resolved, ask, vectors=vectors)
    if vectors:
        candidates, _ = split_by_model(resolved.written, ask, candidates)
    return resolved.name, tuple(one.target for one in candidates)


def _resolve(routes: TargetRoutes, ask: Ask, *, vectors: bool) -> ResolvedFeature:
    return routes.resolve(replace(ask, max_tokens=0) if vectors else ask)


def _apply_fallback(ask: Ask, feature: ResolvedFeature) -> Ask:
    """Other targets are asked where both the feature and the caller let them."""
    return ask if feature.numbers.fallback else replace(ask, fallback=False)


def _request_of(
    settings: Settings, feature: ResolvedFeature, ask: Ask, *, vectors: bool, blank: bool = False
) -> tuple[Request, Expectation]:
    """What a feature says of prompts does not touch a text of which vectors are wanted."""
    if vectors:
        return Request(ask.messages, max_tokens=0), Expectation()
    expected = expectation_of(settings, feature.written, ask)
    return request_of(settings, feature, ask, expected, blank=blank), expected


async def hedge_delay(routes: TargetRoutes, ask: Ask, ports: Ports) -> float | None:
    """The ``hedge_delay`` that ``plan_job`` would give the job of this ask. Raises UsageError."""
    resolved = routes.resolve(ask)
    candidates = _require_candidates(routes, resolved, ask, vectors=False)
    ask = _apply_fallback(ask, resolved)
    order = await choose_order(routes, resolved, ask, candidates, ports)
    return await choose_hedge_delay(routes, resolved.written, ask, order.tried, ports)


async def _prompt_size(
    candidates: Sequence[Candidate], request: Request, ports: Ports, *, is_needed: bool, is_large: bool
) -> PromptSize:
    """A tiny request is measured only where a budget, a rate limit or the caller needs its size; it is too
    small to calibrate the estimates.
    """
    is_needed = is_needed or bool([one for one in candidates if one.is_rate_limited])
    if not is_needed and token_bounds.is_tiny(request):
        return token_bounds.EMPTY_PROMPT
    if is_large:
        return await ports.run_blocking(partial(token_bounds.size_of, request))
    return token_bounds.size_of(request)


def reservation_request_of(
    job: Job, candidate: Candidate, budget_scopes: tuple[BudgetScope, ...], moment: float, *, priced: bool
) -> ReservationRequest:
    """What the first call to a target would ask for, without the name that makes it one. ``priced``: with its
    rates also where neither a budget nor ``max_cost`` limits what it costs.
    """
    price = candidate.price if priced or budget_scopes or job.max_cost is not None else None
    return ReservationRequest(
        call_id="",
        lease_seconds=0.0,
        feature=job.feature,
        size=job.size,
        output_tokens=job.output,
        rates=None if price is None else price.at(moment),
        scopes=budget_scopes,
        max_cost=job.max_cost,
        allow_unknown=job.allow_unknown,
        is_probe=job.is_probe,
        is_forced=job.is_forced,
    )


def _require_candidates(
    routes: TargetRoutes, feature: ResolvedFeature, ask: Ask, *, vectors: bool
) -> tuple[Candidate, ...]:
    """The candidates, at least one. Raises UsageError."""
    candidates = routes.candidates_of(feature.written, feature.chain)
    if feature.written.primary is None and not ask.targets:
        candidates = _select_able(routes, feature, candidates, vectors=vectors)
    if not candidates:
        raise UsageError(
            f"feature {feature.name} has no target: give it a primary, or models with room for its max_tokens"
        )
    timeout = ask.timeout
    return candidates if timeout is None else tuple(replace(one, timeout=timeout) for one in candidates)


def _select_able(
    routes: TargetRoutes, feature: ResolvedFeature, candidates: tuple[Candidate, ...], *, vectors: bool
) -> tuple[Candidate, ...]:
    """Of all that the configuration has: those with room for the answer and, if any has one, with a key."""
    room = feature.numbers.max_tokens
    found = tuple(one for one in candidates if one.max_output is None or one.max_output >= room)
    found = tuple(one for one in found if one.missing_key is None) or found
    return tuple(one for one in found if routes.prices.is_embedding_model(one.target) is vectors)
