"""One attempt: look the answer up, ask the gate, wait for the rate limit, call, judge, and call again where
that helps. Each step changes the ask and says which operation comes next; see ``ask_machine``.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from llmfail.core.admission.gate import Admission, Settlement
from llmfail.core.admission.pause import find_pause
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome, RoutingEffect
from llmfail.core.model import Completion, Target, Usage
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing import next_step, rejected_parameters
from llmfail.core.routing.ask_events import Command, Moment
from llmfail.core.routing.ask_state import ENDED, NOT_SENT, SENT, AskState, AttemptState, PendingCall, Phase
from llmfail.core.routing.attempt_end import (
    Step,
    decide,
    end,
    end_cancelled,
    milliseconds_since_sent,
    note_retry_time,
    refuse,
    replace_attempt,
    stop_chain,
    with_attempt,
)
from llmfail.core.routing.attempt_result import AttemptResult, FoundAnswer, PartialAnswer
from llmfail.core.routing.attribution import attribute_deadline
from llmfail.core.routing.candidates import CandidateSkip

LEASE_MARGIN = 30.0
"""Seconds that a trial's place, and what is held in budgets, outlive the call's timeout."""
MAX_LATENESS = 0.9
"""Seconds that a call may start after its place in a rate limit:
``rate_limit.MINUTE_WITH_MARGIN_SECONDS`` has as many to spare.
"""
MAX_ADMISSION_REQUESTS = 3
"""How often one try asks its gate, when it is late for each place in a rate limit that it is given."""
REQUEST_TOO_LARGE = 413
SHORT_WAIT = 1.0
"""Seconds to wait for a rate limit while other targets could answer."""


def react(  # noqa: C901, PLR0911 - a case an event
    state: AskState, event: ev.AnyAttemptEvent, now: Moment
) -> Step:
    attempt = state.attempt(event.attempt)
    match event:
        case ev.Sent():
            return _mark_sent(state, attempt, now), ()
        case ev.Admitted():
            return _on_admitted(state, attempt, event.admission, now)
        case ev.CallFinished():
            return _judge(state, attempt, event.result, event.cost, now)
        case ev.CallLeft(_, usage, cost):
            return _leave(state, attempt, usage, cost), ()
        case ev.CacheMiss(_, is_leader):
            attempt = replace(attempt, has_lease=is_leader)
            return end_cancelled(state, attempt, now) if attempt.is_cancelling else _ask(state, attempt, now)
        case ev.CacheHit(_, answer):
            found = FoundAnswer(attempt.candidate, answer, stored=True)
            return decide(state, replace(attempt, has_lease=False), found)
        case ev.Refused(_, refusal):
            return refuse(
                replace(state, unanswered_requests=_other_requests(state, attempt)), attempt, refusal
            )
        case ev.Woke():
            return _go_on(state, attempt, now)
        case ev.LeaseEnded():
            return replace_attempt(state, replace(attempt, phase=ENDED, has_lease=False)), ()
        case ev.Cancelled():
            return end_cancelled(state, attempt, now)
        case _:
            assert_never(event)


def _go_on(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    """After a pause."""
    if attempt.is_cancelling:
        return end_cancelled(state, attempt, now)
    is_admitted = attempt.phase is Phase.WAITING_FOR_RATE_LIMIT
    return (_send_if_on_time if is_admitted else _request_admission)(state, attempt, now)


def start(state: AskState, now: Moment, *, is_hedge: bool) -> Step:
    """The next candidate's turn. An ask that waits for another one's answer keeps half of its time."""
    number, index = state.attempts_begun + 1, len(state.attempts)
    attempt = AttemptState(number, index, state.candidates[index], is_hedge=is_hedge)
    state = replace(state, attempts=(*state.attempts, attempt), attempts_begun=number)
    if not state.plan.is_cached:
        return _ask(state, attempt, now)
    left = state.seconds_left(now.monotonic)
    may_wait = left > 0 and state.find_skip(attempt.candidate) is None
    max_wait = min(state.time_limit(attempt, now.monotonic), left / 2) if may_wait else None
    state = replace_attempt(state, replace(attempt, has_lease=may_wait))
    return state, (ev.LookUp(number, attempt.candidate.target, max_wait),)


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
        return _request_admission(state, attempt, now)
    return end(state, attempt, TrailEntry(attempt.candidate.target, "skipped", skip.reason, note=skip.note))


def _request_admission(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    """Ask the gate to admit a call. A text that is shown may go on until the deadline."""
    if attempt.admission_requests == MAX_ADMISSION_REQUESTS:
        late = Refusal(SkipReason.RATE_LIMITED_HERE, None, "too late for its place")
        return refuse(state, attempt, late)
    plan, candidate, left = state.plan, attempt.candidate, state.seconds_left(now.monotonic)
    limit = left if plan.is_shown else state.time_limit(attempt, now.monotonic)
    may_ramp = candidate.may_ramp and not state.ignores_ramps
    reservation_request = plan.reservation_request_of(candidate, now.wall)
    reservation_request = replace(
        reservation_request,
        call_id=f"{plan.id}.{state.calls_begun + 1}",
        lease_seconds=limit + LEASE_MARGIN,
        max_cost=None if reservation_request.max_cost is None else reservation_request.max_cost - state.spent,
        ask_id=plan.id if may_ramp and state.usable_after(attempt) else "",
        max_wait=_max_wait(state, attempt, left) if candidate.is_rate_limited else 0.0,
    )
    attempt = replace(
        attempt,
        phase=Phase.ADMITTING,
        admission_requests=attempt.admission_requests + 1,
        call_id=reservation_request.call_id,
    )
    state = replace(
        state,
        attempts=with_attempt(state, attempt),
        unanswered_requests=(*state.unanswered_requests, (candidate.target, reservation_request)),
        calls_begun=state.calls_begun + 1,
    )
    return state, (ev.Admit(attempt.number, candidate.target, reservation_request),)


def _max_wait(state: AskState, attempt: AttemptState, left: float) -> float:
    return max_rate_limit_wait(left, others=bool(state.usable_after(attempt)))


def _on_admitted(state: AskState, attempt: AttemptState, admission: Admission, now: Moment) -> Step:
    """The gate has admitted the call: it is sent at once, or after its wait for the rate limit. It costs
    nothing until it is sent.
    """
    call = PendingCall(attempt.call_id, attempt.candidate.target, admission, NOT_SENT)
    calls, requests = (*state.calls, call), _other_requests(state, attempt)
    attempt = replace(
        attempt,
        admission=admission,
        held=admission.reservation.amount,
        admitted_at=now.monotonic,
        admitted_wall=now.wall,
    )
    if attempt.is_cancelling:
        return end_cancelled(replace(state, calls=calls, unanswered_requests=requests), attempt, now)
    wait = admission.reservation.wait
    command: Command = ev.Sleep(attempt.number, wait)
    if wait > 0:
        attempt = replace(attempt, phase=Phase.WAITING_FOR_RATE_LIMIT)
    else:
        attempt, command = _prepare_call(state, attempt, now)
    attempts = with_attempt(state, attempt)
    return replace(state, attempts=attempts, calls=calls, unanswered_requests=requests), (command,)


def _send_if_on_time(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    """Call, unless this process was delayed: its place in the rate limit has passed by then, and what budgets
    hold for it may have ended. What has passed is measured here: the store's clock may be another. The
    monotonic clock may stand still while a machine sleeps, the other may be set.
    """
    admission = attempt.admission
    assert admission is not None, "a call is sent after an admission"
    lateness = MAX_LATENESS if attempt.candidate.is_rate_limited else LEASE_MARGIN
    passed = max(now.monotonic - attempt.admitted_at, now.wall - attempt.admitted_wall)
    if passed > admission.reservation.wait + lateness:
        state = replace(state, calls=_update_call(state, attempt, NOT_SENT, is_over=True))
        return _request_admission(state, attempt, now)
    attempt, command = _prepare_call(state, attempt, now)
    return replace_attempt(state, attempt), (command,)


def _prepare_call(state: AskState, attempt: AttemptState, now: Moment) -> tuple[AttemptState, ev.Send]:
    """The attempt as it is while it calls, and the call."""
    limit = state.time_limit(attempt, now.monotonic)
    attempt = replace(attempt, phase=Phase.CALLING, limit=limit, sent_at=now.monotonic)
    dropped = _left_out(state, attempt)
    return attempt, ev.Send(attempt.number, attempt.candidate.target, limit, dropped)


def _left_out(state: AskState, attempt: AttemptState) -> frozenset[str]:
    """What a call to this target goes without: what it has refused before, and in this ask."""
    admission = attempt.admission
    remembered = frozenset() if admission is None else admission.dropped_parameters
    if not remembered and not attempt.dropped:
        return frozenset()
    return rejected_parameters.names_to_leave_out(remembered | attempt.dropped, state.plan.request)


def _mark_sent(state: AskState, attempt: AttemptState, now: Moment) -> AskState:
    """From here on its cost is unknown. Its latency begins: what made the wire ready was our own time. A call
    may be sent twice, for a new token.
    """
    sent_at = attempt.sent_at if attempt.is_sent else now.monotonic
    spent = state.spent if attempt.is_sent else state.spent + attempt.held
    attempts = with_attempt(state, replace(attempt, is_sent=True, sent_at=sent_at))
    return replace(state, attempts=attempts, spent=spent, calls=_update_call(state, attempt, SENT))


def _leave(state: AskState, attempt: AttemptState, usage: Usage, cost: int | None) -> AskState:
    """Its cost is known about, instead of its worst case."""
    settlement = replace(SENT, cost=cost, usage=usage)
    spent = state.spent + (0 if cost is None else cost - attempt.held)
    return replace(state, calls=_update_call(state, attempt, settlement), spent=spent)


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
        fallback=attempt.candidate.target != state.plan.primary,
        dropped_parameters=_to_remember(state, attempt, outcome),
        usage=result.answer.usage if result.answer else None,
    )
    works = state.network_works or (not outcome.is_unreachable and outcome.kind is not Kind.CANCELLED)
    state = replace(
        state,
        calls=_update_call(state, attempt, settlement, result.host, is_over=True),
        network_works=works,
        spent=state.spent + (cost - attempt.held if attempt.is_sent and cost is not None else 0),
    )
    if result.skipped is not None:
        entry = TrailEntry(attempt.candidate.target, "skipped", result.skipped, note=outcome.note)
        return end(state, replace(attempt, is_sent=False), entry)
    entry = _called_entry(state, attempt, result, settlement)
    attempt = replace(attempt, is_sent=False, trail=(*attempt.trail, entry))
    return _after_call(_learn(state, attempt, outcome, now), attempt, result, now)


def _to_remember(state: AskState, attempt: AttemptState, outcome: Outcome) -> frozenset[str]:
    """What the target refused, once it took the rest of the request."""
    if not attempt.dropped or outcome.kind not in {Kind.OK, Kind.REJECTED_ANSWER}:
        return frozenset()
    return rejected_parameters.names_to_remember(attempt.dropped, state.plan.request)


def _called_entry(
    state: AskState, attempt: AttemptState, result: AttemptResult, settlement: Settlement
) -> TrailEntry:
    outcome = settlement.outcome
    left_out = _left_out(state, attempt)
    sent_as = rejected_parameters.describe_left_out(left_out, state.plan.request) if left_out else ""
    cut = _describe_cut(attempt, outcome) if outcome.retry_after is not None else ""
    return TrailEntry(
        target=attempt.candidate.target,
        action="called",
        outcome=outcome.kind,
        status=result.status,
        latency_ms=settlement.latency_ms,
        cost_pico_usd=settlement.cost,
        retry_after=outcome.retry_after,
        note="; ".join(filter(None, (outcome.note, sent_as, cut))) or attempt.candidate.note,
        request_id=result.request_id,
        dropped=attempt.candidate.dropped,
        held=attempt.held,
    )


def _describe_cut(attempt: AttemptState, outcome: Outcome) -> str:
    """Of a Retry-After that is obeyed in part, that it is."""
    pause = find_pause(outcome, attempt.candidate.max_pause)
    if pause is None or outcome.retry_after is None or pause >= outcome.retry_after:
        return ""
    return f"the Retry-After of {outcome.retry_after:.0f} s is cut to {pause:g} s (max_pause)"


def _learn(state: AskState, attempt: AttemptState, outcome: Outcome, now: Moment) -> AskState:
    """An overflow says how much context a target must have, a refusal when one may answer again. A 413 is
    about the bytes of a request, or a limit per minute: it says nothing about the context of any model.
    """
    if outcome.kind is Kind.OK:
        return state
    needs, context = state.needs, attempt.candidate.context
    needs_larger = outcome.consequence.routing_effect is RoutingEffect.LARGER_CONTEXT
    is_overflow = needs_larger and outcome.parameter is None and outcome.status != REQUEST_TOO_LARGE
    if is_overflow and context is not None:
        needs = replace(needs, context=max(needs.context, context + 1))
    pause = find_pause(outcome, attempt.candidate.max_pause)
    retry_at = outcome.quota_resets_at if pause is None else now.wall + pause
    outcomes = (*state.outcomes, replace(outcome, retry_after=pause))
    return replace(note_retry_time(state, attempt.candidate.target, retry_at), outcomes=outcomes, needs=needs)


def _after_call(state: AskState, attempt: AttemptState, result: AttemptResult, now: Moment) -> Step:
    """After a call: the answer, the same target again, the next one, or the end of the chain."""
    plan, outcome, answer = state.plan, result.outcome, result.answer
    is_good = outcome.kind is Kind.OK
    # A program has been shown all of it already, and is told by its finish reason what it is.
    is_shown = result.is_whole and plan.is_for_program and state.committed == attempt.number
    if answer is not None and (is_good or is_shown):
        found = FoundAnswer(attempt.candidate, answer, dropped=attempt.dropped, relayed=result.relayed)
        return decide(state, attempt, found, is_good=is_good)
    state = replace(state, relayed=result.relayed)
    if state.committed == attempt.number and isinstance(answer, Completion):
        state = replace(state, partial=PartialAnswer(attempt.candidate.target, answer, outcome))
        return stop_chain(state, attempt)
    if attempt.is_cancelling:
        return end_cancelled(state, attempt, now)
    made = next_step.AttemptsMade(
        attempt.tries,
        plan.target_retries,
        attempt.dropped,
        plan.stop_on_refusal,
        plan.is_streamed,
        is_refused_by_another_endpoint=bool(state.refused_by - {attempt.candidate.endpoint}),
    )
    match next_step.decide_next_step(outcome, plan.request, made, now.random_number):
        case next_step.RetrySameTarget(wait, dropped) if wait < state.seconds_left(now.monotonic):
            attempt = replace(
                attempt,
                phase=Phase.BACKING_OFF,
                tries=attempt.tries + 1,
                admission_requests=0,
                dropped=attempt.dropped | ({dropped} if dropped else frozenset()),
            )
            return replace_attempt(state, attempt), (ev.Sleep(attempt.number, wait),)
        case next_step.StopChain():
            return stop_chain(state, attempt)
        case _:
            return end(_record_bad_request(state, attempt, outcome), attempt)


def _record_bad_request(state: AskState, attempt: AttemptState, outcome: Outcome) -> AskState:
    """Record that this endpoint refused the request: one may be wrong about it, or unable to serve it."""
    if outcome.consequence.routing_effect is not RoutingEffect.STOP_AFTER_TWO_REFUSALS:
        return state
    return replace(state, refused_by=state.refused_by | {attempt.candidate.endpoint})


def _other_requests(state: AskState, attempt: AttemptState) -> tuple[tuple[Target, ReservationRequest], ...]:
    return tuple([one for one in state.unanswered_requests if one[1].call_id != attempt.call_id])


def _update_call(
    state: AskState, attempt: AttemptState, settlement: Settlement, host: str = "", *, is_over: bool = False
) -> tuple[PendingCall, ...]:
    """The calls, with that of the attempt as it is now."""
    return tuple(
        [
            PendingCall(one.call_id, one.target, one.admission, settlement, host, is_over)
            if one.call_id == attempt.call_id
            else one
            for one in state.calls
        ]
    )
