"""What follows from the result of a call: its entry in the trail, what the ask learns, what comes next."""

from __future__ import annotations

from msgspec.structs import replace

from llmfail.core.admission.gate import Settlement
from llmfail.core.admission.pause import find_pause
from llmfail.core.classification.outcome import Kind, Outcome, RoutingEffect
from llmfail.core.model import Completion
from llmfail.core.receipt import TrailEntry
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing import next_step, rejected_parameters
from llmfail.core.routing.ask_events import Moment
from llmfail.core.routing.ask_state import AskState, AttemptState, Phase
from llmfail.core.routing.attempt_end import (
    Step,
    decide,
    end,
    end_cancelled,
    milliseconds_since_sent,
    note_retry_time,
    replace_attempt,
    stop_chain,
    update_call,
)
from llmfail.core.routing.attempt_result import AttemptResult, FoundAnswer, PartialAnswer
from llmfail.core.routing.attribution import attribute_deadline

REQUEST_TOO_LARGE = 413


def judge(
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
        calls=update_call(state, attempt, settlement, result.host, is_over=True),
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
    left_out = rejected_parameters.names_left_out(attempt, state.plan.request)
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
