"""The circuit breaker and pauses, as the gate of a target has them, in lockstep with an independent
description of their rules (``breaker_model``).

Hypothesis writes the stories. Left alone it would seldom leave the closed state, so there are rules that open
a circuit in one go, wait exactly until it admits again, take several trials and let leases run out; at the
end the test asserts that every corner was really visited. The run is deterministic.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import hypothesis.strategies as st
from breaker_model import BreakerModel, ModelTicket, clamp
from gate_states import build_reservation_request
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import astuple

from llmfail.core.admission import breaker, gate_settlement, operator_override
from llmfail.core.admission import circuit as circuits
from llmfail.core.admission import gate as gates
from llmfail.core.admission.circuit import BreakerRules, Circuit, CircuitState, Ticket
from llmfail.core.admission.gate import Admission, Gate, Settlement
from llmfail.core.admission.refusal import OpenReason, Refusal
from llmfail.core.classification.outcome import CircuitEffect, Kind, Outcome
from llmfail.core.model import Address, Target
from llmfail.core.records.record import Writes, load_or_default

START = 1_000_000.0
ADDRESS = Address("openai", "https://p.test/v1", "m")
TINY = 1e-6

SOME_RULES = st.builds(
    BreakerRules,
    failure_threshold=st.integers(1, 4),
    failure_rate=st.sampled_from([0.3, 0.5, 0.55, 1.0]),
    volume_threshold=st.integers(2, 6),
    window=st.sampled_from([20.0, 60.0, 400.0]),
    recovery_timeout=st.sampled_from([5.0, 10.0]),
    rate_limit_timeout=st.sampled_from([7.0, 40.0]),
    backoff=st.sampled_from([1.0, 2.0, 3.0]),
    max_recovery_timeout=st.sampled_from([6.0, 25.0, 600.0]),
    half_open_limit=st.integers(1, 4),
    success_threshold=st.integers(1, 4),
    max_pause=st.sampled_from([3600.0, 3600.0, 30.0, 0.0]),
    ramp=st.sampled_from([0.0, 0.0, 12.0, 120.0]),
)
KINDS = {
    (CircuitEffect.FAILURE, True): Kind.RATE_LIMITED,
    (CircuitEffect.FAILURE, False): Kind.OVERLOADED,
    (CircuitEffect.SUCCESS, True): Kind.OK,
    (CircuitEffect.SUCCESS, False): Kind.OK,
    (CircuitEffect.NEUTRAL, True): Kind.CONTENT_BLOCKED,
    (CircuitEffect.NEUTRAL, False): Kind.BAD_REQUEST,
}


@dataclass(frozen=True)
class CallResult:
    """What became of a call; ``retry_after`` is the provider's own wait, in seconds."""

    effect: CircuitEffect
    rate_limited: bool = False
    retry_after: float | None = None

    @property
    def outcome(self) -> Outcome:
        return Outcome(KINDS[self.effect, self.rate_limited], retry_after=self.retry_after)


EFFECTS = st.sampled_from(
    [
        CircuitEffect.FAILURE,
        CircuitEffect.FAILURE,
        CircuitEffect.SUCCESS,
        CircuitEffect.SUCCESS,
        CircuitEffect.NEUTRAL,
    ]
)
HINTS = st.sampled_from([None, None, None, None, 0.0, 0.5, 3.0, 45.0, 7200.0])
FAILURES = st.builds(CallResult, st.just(CircuitEffect.FAILURE), rate_limited=st.booleans())
VERDICTS = st.builds(CallResult, EFFECTS, rate_limited=st.booleans(), retry_after=HINTS)
LEASE_TIMES = st.sampled_from([2.0, 8.0, 30.0, 200.0])

CORNERS = {
    "opened by failures",
    "opened by a rate limit",
    "opened by the rate alone",
    "window's edge",
    "refused one moment before the wait was over",
    "half-open",
    "several trials at once",
    "all places taken",
    "trial succeeded",
    "trial neutral",
    "re-opened",
    "re-opened with back-off",
    "re-opened again and again",
    "wait capped",
    "closed by trials",
    "trial left to a watch",
    "no watch came",
    "left out while ramping",
    "taken while ramping",
    "ramp over",
    "opened again while ramping",
    "reset while ramping",
    "clock back while ramping",
    "lease ran out",
    "answer after its lease",
    "answer of an earlier generation",
    "paused while closed",
    "paused while open",
    "paused while half_open",
    "paused by a late answer",
    "paused longer than open",
    "open longer than paused",
    "pause cut",
    "hint obeyed by nobody",
    "hint lengthened a pause",
    "hint did not shorten a pause",
    "rate limit with a hint left the streak alone",
    "failure with a hint opened and paused",
    "trial paused and gave its place back",
    "refused one moment before the pause was over",
    "as before after the pause",
    "clock back while paused",
    "held over paused",
    "reset while paused",
    "trial settled twice",
    "ticket without a lease at a half-open circuit",
    "hour-old streak forgotten",
    "clock back while closed",
    "clock back while open",
    "clock back while half_open",
    "clock back while held",
    "clock back with leases",
    "held over closed",
    "held over open",
    "held over half_open",
    "hold ran out",
    "reset with trials under way",
    "disabled while open",
}
seen: Counter[str] = Counter()


@dataclass
class Issued:
    """A ticket of the circuit and the pass of the description that belongs to it."""

    admission: Admission
    given: ModelTicket
    settled: bool = field(default=False)

    @property
    def ticket(self) -> Ticket:
        return self.admission.ticket


class Lockstep(RuleBasedStateMachine):
    tickets = Bundle("tickets")

    @initialize(rules=SOME_RULES)
    def start(self, rules: BreakerRules) -> None:
        self.rules = rules
        self.gate = Gate(Target("p", "m"), ADDRESS, "key", rules)
        self.now = START
        self.values: dict[str, str | None] = {}
        self.told = BreakerModel(rules)
        self.trials: list[Issued] = []
        self.names = 0

    # -- what both are asked and told

    @property
    def circuit(self) -> Circuit:
        return load_or_default(self.values.get(self.gate.circuit_key), Circuit)

    @property
    def free(self) -> bool:
        """Whether calls are admitted, and count as those of a closed circuit."""
        return (
            self.told.mood == "closed" and not self.told.held(self.now) and not self.told.is_paused(self.now)
        )

    def read(self, keys: Any) -> dict[str, str | None]:
        return {key: self.values.get(key) for key in keys}

    def keep(self, writes: Writes) -> None:
        """The records as the store would keep them: a transition is a new generation, and none goes back."""
        before = self.circuit
        self.values.update({key: write.text if write else None for key, write in writes.items()})
        after = self.circuit
        assert after.generation >= before.generation
        assert after.generation > before.generation or after.state is before.state

    def admit(self, gate: Gate, lease_time: float, ask_id: str = "") -> tuple[Writes, Admission | Refusal]:
        self.names += 1
        request = build_reservation_request(f"trial-{self.names}", lease_seconds=lease_time, ask_id=ask_id)
        return gates.admit(gate, request, self.read(gate.keys_with_budgets(request)), self.now)

    def ask(self, lease_time: float = 30.0, ask_id: str = "") -> Issued | Refusal:
        before = self.circuit
        writes, answer = self.admit(self.gate, lease_time, ask_id)
        if before.state is CircuitState.CLOSED and not before.held and not before.until:
            assert self.gate.circuit_key not in writes, "asking a closed circuit writes nothing"
        self.keep(writes)
        digest = sha256(f"{ask_id} {self.gate.circuit_key}".encode()).digest()
        position = int.from_bytes(digest[:6]) / 2**48 if ask_id else None
        given = self.told.admit(self.now, f"trial-{self.names}", self.now + lease_time, position)
        if isinstance(answer, Refusal):
            assert reason_of(answer) == given
            self.check_refusal(answer)
            return answer
        return self.admitted(before, answer, given)

    def check_refusal(self, refusal: Refusal) -> None:
        if reason_of(refusal) == "circuit_open":
            assert refusal.retry_at == self.told.opens_again_at
            seen["open longer than paused"] += self.told.pause_ends_at(self.now) is not None
        elif reason_of(refusal) == "paused":
            seen[f"paused while {self.told.mood}"] += 1
            seen["paused longer than open"] += (
                self.told.mood == "open" and self.now < self.told.opens_again_at
            )
            assert refusal.retry_at == self.told.pause_ends_at(self.now)
        elif refusal.reason == "probing":
            seen["all places taken"] += 1
            assert refusal.retry_at == min(self.told.trials.values())

    def admitted(self, before: Circuit, admission: Admission, given: Any) -> Issued:
        assert isinstance(given, ModelTicket), f"admitted, but the rules say {given}"
        assert admission.ticket.lease == given.trial
        if before.state is CircuitState.OPEN and self.now >= before.at:
            assert self.now >= before.until, "an open circuit admits nobody before its time"
        issued = Issued(admission, given)
        if admission.ticket.lease:
            seen["half-open"] += 1
            self.trials.append(issued)
        return issued

    def settle(self, issued: Issued, verdict: CallResult) -> None:
        if self.told_twice(issued):
            return
        before = self.circuit
        self.note_settling(issued)
        settlement = Settlement(verdict.outcome, 100, 0, fallback=False)
        step = gate_settlement.settle(self.gate, issued.admission, settlement)
        writes = step.change(self.read(step.keys), self.now)
        assert writes == step.change(self.read(step.keys), self.now), "a rule has no dice"
        self.keep(writes)
        after = self.circuit
        opened = after.state is CircuitState.OPEN and before.state is not CircuitState.OPEN
        self.follow(issued, verdict, opened=opened)
        issued.settled = True

    def told_twice(self, issued: Issued) -> bool:
        """A ticket of a closed circuit carries no name; to settle it once is the caller's duty."""
        return issued.settled and issued.ticket.lease is None and issued.given.era == self.told.era

    def follow(self, issued: Issued, verdict: CallResult, *, opened: bool) -> None:
        told, mood = self.told, self.told.mood
        proofs, count, pause = told.trial_successes, len(told.trials), told.pause_ends_at(self.now)
        streak, ramping = told.failures_in_a_row, told.is_ramping(self.now)
        wait = told.settle(
            issued.given,
            self.now,
            verdict.effect,
            rate_limited=verdict.rate_limited,
            hint=verdict.retry_after,
            opened=opened,
        )
        if wait is not None:
            chosen = self.circuit.until - self.now
            assert wait.shortest - TINY <= chosen <= wait.longest + TINY
            told.opens_again_at = self.circuit.until
            self.note_opening(verdict, chosen, again=mood == "half_open" or ramping)
            seen["opened again while ramping"] += ramping
        elif mood == told.mood == "half_open" and len(told.trials) < count:
            seen["trial succeeded" if told.trial_successes > proofs else "trial neutral"] += 1
        elif mood == "half_open" and told.mood == "closed":
            seen["closed by trials"] += 1
        if verdict.effect is CircuitEffect.FAILURE and verdict.retry_after is not None:
            self.note_hint(issued, verdict, pause, opened=opened)
            is_alone = verdict.rate_limited and told.pause_ends_at(self.now) is not None
            seen["rate limit with a hint left the streak alone"] += (
                is_alone and told.mood == "closed" and told.failures_in_a_row == streak > 0
            )
            seen["trial paused and gave its place back"] += (
                is_alone and told.mood == "half_open" and len(told.trials) < count
            )

    # -- what was visited

    def note_settling(self, issued: Issued) -> None:
        told = self.told
        if issued.given.era != told.era:
            seen["answer of an earlier generation"] += 1
        elif told.mood == "half_open" and issued.ticket.lease is None:
            seen["ticket without a lease at a half-open circuit"] += 1
        elif told.mood == "half_open" and issued.settled:
            seen["trial settled twice"] += 1
        elif told.mood == "half_open" and told.trials.get(issued.ticket.lease or "", 0.0) <= self.now:
            seen["answer after its lease"] += 1

    def note_hint(self, issued: Issued, verdict: CallResult, before: float | None, *, opened: bool) -> None:
        after = self.told.pause_ends_at(self.now)
        if after is None:
            seen["hint obeyed by nobody"] += 1
            return
        seen["pause cut"] += verdict.retry_after > self.rules.max_pause
        seen["paused by a late answer"] += issued.given.era != self.told.era and not opened
        seen["failure with a hint opened and paused"] += opened and not verdict.rate_limited
        if before is not None:
            seen[f"hint {'lengthened' if after > before else 'did not shorten'} a pause"] += 1

    def note_opening(self, verdict: CallResult, wait: float, *, again: bool) -> None:
        rules = self.rules
        if again:
            seen["re-opened"] += 1
            base = rules.rate_limit_timeout if verdict.rate_limited else rules.recovery_timeout
            seen["re-opened with back-off"] += wait > base
            seen["wait capped"] += wait == max(base, rules.max_recovery_timeout) and rules.backoff > 1
        else:
            seen["opened by a rate limit" if verdict.rate_limited else "opened by failures"] += 1

    # -- the stories

    @rule(target=tickets, lease_time=LEASE_TIMES)
    def somebody_asks(self, lease_time: float) -> Any:
        answer = self.ask(lease_time)
        return answer if isinstance(answer, Issued) else multiple()

    @precondition(lambda self: self.free)
    @rule(target=tickets, verdict=FAILURES)
    def the_provider_fails(self, verdict: CallResult) -> Any:
        """Somebody has a call under way while others see it fail often enough."""
        under_way, self_made = self.ask(), self.told.era
        for _ in range(self.rules.failure_threshold):
            if self.told.era == self_made:
                failing = self.ask()
                assert isinstance(failing, Issued)
                self.settle(failing, verdict)
        assert self.circuit.state is CircuitState.OPEN
        return under_way

    @precondition(lambda self: self.free)
    @rule(
        pattern=st.lists(st.booleans(), min_size=3, max_size=8),
        part=st.sampled_from([0.0, 0.02, 0.19, 0.475]),
    )
    def mixed_weather(self, pattern: list[bool], part: float) -> None:
        """Answers of both kinds, spread over the window, so that the rate decides and not the streak."""
        for failed in pattern:
            self.now += part * self.rules.window
            issued = self.ask()
            assert not isinstance(issued, Refusal) or self.circuit.state is CircuitState.OPEN
            if isinstance(issued, Refusal):
                return
            streak, doubts = self.told.count_failures_in_a_row(self.now), self.told.ambiguous_failures
            ramping = self.told.is_ramping(self.now)
            self.settle(issued, CallResult(CircuitEffect.FAILURE if failed else CircuitEffect.SUCCESS))
            seen["window's edge"] += self.told.ambiguous_failures > doubts
            opened = self.circuit.state is CircuitState.OPEN
            is_streak = streak + 1 >= self.rules.failure_threshold
            seen["opened by the rate alone"] += opened and not ramping and not is_streak

    @precondition(lambda self: self.told.mood == "open" and not self.told.held(self.now))
    @rule(target=tickets, lease_time=LEASE_TIMES)
    def the_wait_is_over(self, lease_time: float) -> Any:
        self.ask()  # writes down a clock that was set back
        if self.told.mood == "open":
            self.now = self.told.opens_again_at - 0.001
            assert isinstance(self.ask(), Refusal)
            seen["refused one moment before the wait was over"] += 1
            self.now = self.told.opens_again_at
        issued = self.ask(lease_time)
        return issued if isinstance(issued, Issued) else multiple()

    @precondition(lambda self: self.told.mood == "open" and not self.told.held(self.now))
    @rule(verdicts=st.lists(FAILURES, min_size=2, max_size=4))
    def trial_after_trial_fails(self, verdicts: list[CallResult]) -> None:
        for verdict in verdicts:
            self.ask()
            self.now = max(self.now, self.told.opens_again_at, self.told.pause_ends_at(self.now) or 0.0)
            issued = self.ask()
            if isinstance(issued, Issued):
                self.settle(issued, verdict)
        seen["re-opened again and again"] += self.told.reopenings > 1

    @precondition(lambda self: self.told.mood != "closed" and not self.told.held(self.now))
    @rule(
        target=tickets,
        ids=st.lists(st.uuids().map(str), min_size=1, max_size=6),
        part=st.sampled_from([0.0, 0.3, 1.0]),
        back=st.sampled_from([0.0, 0.0, 3.0]),
    )
    def it_comes_back(self, ids: list[str], part: float, back: float) -> Any:
        """Its trials succeed, and then asks come that may go elsewhere."""
        for _ in range(2 * self.rules.success_threshold):
            self.now = max(self.now, self.told.opens_again_at, self.told.pause_ends_at(self.now) or 0.0)
            trial = self.ask()
            if isinstance(trial, Issued):
                self.settle(trial, CallResult(CircuitEffect.SUCCESS))
        self.now -= back
        seen["clock back while ramping"] += bool(back and self.told.ramp_ends_at)
        return self.others_may_take_it(ids, part)

    @precondition(lambda self: self.told.is_ramping(self.now))
    @rule(
        target=tickets,
        ids=st.lists(st.uuids().map(str), min_size=1, max_size=6),
        part=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    )
    def others_may_take_it(self, ids: list[str], part: float) -> Any:
        self.now += part * self.rules.ramp
        was_ramping = self.circuit.until > 0 and self.told.mood == "closed"
        answers = [self.ask(ask_id=one) for one in ids]
        ramping = self.told.is_ramping(self.now)
        left_out = [one for one in answers if isinstance(one, Refusal) and one.reason == "ramping"]
        seen["left out while ramping"] += bool(left_out)
        seen["taken while ramping"] += ramping and any(isinstance(one, Issued) for one in answers)
        seen["ramp over"] += was_ramping and self.told.mood == "closed" and not ramping
        return multiple(*(one for one in answers if isinstance(one, Issued)))

    @precondition(lambda self: self.told.mood == "half_open")
    @rule(target=tickets, lease_times=st.lists(LEASE_TIMES, min_size=2, max_size=5))
    def several_ask(self, lease_times: list[float]) -> Any:
        answers = [self.ask(lease_time) for lease_time in lease_times]
        seen["several trials at once"] += len(self.told.trials) > 1
        return multiple(*(answer for answer in answers if isinstance(answer, Issued)))

    @rule(target=tickets, hint=st.sampled_from([0.5, 3.0, 45.0, 7200.0]), limited=st.booleans())
    def the_provider_wants_a_pause(self, hint: float, *, limited: bool) -> Any:
        """It says so to one of two calls, whatever the circuit is; the other is still under way."""
        first, second = self.ask(), self.ask()
        if isinstance(first, Refusal):
            return multiple()
        self.settle(first, CallResult(CircuitEffect.FAILURE, limited, hint))
        return second if isinstance(second, Issued) else multiple()

    @precondition(lambda self: self.told.is_paused(self.now))
    @rule()
    def the_pause_is_over(self) -> None:
        """The circuit is then what it was before."""
        self.ask()  # writes down a clock that was set back
        before, end = self.circuit, self.told.pause_ends_at(self.now)
        if end is None or not self.told.is_paused(self.now):
            return
        self.now = max(self.now, end - 0.001)
        assert isinstance(self.ask(), Refusal)
        seen["refused one moment before the pause was over"] += 1
        self.now = end
        view = gates.view(self.gate, self.read(self.gate.keys), self.now)
        assert circuits.normalize(self.circuit, end) == circuits.normalize(before, end)
        assert view.state == breaker.view(before, self.now).state
        seen["as before after the pause"] += 1

    @precondition(lambda self: self.told.trials)
    @rule(data=st.data(), effect=EFFECTS, hint=HINTS, limited=st.booleans())
    def a_trial_answers(
        self, data: st.DataObject, effect: CircuitEffect, hint: float | None, *, limited: bool
    ) -> None:
        open_trials = [one for one in self.trials if one.ticket.lease in self.told.trials]
        issued = data.draw(st.sampled_from(open_trials))
        self.settle(issued, CallResult(effect, limited, hint))

    @precondition(lambda self: self.told.trials and self.told.mood == "half_open")
    @rule()
    def a_trial_is_killed(self) -> None:
        """Nobody will answer for it; its place comes back at the very end of its lease."""
        self.ask()  # writes down a clock that was set back
        if self.told.trials:
            self.now = max(self.now, min(self.told.trials.values()))
            seen["lease ran out"] += 1
            self.ask()

    @rule(issued=tickets, verdict=VERDICTS)
    def any_ticket_is_settled(self, issued: Issued, verdict: CallResult) -> None:
        self.settle(issued, verdict)

    @precondition(lambda self: self.told.mood == "half_open")
    @rule(issued=tickets, effect=EFFECTS)
    def an_old_ticket_is_settled(self, issued: Issued, effect: CircuitEffect) -> None:
        self.settle(issued, CallResult(effect))

    @rule(seconds=st.sampled_from([0.25, 1.0, 4.0, 19.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.free)
    @rule(seconds=st.sampled_from([3599.0, 3600.0, 10_000_000.0]))
    def a_failure_and_a_quiet_hour(self, seconds: float) -> None:
        failing = self.ask()
        assert isinstance(failing, Issued)
        self.settle(failing, CallResult(CircuitEffect.FAILURE))
        streak = self.told.count_failures_in_a_row(self.now)
        self.now += seconds
        seen["hour-old streak forgotten"] += streak > self.told.count_failures_in_a_row(self.now)
        self.ask()

    @rule(seconds=st.sampled_from([0.5, 3.0, 50.0, 100_000.0]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        self.now -= seconds
        if self.now < self.told.changed_at:
            seen[f"clock back while {self.told.mood}"] += 1
            seen["clock back while held"] += self.told.held_until is not None
            seen["clock back with leases"] += bool(self.told.trials)
        if self.now < self.told.pause_changed_at:
            seen["clock back while paused"] += self.told.pause_ends_at(self.now) is not None
        self.ask()

    @precondition(lambda self: self.told.held_until is None)
    @rule(seconds=st.sampled_from([1.0, 6.0, 50.0, float("inf")]))
    def the_operator_holds(self, seconds: float) -> None:
        values = self.read((*self.gate.keys, self.gate.known_targets_key))
        wanted = None if seconds == float("inf") else seconds
        self.keep(operator_override.trip(self.gate, wanted, values, self.now)[0])
        self.told.force_open(self.now, self.now + seconds)
        seen[f"held over {self.told.mood}"] += 1
        seen["held over paused"] += self.told.pause_ends_at(self.now) is not None
        assert isinstance(self.ask(), Refusal)

    @precondition(lambda self: self.told.held_until not in {None, float("inf")})
    @rule()
    def the_hold_ends(self) -> None:
        self.ask()
        if self.told.held_until is not None:
            self.now = self.told.held_until
            seen["hold ran out"] += 1
            self.ask()

    @precondition(
        lambda self: (
            self.told.held_until is not None
            or self.told.mood == "half_open"
            or self.told.pause_ends_at(self.now) is not None
            or self.told.is_ramping(self.now)
        )
    )
    @rule()
    def the_operator_resets(self) -> None:
        seen["reset while ramping"] += self.told.is_ramping(self.now)
        seen["reset with trials under way"] += bool(self.told.trials)
        seen["reset while paused"] += self.told.pause_ends_at(self.now) is not None
        before = self.circuit.generation
        self.keep(operator_override.reset(self.gate, self.read(self.gate.keys), self.now)[0])
        assert self.circuit.generation > before
        self.told.reset(self.now)

    @precondition(lambda self: self.told.mood != "closed")
    @rule(target=tickets, late=st.sampled_from([0.0, 3.0, 10.0]))
    def a_user_comes_while_a_watch_may_probe(self, late: float) -> Any:
        """Trials are left to the watch for ten seconds after the wait, and after each of them."""
        if self.told.mood == "open":
            self.now = max(self.now, self.told.opens_again_at)
        self.now += late
        watched = Gate(self.gate.target, ADDRESS, self.gate.identity, self.rules, is_probed=True)
        self.names += 1
        request = build_reservation_request(f"trial-{self.names}", lease_seconds=30.0)
        before, values = self.circuit, self.read(watched.keys_with_budgets(request))
        writes, answer = gates.admit(watched, request, values, self.now)
        self.keep(writes)
        given = self.told.admit(self.now, f"trial-{self.names}", self.now + 30.0, head_start=10.0)
        if isinstance(answer, Refusal):
            assert reason_of(answer) == given
            seen["trial left to a watch"] += given == "probing"
            return multiple()
        seen["no watch came"] += answer.ticket.lease is not None
        return self.admitted(before, answer, given)

    @precondition(lambda self: self.told.held_until is None)
    @rule(target=tickets, verdict=VERDICTS)
    def somebody_has_it_disabled(self, verdict: CallResult) -> Issued:
        off = Gate(self.gate.target, ADDRESS, self.gate.identity, BreakerRules(enabled=False))
        writes, admission = self.admit(off, 9.0)
        assert writes == {}
        assert isinstance(admission, Admission)
        step = gate_settlement.settle(off, admission, Settlement(verdict.outcome, 100, 0, fallback=False))
        written = step.change(self.read(step.keys), self.now)
        assert not written.keys() & {self.gate.circuit_key, self.gate.pause_key}
        seen["disabled while open"] += self.told.mood == "open"
        return Issued(admission, ModelTicket(self.told.era))

    # -- what always holds

    @invariant()
    def never_more_trials_than_places(self) -> None:
        live = [lease for lease in self.circuit.leases if lease.until > self.now]
        needed = self.rules.success_threshold - self.circuit.successes
        assert len(live) <= max(0, min(self.rules.half_open_limit, needed))
        assert self.circuit.state is CircuitState.HALF_OPEN or not self.circuit.leases

    @invariant()
    def the_record_is_plain_values(self) -> None:
        assert plain(astuple(self.circuit))

    @invariant()
    def both_look_alike(self) -> None:
        told = copy(self.told)
        told.set_clock(self.now)
        looks = breaker.view(self.circuit, self.now)
        if told.held(self.now):
            assert looks.state is CircuitState.FORCED_OPEN
            assert looks.retry_at == told.force_open_ends_at()
        elif told.mood == "open" and self.now < told.opens_again_at:
            assert (looks.state, looks.retry_at) == (CircuitState.OPEN, told.opens_again_at)
        elif told.mood in {"open", "half_open"}:
            assert (looks.state, looks.retry_at) == (CircuitState.HALF_OPEN, None)
        else:
            assert (looks.state, looks.retry_at) == (CircuitState.CLOSED, None)
            assert looks.failures == told.count_failures_in_a_row(self.now)
            share = breaker.share_of(circuits.normalize(self.circuit, self.now), self.now, self.rules)
            assert abs(share - told.share(self.now)) < TINY

    @invariant()
    def a_pause_looks_like_one(self) -> None:
        shown = gates.view(self.gate, self.read(self.gate.keys), self.now)
        if self.told.is_paused(self.now):
            end = self.told.pause_ends_at(self.now)
            assert (shown.state, shown.retry_at, shown.open_reason) == ("open", end, OpenReason.PAUSE)
        else:
            expected = OpenReason.FAILURES if shown.state == "open" else None
            assert shown.open_reason is expected

    @invariant()
    def a_record_is_kept_while_it_means_something(self) -> None:
        expires = circuits.expires_at(self.circuit, self.rules)
        ends = [end for _, end in self.circuit.leases]
        assert expires is None or expires > max(self.circuit.at, self.circuit.until, *ends)


def reason_of(refusal: Refusal) -> str:
    return "paused" if refusal.open_reason is OpenReason.PAUSE else refusal.reason


def plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(plain, value))
    if isinstance(value, dict):
        return plain((*value, *value.values()))
    return value is None or isinstance(value, str | int | float)


def test_the_breaker_keeps_to_the_description_whatever_happens() -> None:
    """What the examples are depends on the modules that are loaded, so that a rare corner may need more."""
    seen.clear()
    for is_first in (True, False, False):
        run_state_machine_as_test(
            Lockstep,
            settings=settings(
                derandomize=is_first,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                max_examples=400,
                stateful_step_count=40,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if all(seen[corner] for corner in CORNERS):
            break
    assert set(seen) <= CORNERS
    assert {corner for corner in CORNERS if not seen[corner]} == set()


def test_the_description_itself_clamps_hints_to_an_hour() -> None:
    assert [clamp(hint) for hint in (-5, 0, 1, 30, 3600, 9999)] == [1, 1, 1, 30, 3600, 3600]
    assert [clamp(hint, 10.0) for hint in (-5, 9, 10, 11)] == [1, 9, 10, 10]
