"""The circuit breaker in lockstep with an independent description of its rules (``breaker_model``).

Hypothesis writes the stories. Left alone it would seldom leave the closed state, so there are rules that open
a circuit in one go, wait exactly until it admits again, take several trials and let leases run out; at the
end the test asserts that every corner was really visited. The run is deterministic.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from breaker_model import BreakerModel, ModelTicket, clamp
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

from llmfail.core.admission import breaker
from llmfail.core.admission.breaker import (
    BreakerRules,
    CallResult,
    Circuit,
    CircuitRefusal,
    CircuitState,
    Ticket,
    TrialLease,
)
from llmfail.core.classification.outcome import CircuitEffect

START = 1_000_000.0
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
)
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
VERDICTS = st.builds(CallResult, EFFECTS, rate_limited=st.booleans(), retry_after=HINTS)
LEASE_TIMES = st.sampled_from([2.0, 8.0, 30.0, 200.0])

CORNERS = {
    "opened by failures",
    "opened by a rate limit",
    "opened by a hint",
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
    "lease ran out",
    "answer after its lease",
    "answer of an earlier generation",
    "late hint lengthened a wait",
    "late hint did not shorten a wait",
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

    ticket: Ticket
    given: ModelTicket
    settled: bool = field(default=False)


class Lockstep(RuleBasedStateMachine):
    tickets = Bundle("tickets")

    @initialize(rules=SOME_RULES)
    def start(self, rules: BreakerRules) -> None:
        self.rules = rules
        self.now = START
        self.circuit = Circuit()
        self.told = BreakerModel(rules)
        self.trials: list[Issued] = []
        self.names = 0

    # -- what both are asked and told

    def keep(self, after: Circuit) -> None:
        """The record as the store would keep it: a transition is a new generation, and none goes back."""
        before, self.circuit = self.circuit, after
        assert after.generation >= before.generation
        assert after.generation > before.generation or after.state is before.state

    def ask(self, lease_time: float = 30.0) -> Issued | CircuitRefusal:
        self.names += 1
        lease = TrialLease(f"trial-{self.names}", self.now + lease_time)
        before = self.circuit
        after, answer = breaker.admit(before, self.now, self.rules, lease)
        if before.state is CircuitState.CLOSED and not before.held:
            assert after is before, "asking a closed circuit writes nothing"
        self.keep(after)
        given = self.told.admit(self.now, lease.id, lease.until)
        if isinstance(answer, CircuitRefusal):
            assert answer.reason == given
            self.check_refusal(answer)
            return answer
        return self.admitted(before, answer, given)

    def check_refusal(self, refusal: CircuitRefusal) -> None:
        if refusal.reason == "circuit_open":
            assert refusal.retry_at == self.told.opens_again_at
        elif refusal.reason == "probing":
            seen["all places taken"] += 1
            assert refusal.retry_at == min(self.told.trials.values())

    def admitted(self, before: Circuit, ticket: Ticket, given: Any) -> Issued:
        assert isinstance(given, ModelTicket), f"admitted, but the rules say {given}"
        assert ticket.lease == given.trial
        if before.state is CircuitState.OPEN and self.now >= before.at:
            assert self.now >= before.until, "an open circuit admits nobody before its time"
        issued = Issued(ticket, given)
        if ticket.lease:
            seen["half-open"] += 1
            self.trials.append(issued)
        return issued

    def settle(self, issued: Issued, verdict: CallResult) -> None:
        if self.told_twice(issued):
            return
        before = self.circuit
        self.note_settling(issued)
        after = breaker.settle(before, issued.ticket, verdict, self.now, self.rules)
        again = breaker.settle(before, issued.ticket, verdict, self.now, self.rules)
        assert after == again, "a rule has no dice"
        self.keep(after)
        opened = after.state is CircuitState.OPEN and before.state is not CircuitState.OPEN
        self.follow(issued, verdict, opened=opened)
        issued.settled = True

    def told_twice(self, issued: Issued) -> bool:
        """A ticket of a closed circuit carries no name; to settle it once is the caller's duty."""
        return issued.settled and issued.ticket.lease is None and issued.given.era == self.told.era

    def follow(self, issued: Issued, verdict: CallResult, *, opened: bool) -> None:
        told, mood, end = self.told, self.told.mood, self.told.opens_again_at
        proofs, count = told.trial_successes, len(told.trials)
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
            self.note_opening(verdict, chosen, again=mood == "half_open")
        elif mood == told.mood == "half_open" and len(told.trials) < count:
            seen["trial succeeded" if told.trial_successes > proofs else "trial neutral"] += 1
        elif mood == "half_open" and told.mood == "closed":
            seen["closed by trials"] += 1
        elif mood == "open" and verdict.effect is CircuitEffect.FAILURE and verdict.retry_after is not None:
            longer = told.opens_again_at > end
            seen["late hint lengthened a wait" if longer else "late hint did not shorten a wait"] += 1

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

    def note_opening(self, verdict: CallResult, wait: float, *, again: bool) -> None:
        rules = self.rules
        if again:
            seen["re-opened"] += 1
            if verdict.retry_after is None:
                base = rules.rate_limit_timeout if verdict.rate_limited else rules.recovery_timeout
                seen["re-opened with back-off"] += wait > base
                seen["wait capped"] += wait == max(base, rules.max_recovery_timeout) and rules.backoff > 1
        elif verdict.retry_after is not None:
            seen["opened by a hint"] += 1
        else:
            seen["opened by a rate limit" if verdict.rate_limited else "opened by failures"] += 1

    # -- the stories

    @rule(target=tickets, lease_time=LEASE_TIMES)
    def somebody_asks(self, lease_time: float) -> Any:
        answer = self.ask(lease_time)
        return answer if isinstance(answer, Issued) else multiple()

    @precondition(lambda self: self.told.mood == "closed" and not self.told.held(self.now))
    @rule(target=tickets, verdict=VERDICTS.filter(lambda verdict: verdict.effect is CircuitEffect.FAILURE))
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

    @precondition(lambda self: self.told.mood == "closed" and not self.told.held(self.now))
    @rule(
        pattern=st.lists(st.booleans(), min_size=3, max_size=8),
        part=st.sampled_from([0.0, 0.02, 0.19, 0.475]),
    )
    def mixed_weather(self, pattern: list[bool], part: float) -> None:
        """Answers of both kinds, spread over the window, so that the rate decides and not the streak."""
        for failed in pattern:
            self.now += part * self.rules.window
            issued = self.ask()
            if isinstance(issued, CircuitRefusal):
                return
            streak, doubts = self.told.count_failures_in_a_row(self.now), self.told.ambiguous_failures
            self.settle(issued, CallResult(CircuitEffect.FAILURE if failed else CircuitEffect.SUCCESS))
            seen["window's edge"] += self.told.ambiguous_failures > doubts
            opened = self.circuit.state is CircuitState.OPEN
            seen["opened by the rate alone"] += opened and streak + 1 < self.rules.failure_threshold

    @precondition(lambda self: self.told.mood == "open" and not self.told.held(self.now))
    @rule(target=tickets, lease_time=LEASE_TIMES)
    def the_wait_is_over(self, lease_time: float) -> Any:
        self.ask()  # writes down a clock that was set back
        if self.told.mood == "open":
            self.now = self.told.opens_again_at - 0.001
            assert isinstance(self.ask(), CircuitRefusal)
            seen["refused one moment before the wait was over"] += 1
            self.now = self.told.opens_again_at
        issued = self.ask(lease_time)
        return issued if isinstance(issued, Issued) else multiple()

    @precondition(lambda self: self.told.mood == "open" and not self.told.held(self.now))
    @rule(
        verdicts=st.lists(
            st.builds(CallResult, st.just(CircuitEffect.FAILURE), st.booleans(), HINTS),
            min_size=2,
            max_size=4,
        )
    )
    def trial_after_trial_fails(self, verdicts: list[CallResult]) -> None:
        for verdict in verdicts:
            self.ask()
            self.now = max(self.now, self.told.opens_again_at)
            issued = self.ask()
            if isinstance(issued, Issued):
                self.settle(issued, verdict)
        seen["re-opened again and again"] += self.told.reopenings > 1

    @precondition(lambda self: self.told.mood == "half_open")
    @rule(target=tickets, lease_times=st.lists(LEASE_TIMES, min_size=2, max_size=5))
    def several_ask(self, lease_times: list[float]) -> Any:
        answers = [self.ask(lease_time) for lease_time in lease_times]
        seen["several trials at once"] += len(self.told.trials) > 1
        return multiple(*(answer for answer in answers if isinstance(answer, Issued)))

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

    @precondition(lambda self: self.told.mood == "closed" and not self.told.held(self.now))
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
        self.ask()

    @precondition(lambda self: self.told.held_until is None)
    @rule(seconds=st.sampled_from([1.0, 6.0, 50.0, float("inf")]))
    def the_operator_holds(self, seconds: float) -> None:
        until = None if seconds == float("inf") else self.now + seconds
        self.keep(breaker.force_open(self.circuit, self.now, until))
        self.told.force_open(self.now, self.now + seconds)
        seen[f"held over {self.told.mood}"] += 1
        assert isinstance(self.ask(), CircuitRefusal)

    @precondition(lambda self: self.told.held_until not in {None, float("inf")})
    @rule()
    def the_hold_ends(self) -> None:
        self.ask()
        if self.told.held_until is not None:
            self.now = self.told.held_until
            seen["hold ran out"] += 1
            self.ask()

    @precondition(lambda self: self.told.held_until is not None or self.told.mood == "half_open")
    @rule()
    def the_operator_resets(self) -> None:
        seen["reset with trials under way"] += bool(self.told.trials)
        before = self.circuit.generation
        self.keep(breaker.reset(self.circuit, self.now))
        assert self.circuit.generation > before
        self.told.reset(self.now)

    @precondition(lambda self: self.told.held_until is None)
    @rule(target=tickets, verdict=VERDICTS)
    def somebody_has_it_disabled(self, verdict: CallResult) -> Issued:
        off = BreakerRules(enabled=False)
        after, ticket = breaker.admit(self.circuit, self.now, off, TrialLease("unused", self.now + 9))
        assert after is self.circuit
        assert isinstance(ticket, Ticket)
        assert breaker.settle(self.circuit, ticket, verdict, self.now, off) is self.circuit
        seen["disabled while open"] += self.told.mood == "open"
        return Issued(ticket, ModelTicket(self.told.era))

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

    @invariant()
    def a_record_is_kept_while_it_means_something(self) -> None:
        expires = breaker.expires_at(self.circuit, self.rules)
        ends = [end for _, end in self.circuit.leases]
        assert expires is None or expires > max(self.circuit.at, self.circuit.until, *ends)


def plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, str | int | float)


def test_the_breaker_keeps_to_the_description_whatever_happens() -> None:
    seen.clear()
    run_state_machine_as_test(
        Lockstep,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            max_examples=600,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert set(seen) <= CORNERS
    assert {corner for corner in CORNERS if not seen[corner]} == set()


def test_the_description_itself_clamps_hints_to_an_hour() -> None:
    assert [clamp(hint) for hint in (-5, 0, 1, 30, 3600, 9999)] == [1, 1, 1, 30, 3600, 3600]
