"""One attempt: look the answer up, ask the gate, wait for a place, call, judge, and call again where that
helps. Each step changes the ask and says which operation comes next; see ``ask_machine``.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from llmfail.core.admission.breaker import clamp_retry_after
from llmfail.core.admission.gate import Admission, Settlement
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation import ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.model import Completion, Target
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing import next_step
from llmfail.core.routing.ask_events import Moment
from llmfail.core.routing.ask_state import AskState, AttemptState, PendingCall, Phase
from llmfail.core.routing.attempt_end import (
    Step,
    beat,
    decide,
    end,
    milliseconds_since_sent,
    put,
    refuse,
    sooner,
    stop_chain,
)
from llmfail.core.routing.attempt_result import AttemptResult, FoundAnswer, PartialAnswer
from llmfail.core.routing.attribution import attribute_deadline
from llmfail.core.routing.candidates import CandidateSkip

AttemptEvent = (
    ev.CacheHit
    | ev.CacheMiss
    | ev.Admitted
    | ev.Refused
    | ev.Sent
    | ev.CallFinished
    | ev.Woke
    | ev.LeaseEnded
    | ev.Cancelled
)

LEASE_MARGIN = 30.0
"""Seconds that a trial's place, and what is held in budgets, outlive the call's timeout."""
MAX_LATENESS = 0.9
"""Seconds that a call may start after its place in a rate limit:
``rate_limit.MINUTE_WITH_MARGIN_SECONDS`` has as many to spare.
"""
MAX_PLACES = 3
"""Places that one call asks for, when it is late for one after another."""
SHORT_WAIT = 1.0
"""Seconds to wait for a rate limit while other targets could answer."""


def react(state: AskState, event: AttemptEvent, now: Moment) -> Step:  # noqa: C901, PLR0911 - a case an event
    attempt = state.attempt(event.attempt)
    match event:
        case ev.Sent():
            return _mark_sent(state, attempt), ()
        case ev.Admitted(_, admission):
            return _enter(state, attempt, admission, now)
        case ev.CallFinished(_, result, cost):
            return _judge(state, attempt, result, cost, now)
        case ev.CacheMiss(_, is_leader):
            attempt = replace(attempt, has_lease=is_leader)
            return beat(state, attempt, now) if attempt.is_cancelling else _ask(state, attempt, now)
        case ev.CacheHit(_, answer):
            found = FoundAnswer(attempt.candidate, answer, stored=True)
            return decide(state, replace(attempt, has_lease=False), found)
        case ev.Refused(_, refusal):
            return refuse(replace(state, claims=_other_claims(state, attempt)), attempt, refusal)
        case ev.Woke():
            if attempt.is_cancelling:
                return beat(state, attempt, now)
            return (_take_place if attempt.phase is Phase.IN_ROW else _claim_place)(state, attempt, now)
        case ev.LeaseEnded():
            return put(state, replace(attempt, phase=Phase.ENDED, has_lease=False)), ()
        case ev.Cancelled():
            return beat(state, attempt, now)
        case _:
            assert_never(event)


def start(state: AskState, now: Moment, *, is_hedge: bool) -> Step:
    """The next candidate's turn. An ask that waits for another one's answer keeps half of its time."""
    number, place = state.attempts_begun + 1, len(state.attempts)
    attempt = AttemptState(number, place, state.candidates[place], is_hedge=is_hedge)
    if not state.plan.is_cached:
        return _ask(state, attempt, now)
    left = state.seconds_left(now.monotonic)
    may_wait = left > 0 and state.find_skip(attempt.candidate) is None
    max_wait = min(state.time_limit(attempt, now.monotonic), left / 2) if may_wait else None
    state = put(state, replace(attempt, has_lease=may_wait))
    return state, (ev.LookUp(number, attempt.target, max_wait),)


def max_rate_limit_wait(left: float, *, others: bool) -> float:
    """How long a call may wait for a rate limit, of the time that is left: the last that could answer is
    worth a wait, as long as half of the time is left for the call.
    """
    most = max(left, 0.0) / 2
    return min(SHORT_WAIT, most) if others else most


def _ask(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    skip = state.find_skip(attempt.candidate)
    if skip is None and state.seconds_left(now.monotonic) <= 0:
        state = replace(state, deadline_passed=True)
        skip = CandidateSkip(SkipReason.DEADLINE, "no time was left")
    if skip is None:
        return _claim_place(state, attempt, now)
    return end(state, attempt, TrailEntry(attempt.target, "skipped", skip.reason, note=skip.note))


def _claim_place(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    """Ask the gate for a call. Text that is shown may go on until the deadline."""
    if attempt.places == MAX_PLACES:
        late = Refusal(SkipReason.RATE_LIMITED_HERE, None, "too late for its place")
        return refuse(state, attempt, late)
    plan, left = state.plan, state.seconds_left(now.monotonic)
    is_limited = attempt.target in plan.rate_limited
    limit = left if plan.is_shown else state.time_limit(attempt, now.monotonic)
    claim = plan.claim_of(attempt.candidate, now.wall)
    claim = replace(
        claim,
        call_id=f"{plan.id}.{state.calls_begun + 1}",
        lease_seconds=limit + LEASE_MARGIN,
        max_cost=None if claim.max_cost is None else claim.max_cost - state.spent,
        max_wait=max_rate_limit_wait(left, others=bool(state.usable_after(attempt))) if is_limited else 0.0,
    )
    attempt = replace(attempt, phase=Phase.ADMITTING, places=attempt.places + 1, call_id=claim.call_id)
    claims = (*state.claims, (attempt.target, claim))
    state = put(state, attempt, claims=claims, calls_begun=state.calls_begun + 1)
    return state, (ev.Admit(attempt.number, attempt.target, claim),)


def _enter(state: AskState, attempt: AttemptState, admission: Admission, now: Moment) -> Step:
    """An admitted call costs nothing until it is sent."""
    call = PendingCall(attempt.target, admission, _cancelled_settlement(cost=0))
    state = replace(state, calls=(*state.calls, call), claims=_other_claims(state, attempt))
    attempt = replace(attempt, admission=admission)
    if attempt.is_cancelling:
        return beat(state, attempt, now)
    wait = admission.reservation.wait
    if wait <= 0:
        return _take_place(state, attempt, now)
    return put(state, replace(attempt, phase=Phase.IN_ROW)), (ev.Sleep(attempt.number, wait),)


def _take_place(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    """Call, unless this process was held up: its place has gone by then, and its hold may have ended."""
    admission = attempt.admission
    assert admission is not None, "a place is taken after an admission"
    lateness = MAX_LATENESS if attempt.target in state.plan.rate_limited else LEASE_MARGIN
    if now.wall > admission.reservation.starts_at + lateness:
        calls = _update_call(state, attempt, settlement=_cancelled_settlement(cost=0), is_over=True)
        state = replace(state, calls=calls)
        return _claim_place(state, attempt, now)
    limit = state.time_limit(attempt, now.monotonic)
    attempt = replace(attempt, phase=Phase.CALLING, limit=limit, sent_at=now.monotonic)
    dropped = admission.dropped_parameters | attempt.dropped
    return put(state, attempt), (ev.Send(attempt.number, attempt.target, limit, dropped),)


def _mark_sent(state: AskState, attempt: AttemptState) -> AskState:
    """From here on its cost is unknown. A call may be sent twice, for a new token."""
    spent = state.spent if attempt.is_sent else state.spent + attempt.held
    calls = _update_call(state, attempt, settlement=_cancelled_settlement(cost=None))
    return put(state, replace(attempt, is_sent=True), spent=spent, calls=calls)


def _judge(
    state: AskState, attempt: AttemptState, result: AttemptResult, cost: int | None, now: Moment
) -> Step:
    """What a call came to: its settlement, its line in the trail, and what follows from it."""
    if result.outcome.kind is not Kind.OK:
        outcome = attribute_deadline(
            result.outcome,
            is_slow=result.is_slow,
            is_committed=state.committed == attempt.number,
            limit=attempt.limit,
            fair_share=state.fair_share(attempt.candidate),
        )
        result = replace(result, outcome=outcome)
    outcome = result.outcome
    settlement = Settlement(
        outcome=outcome,
        latency_ms=milliseconds_since_sent(attempt, now),
        cost=cost,
        fallback=attempt.target != state.plan.primary,
        dropped_parameters=attempt.dropped if outcome.kind is Kind.OK else frozenset(),
        usage=result.answer.usage if result.answer else None,
    )
    works = state.network_works or (not outcome.is_unreachable and outcome.kind is not Kind.CANCELLED)
    state = replace(
        state,
        calls=_update_call(state, attempt, settlement=settlement, host=result.host, is_over=True),
        network_works=works,
        spent=state.spent + (cost - attempt.held if attempt.is_sent and cost is not None else 0),
    )
    attempt = replace(attempt, is_sent=False)
    if result.skipped is not None:
        entry = TrailEntry(attempt.target, "skipped", result.skipped, note=outcome.note)
        return end(state, attempt, entry)
    entry = _called_entry(attempt, result, settlement)
    state = _learn(state, attempt, outcome, now)
    return _follow(state, replace(attempt, trail=(*attempt.trail, entry)), result, now)


def _called_entry(attempt: AttemptState, result: AttemptResult, settlement: Settlement) -> TrailEntry:
    outcome = settlement.outcome
    return TrailEntry(
        target=attempt.target,
        action="called",
        outcome=outcome.kind,
        status=result.status,
        latency_ms=settlement.latency_ms,
        cost=settlement.cost,
        retry_after=outcome.retry_after,
        note=outcome.note or attempt.candidate.note,
        held=attempt.held,
    )


def _learn(state: AskState, attempt: AttemptState, outcome: Outcome, now: Moment) -> AskState:
    """An overflow says how much context a target must have, a refusal when one may answer again."""
    if outcome.kind is Kind.OK:
        return state
    needs, context = state.needs, attempt.candidate.context
    is_overflow = outcome.kind is Kind.CONTEXT_OVERFLOW and outcome.parameter is None
    if is_overflow and context is not None:
        needs = replace(needs, context=max(needs.context, context + 1))
    wait = outcome.retry_after
    retry_at = outcome.quota_resets_at if wait is None else now.wall + clamp_retry_after(wait)
    return replace(
        state, outcomes=(*state.outcomes, outcome), needs=needs, retry_at=sooner(state.retry_at, retry_at)
    )


def _follow(state: AskState, attempt: AttemptState, result: AttemptResult, now: Moment) -> Step:
    """After a call: the answer, the same target again, the next one, or the end of the chain."""
    plan, outcome, answer = state.plan, result.outcome, result.answer
    if outcome.kind is Kind.OK and answer is not None:
        return decide(state, attempt, FoundAnswer(attempt.candidate, answer))
    if state.committed == attempt.number and isinstance(answer, Completion):
        state = replace(state, partial=PartialAnswer(attempt.target, answer, outcome))
        return stop_chain(state, attempt)
    if attempt.is_cancelling:
        return beat(state, attempt, now)
    made = next_step.AttemptsMade(
        attempt.tries,
        plan.target_retries,
        attempt.dropped,
        plan.stop_on_refusal,
        plan.is_streamed,
        is_second_witness=bool(state.refused_by - {attempt.candidate.endpoint}),
    )
    match next_step.decide_next_step(outcome, plan.request, made, now.random_number):
        case next_step.RetrySameTarget(wait, dropped) if wait < state.seconds_left(now.monotonic):
            attempt = replace(
                attempt,
                phase=Phase.BACKING_OFF,
                tries=attempt.tries + 1,
                places=0,
                dropped=attempt.dropped | ({dropped} if dropped else frozenset()),
            )
            return put(state, attempt), (ev.Sleep(attempt.number, wait),)
        case next_step.StopChain():
            return stop_chain(state, attempt)
        case _:
            return end(_hear_witness(state, attempt, outcome), attempt)


def _hear_witness(state: AskState, attempt: AttemptState, outcome: Outcome) -> AskState:
    """One endpoint that refuses a request may be wrong about it, or unable to serve it."""
    if outcome.kind is not Kind.BAD_REQUEST:
        return state
    return replace(state, refused_by=state.refused_by | {attempt.candidate.endpoint})


def _other_claims(state: AskState, attempt: AttemptState) -> tuple[tuple[Target, ReservationRequest], ...]:
    return tuple(one for one in state.claims if one[1].call_id != attempt.call_id)


def _update_call(state: AskState, attempt: AttemptState, **changes: object) -> tuple[PendingCall, ...]:
    """The calls, with that of the attempt as it is now."""
    return tuple([replace(one, **changes) if one.call_id == attempt.call_id else one for one in state.calls])


def _cancelled_settlement(cost: int | None) -> Settlement:
    """A call that came to nothing because the caller was stopped."""
    return Settlement(Outcome(Kind.CANCELLED), 0, cost, fallback=False)
