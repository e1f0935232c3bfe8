"""One ask as a state machine: ``step(state, event, now) -> (state, commands)``. Pure: the driver
(``engine.driver``) does what the commands say and tells what came of it.

* An ask is a sequence of rounds, a round gives each of its candidates one attempt, in order; one attempt
  runs at a time, and a second one (the hedge) besides while the first is late.
* An attempt looks its answer up, asks the gate, waits for its place in a rate limit, calls, and backs off
  before it calls the same target again. Each of these is one operation of the driver, ended by one event.
* The commit point of a stream is its first text that is not blank, and for a program that takes it in pieces
  its first sign of life: from then on the other attempt is cancelled, and no other target can answer. A whole
  answer decides the ask in the same way.
* A round without an answer is followed by another one where a failure may pass, or by a look at the gates
  where the caller waits for an open circuit.
* A target that ramps may be left out of a round; when nobody else has answered, the round goes on with it.
* An attempt that ends gives up its single-flight lease; one that is cancelled hands it over.
* ``state.calls`` and ``state.unanswered_requests`` are what is left to settle, whenever the ask is
  interrupted.
* After each event the same three rules are applied (``_schedule_attempts``): cancel what has lost, start what
  may start, and keep the hedge timer armed exactly while a hedge could start.
"""

from __future__ import annotations

from math import inf
from typing import assert_never

from msgspec.structs import replace

from llmfail.core.admission.gate import GateView
from llmfail.core.classification.outcome import CONSEQUENCES, Kind
from llmfail.core.model import Target
from llmfail.core.receipt import SkipReason, TrailEntry
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing import attempt_steps, next_step
from llmfail.core.routing.ask_events import ASK, Command, Event, Moment
from llmfail.core.routing.ask_state import (
    ATTEMPTING,
    ENDED,
    MAX_RUNNING,
    OVER,
    AskState,
    AttemptState,
    Phase,
    Stage,
)
from llmfail.core.routing.attempt_end import Step, replace_attempt
from llmfail.core.routing.attempt_result import FoundAnswer
from llmfail.core.routing.candidates import Candidate
from llmfail.core.routing.next_opening import find_next_opening

PASSING_SKIPS = frozenset({SkipReason.CIRCUIT_OPEN, SkipReason.PROBING, SkipReason.RATE_LIMITED_HERE})
"""Skips that may have passed by the next round."""
MIN_LOOK_INTERVAL_SECONDS = 0.02
"""Seconds between two looks at the gates, at the least."""


def step(state: AskState, event: Event, now: Moment) -> Step:
    state, commands = _react(state, event, now)
    if state.stage is ATTEMPTING:
        state, more = _schedule_attempts(state, now)
        commands += more
    if state.plan.hedge_delay is not None:
        state, more = _keep_timer(state)
        commands += more
    return state, commands


def _react(state: AskState, event: Event, now: Moment) -> Step:  # noqa: C901, PLR0911 - a case an event
    if isinstance(event, ev.AttemptEvent):
        if event.attempt == ASK:  # the pause before a round, which is no attempt's
            return _begin_round(state, state.candidates)
        return attempt_steps.react(state, event, now)
    match event:
        case ev.Started():
            return _begin_round(state, state.plan.candidates)
        case ev.Settled(ids):
            requests = tuple([one for one in state.unanswered_requests if one[1].call_id not in ids])
            calls = tuple([one for one in state.calls if one.call_id not in ids])
            return replace(state, calls=calls, unanswered_requests=requests), ()
        case ev.StoredAnswerSought(candidate, answer):
            state = replace(state, stage=ATTEMPTING)
            if candidate is None or answer is None:
                return state, ()
            return replace(state, found=FoundAnswer(candidate, answer, stored=True)), ()
        case ev.FirstOutput(attempt):
            is_free = state.committed is None and state.found is None
            may_commit = is_free and not state.attempt(attempt).is_cancelling
            return replace(state, committed=attempt) if may_commit else state, ()
        case ev.TimerFired():
            return replace(state, timer=None, debited_for=state.attempts_begun), (ev.DebitHedge(),)
        case ev.HedgeDecided(is_allowed):
            return _decide_hedge(state, now, is_allowed=is_allowed)
        case ev.GatesViewed(views, at):
            return _wait_for_opening(state, dict(views), at, now)
        case ev.AskInterrupted():
            return _interrupt(state)
        case _:
            assert_never(event)


def _interrupt(state: AskState) -> Step:
    """All that is left to do, besides the settlement, is to hand over the leases."""
    if state.stage is OVER:
        return state, ()
    state = replace(state, stage=Stage.INTERRUPTED)
    led = [one for one in state.list_running() if one.has_lease]
    for one in led:
        state = replace_attempt(state, replace(one, phase=Phase.ENDING_LEASE))
    return state, tuple(ev.EndLease(one.number, hand_over=True) for one in led)


def _begin_round(state: AskState, candidates: tuple[Candidate, ...]) -> Step:
    """A hedged round takes a stored answer of either of the two that it would ask."""
    state = replace(
        state,
        stage=ATTEMPTING,
        round_number=state.round_number + 1,
        candidates=candidates,
        attempts=(),
        outcomes=(),
        may_hedge=True,
    )
    if state.plan.hedge_delay is None or not state.plan.is_cached:
        return state, ()
    usable = [one for one in candidates if state.find_skip(one) is None]
    if not usable:
        return state, ()
    return replace(state, stage=Stage.SEEKING), (ev.SeekStoredAnswer(usable[:MAX_RUNNING]),)


def _schedule_attempts(state: AskState, now: Moment) -> Step:
    commands: tuple[Command, ...] = ()
    if state.plan.hedge_delay is not None:
        state, commands = _cancel_losers(state)
    elif state.attempts and state.attempts[-1].phase is not ENDED:
        return state, ()
    state, more = _start_attempts(state, now)
    commands += more
    if state.list_running():
        return state, commands
    if (ramping := state.list_ramping()) and state.seconds_left(now.monotonic) > 0:
        state = replace(state, candidates=(*state.candidates, *ramping), ignores_ramps=True)
        state, more = _start_attempts(state, now)
        commands += more
        if state.list_running():
            return state, commands
    state, more = _end_round(state, now)
    return state, commands + more


def _start_attempts(state: AskState, now: Moment) -> Step:
    commands: tuple[Command, ...] = ()
    while state.may_start():
        running = state.list_running()
        if running:
            unused = _unused_hedge(state)
            if unused is None or len(running) == MAX_RUNNING:
                break
            state = replace_attempt(state, replace(unused, is_hedge=False))
        state, more = attempt_steps.start(state, now, is_hedge=bool(running))
        commands += more
    return state, commands


def _cancel_losers(state: AskState) -> Step:
    """Only one answer is shown, and behind a target that refused the request for all no other is asked."""
    commands: tuple[Command, ...] = ()
    decided = state.winner if state.committed is None else state.committed
    for one in state.list_running():
        is_behind = state.stopped_at is not None and one.index > state.stopped_at
        has_lost = is_behind or (decided is not None and one.number != decided)
        is_writing = one.phase in {Phase.STORING, Phase.ENDING_LEASE}
        if has_lost and not is_writing and not one.is_cancelling:
            state = replace_attempt(state, replace(one, is_cancelling=True))
            commands += (ev.Cancel(one.number),)
    return state, commands


def _unused_hedge(state: AskState) -> AttemptState | None:
    """A hedge that came to no call: another attempt takes its place at once."""
    hedges = [one for one in state.attempts if one.is_hedge]
    return next((one for one in hedges if one.phase is ENDED and not one.has_called()), None)


def _could_hedge(state: AskState) -> bool:
    is_allowed = state.may_hedge and state.debited_for is None
    return is_allowed and state.may_start() and 0 < len(state.list_running()) < MAX_RUNNING


def _keep_timer(state: AskState) -> Step:
    """An answer is late so many seconds after the last attempt started or ended."""
    could = state.stage is ATTEMPTING and _could_hedge(state)
    timer = (state.attempts_begun, len(state.list_running())) if could else None
    if timer == state.timer:
        return state, ()
    delay = state.plan.hedge_delay
    command = ev.DisarmTimer() if timer is None or delay is None else ev.ArmTimer(delay)
    return replace(state, timer=timer), (command,)


def _decide_hedge(state: AskState, now: Moment, *, is_allowed: bool) -> Step:
    """A hedge that was paid for is given back when its time has gone by."""
    is_due = state.stage is ATTEMPTING and state.debited_for == state.attempts_begun
    state = replace(state, debited_for=None)
    if not is_allowed:
        return replace(state, may_hedge=False), ()
    if is_due and _could_hedge(state):
        return attempt_steps.start(state, now, is_hedge=True)
    return replace(state, unused_hedges=state.unused_hedges + 1), ()


def _end_round(state: AskState, now: Moment) -> Step:
    called = [one for one in state.attempts if one.has_called()]
    unused = [one for one in state.attempts if one.is_hedge and one not in called]
    is_open = state.found is None and state.stopped_at is None
    state = replace(
        state,
        stage=state.stage if state.found is None else OVER,
        trail=(*state.trail, *state.list_round_trail()),
        walks=state.walks + bool(called),
        unused_hedges=state.unused_hedges + len(unused),
        deadline_passed=state.deadline_passed or (is_open and state.seconds_left(now.monotonic) <= 0),
    )
    if state.found is not None:
        return state, ()
    if not is_open or state.deadline_passed:
        return _finish(state), ()
    return _go_round_again(state, now)


def _go_round_again(state: AskState, now: Moment) -> Step:
    """Another round where a failure may pass, or a look at the gates where the caller waits for one."""
    plan = state.plan
    wait = next_step.decide_round_wait(state.outcomes, state.walks, plan.rounds, now.random_number)
    candidates = tuple(one for one in _distinct(state.candidates) if _may_help(state, one))
    if wait is not None and candidates:
        return _pause(state, wait, candidates, now)
    targets = tuple(one.target for one in plan.candidates if state.find_skip(one) is None)
    if plan.wait_ends_at <= now.monotonic or not targets:
        return _finish(state), ()
    return replace(state, stage=Stage.VIEWING), (ev.ViewGates(targets),)


def _pause(state: AskState, wait: float, candidates: tuple[Candidate, ...], now: Moment) -> Step:
    if wait >= state.seconds_left(now.monotonic):
        return _finish(state), ()
    return replace(state, stage=Stage.PAUSING, candidates=candidates), (ev.Sleep(ASK, wait),)


def _wait_for_opening(state: AskState, views: dict[Target, GateView], at: float, now: Moment) -> Step:
    """Until the first target may be asked that was not just asked in vain."""
    worth_a_wait = (
        view
        for target, view in views.items()
        if view.refusal is not None or _may_pass(_last_entry(state, target))
    )
    opening = find_next_opening(worth_a_wait, at)
    wait = inf if opening is None else max(opening - at, MIN_LOOK_INTERVAL_SECONDS)
    if wait > state.plan.wait_ends_at - now.monotonic:
        return _finish(state), ()
    return _pause(state, wait, state.plan.candidates, now)


def _distinct(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """One that was left out at first stands there twice."""
    return tuple({one.target: one for one in candidates}.values())


def _may_help(state: AskState, candidate: Candidate) -> bool:
    """Whether what stood in the way of this target, called or skipped, may have passed."""
    last = _last_entry(state, candidate.target)
    return _may_pass(last) or (last.action == "called" and CONSEQUENCES[Kind(last.outcome)].is_transient)


def _may_pass(last: TrailEntry) -> bool:
    return last.action == "skipped" and last.outcome in PASSING_SKIPS


def _last_entry(state: AskState, target: Target) -> TrailEntry:
    return next(entry for entry in reversed(state.trail) if entry.target == target)


def _finish(state: AskState) -> AskState:
    is_down = state.found is None and _is_own_network_down(state)
    return replace(state, stage=OVER, is_own_network_down=is_down)


def _is_own_network_down(state: AskState) -> bool:
    """If at least two hosts were tried and not one could be found, it is our own network."""
    unfound = [one for one in state.calls if one.settlement.outcome.is_unreachable]
    called = [entry for entry in state.trail if entry.action == "called"]
    return len({one.host for one in unfound}) >= 2 and len(unfound) == len(called)
