"""The end of an attempt: by an answer, a refusal, a failure, or because another attempt was faster."""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.admission.gate import Settlement
from llmfail.core.admission.refusal import Refusal
from llmfail.core.classification.outcome import Kind
from llmfail.core.model import Target
from llmfail.core.receipt import TrailEntry
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing.ask_events import Command, Moment
from llmfail.core.routing.ask_state import ENDED, AskState, AttemptState, PendingCall, Phase
from llmfail.core.routing.attempt_result import FoundAnswer

Step = tuple[AskState, tuple[Command, ...]]

ANSWERED_FIRST_NOTE = "another target answered first"
REFUSED_NOTE = "another target refused the request for all"


def replace_attempt(state: AskState, attempt: AttemptState) -> AskState:
    """The ask with this attempt instead of the one at its index."""
    return replace(state, attempts=with_attempt(state, attempt))


def with_attempt(state: AskState, attempt: AttemptState) -> tuple[AttemptState, ...]:
    """The attempts of the round, with this one instead of the one at its index."""
    attempts = [*state.attempts]
    attempts[attempt.index] = attempt
    return tuple(attempts)


def decide(state: AskState, attempt: AttemptState, found: FoundAnswer, *, is_good: bool = True) -> Step:
    """A whole answer decides the ask, unless another attempt is being shown. It is stored in any case, if it
    ``is_good``.
    """
    answer = found.answer
    phase = ENDED
    commands: tuple[Command, ...] = ()
    if state.plan.is_cached and is_good and not found.stored:
        phase = Phase.STORING
        commands = (ev.StoreAnswer(attempt.number, attempt.candidate.target, answer),)
    elif attempt.has_lease:
        phase = Phase.ENDING_LEASE
        commands = (ev.EndLease(attempt.number),)
    if state.committed in {None, attempt.number} and state.found is None:
        attempts = with_attempt(state, replace(attempt, phase=phase))
        return replace(state, attempts=attempts, winner=attempt.number, found=found), commands
    return replace_attempt(state, replace(attempt, phase=phase, has_lost=True)), commands


def stop_chain(state: AskState, attempt: AttemptState) -> Step:
    """No target behind this one can help; one before it that still runs may."""
    index = attempt.index if state.stopped_at is None else min(state.stopped_at, attempt.index)
    return end(replace(state, stopped_at=index), attempt)


def refuse(state: AskState, attempt: AttemptState, refusal: Refusal) -> Step:
    state = note_retry_time(state, attempt.candidate.target, refusal.retry_at)
    entry = TrailEntry(
        attempt.candidate.target,
        "skipped",
        refusal.reason,
        note=refusal.note,
        cause=refusal.cause,
        open_reason=refusal.open_reason,
    )
    return end(state, attempt, entry)


def end_cancelled(state: AskState, attempt: AttemptState, now: Moment) -> Step:
    """The end of an attempt that was cancelled because of another one: what it may have cost is counted."""
    attempt = replace(attempt, has_lost=True)
    entry = None
    if attempt.is_sent:
        is_refused = state.committed is None and state.found is None and state.stopped
        entry = TrailEntry(
            attempt.candidate.target,
            "called",
            Kind.CANCELLED,
            latency_ms=milliseconds_since_sent(attempt, now),
            cost_pico_usd=_known_cost(state, attempt),
            note=REFUSED_NOTE if is_refused else ANSWERED_FIRST_NOTE,
            held=attempt.held,
        )
    return end(state, replace(attempt, is_sent=False), entry, hand_over=True)


def _known_cost(state: AskState, attempt: AttemptState) -> int | None:
    """What a call has cost that was left once its answer had begun."""
    return next((one.settlement.cost for one in state.calls if one.call_id == attempt.call_id), None)


def end(
    state: AskState, attempt: AttemptState, entry: TrailEntry | None = None, *, hand_over: bool = False
) -> Step:
    """The end of a turn, once its lease is given up or handed over."""
    trail = attempt.trail if entry is None else (*attempt.trail, entry)
    phase = Phase.ENDING_LEASE if attempt.has_lease else ENDED
    state = replace_attempt(state, replace(attempt, trail=trail, phase=phase))
    return state, (ev.EndLease(attempt.number, hand_over),) if attempt.has_lease else ()


def note_retry_time(state: AskState, target: Target, retry_at: float | None) -> AskState:
    """What was last said of when a target may answer again; None: nothing was."""
    others = {one: moment for one, moment in state.retry_times.items() if one != target}
    return replace(state, retry_times=others if retry_at is None else {**others, target: retry_at})


def milliseconds_since_sent(attempt: AttemptState, now: Moment) -> int:
    return round((now.monotonic - attempt.sent_at) * 1000)


def update_call(
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
