"""One attempt: look the answer up, ask the gate, wait for the rate limit, call, judge, and call again where
that helps. Each step changes the ask and says which operation comes next; see ``ask_machine``.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from llmfail.core.admission.gate import Admission
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.model import Target, Usage
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing import call_judgement, rejected_parameters
from llmfail.core.routing.ask_events import Command, Moment
from llmfail.core.routing.ask_state import ENDED, NOT_SENT, SENT, AskState, AttemptState, PendingCall, Phase
from llmfail.core.routing.attempt_end import (
    Step,
    decide,
    end,
    end_cancelled,
    refuse,
    replace_attempt,
    update_call,
    with_attempt,
)
from llmfail.core.routing.attempt_result import FoundAnswer
from llmfail.core.routing.candidates import CandidateSkip

LEASE_MARGIN = 30.0
"""Seconds that a trial's place, and what is held in budgets, outlive the call's timeout."""
MAX_LATENESS = 0.9
"""Seconds that a call may start after its place in a rate limit:
``rate_limit.MINUTE_WITH_MARGIN_SECONDS`` has as many to spare.
"""
MAX_ADMISSION_REQUESTS = 3
"""How often one try asks its gate, when it is late for each place in a rate limit that it is given."""
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
            return call_judgement.judge(state, attempt, event.result, event.cost, now)
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
        state = replace(state, calls=update_call(state, attempt, NOT_SENT, is_over=True))
        return _request_admission(state, attempt, now)
    attempt, command = _prepare_call(state, attempt, now)
    return replace_attempt(state, attempt), (command,)


def _prepare_call(state: AskState, attempt: AttemptState, now: Moment) -> tuple[AttemptState, ev.Send]:
    """The attempt as it is while it calls, and the call."""
    limit = state.time_limit(attempt, now.monotonic)
    attempt = replace(attempt, phase=Phase.CALLING, limit=limit, sent_at=now.monotonic)
    dropped = rejected_parameters.names_left_out(attempt, state.plan.request)
    return attempt, ev.Send(attempt.number, attempt.candidate.target, limit, dropped)


def _mark_sent(state: AskState, attempt: AttemptState, now: Moment) -> AskState:
    """From here on its cost is unknown. Its latency begins: what made the wire ready was our own time. A call
    may be sent twice, for a new token.
    """
    sent_at = attempt.sent_at if attempt.is_sent else now.monotonic
    spent = state.spent if attempt.is_sent else state.spent + attempt.held
    attempts = with_attempt(state, replace(attempt, is_sent=True, sent_at=sent_at))
    return replace(state, attempts=attempts, spent=spent, calls=update_call(state, attempt, SENT))


def _leave(state: AskState, attempt: AttemptState, usage: Usage, cost: int | None) -> AskState:
    """Its cost is known about, instead of its worst case."""
    settlement = replace(SENT, cost=cost, usage=usage)
    spent = state.spent + (0 if cost is None else cost - attempt.held)
    return replace(state, calls=update_call(state, attempt, settlement), spent=spent)


def _other_requests(state: AskState, attempt: AttemptState) -> tuple[tuple[Target, ReservationRequest], ...]:
    return tuple([one for one in state.unanswered_requests if one[1].call_id != attempt.call_id])
