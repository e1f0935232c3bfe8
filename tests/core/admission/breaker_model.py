"""The rules of the circuit breaker and of pauses, told a second time and in other words.

It is written from the documents, not from ``core.admission``: where that keeps counters, slots and frozen
records, this keeps the history of what was said and reads everything off it. It is slow and mutable,
and it knows less: the wait after a re-opening is a span (``Wait``), and a call at the edge of the rate window
may count or not, so ``settle`` is told what the circuit did and objects only where the rules leave no choice.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, NamedTuple

from llmfail.core.admission.circuit import BreakerRules
from llmfail.core.classification.outcome import CircuitEffect

HOUR = 3600.0
FOREVER = float("inf")
ROUNDING = 1e-6

CircuitState = Literal["closed", "open", "half_open"]
RefusalReason = Literal["circuit_open", "paused", "probing", "held", "ramping"]


class ModelTicket(NamedTuple):
    """Leave for one call; ``trial`` names the place it takes in a half-open circuit."""

    era: int
    trial: str | None = None


class CountedAnswer(NamedTuple):
    """A counted answer of a closed circuit. ``blurred``: the clock was set back since."""

    at: float
    failed: bool
    blurred: bool = False


class WaitRange(NamedTuple):
    shortest: float
    longest: float


@dataclass
class BreakerModel:
    rules: BreakerRules
    mood: CircuitState = "closed"
    era: int = 0
    changed_at: float = 0.0
    answered_at: float = 0.0
    failures_in_a_row: int = 0
    counted_answers: list[CountedAnswer] = field(default_factory=list)
    opens_again_at: float = 0.0
    reopenings: int = 0
    ramp_ends_at: float = 0.0
    trial_successes: int = 0
    trials: dict[str, float] = field(default_factory=dict)
    held_until: float | None = None
    ambiguous_failures: int = 0
    paused_until: float = 0.0
    pause_changed_at: float = 0.0

    # -- questions

    def held(self, now: float) -> bool:
        return self.held_until is not None and now < self.held_until

    def is_ramping(self, now: float) -> bool:
        is_begun = self.mood == "closed" and self.ramp_ends_at != 0.0
        return self.rules.enabled and is_begun and now < self.ramp_ends_at

    def share(self, now: float) -> float:
        """A tenth at first, all at the end, in a straight line."""
        left = (self.ramp_ends_at - now) / self.rules.ramp if self.is_ramping(now) else 0.0
        return 1.0 - 0.9 * min(left, 1.0)

    def count_trial_places(self) -> int:
        return min(self.rules.half_open_limit, self.rules.success_threshold - self.trial_successes)

    def count_failures_in_a_row(self, now: float) -> int:
        """Failures in a row; an hour without an answer or an operator forgets them."""
        return self.failures_in_a_row if now - self.answered_at < HOUR else 0

    def wait(self, *, rate_limited: bool) -> WaitRange:
        """How long the circuit stays open if it opens now. ``reopenings`` counts this one already: the first
        of them waits as long as the opening did.
        """
        base = self.rules.rate_limit_timeout if rate_limited else self.rules.recovery_timeout
        if self.reopenings < 2:
            return WaitRange(base, base)
        cap = max(base, self.rules.max_recovery_timeout)
        plain = base
        for _ in range(self.reopenings - 1):
            plain = min(cap, plain * self.rules.backoff)
        return WaitRange(plain, min(cap, plain * 1.1))

    def pause_ends_at(self, now: float) -> float | None:
        """When the pause ends; what was left of it stays when the clock was set back."""
        end = self.paused_until - max(self.pause_changed_at - now, 0.0)
        return end if now < end and self.rules.enabled else None

    def is_paused(self, now: float) -> bool:
        """Whether it is the pause that refuses, and not an operator or an opening that lasts longer."""
        told, end = copy(self), self.pause_ends_at(now)
        told.set_clock(now)
        return end is not None and not told.held(now) and (told.mood != "open" or told.opens_again_at < end)

    def list_possible_openings(self, now: float) -> set[bool]:
        """Whether a failure that is the last of the news opens: one answer, or both at the window's edge."""
        if self.count_failures_in_a_row(now) >= self.rules.failure_threshold:
            return {True}
        return {self._is_rate_reached(recent) for recent in self._list_possible_windows(now)}

    def _is_rate_reached(self, recent: list[CountedAnswer]) -> bool:
        failures = sum(one.failed for one in recent)
        enough = len(recent) >= self.rules.volume_threshold
        return enough and failures / len(recent) >= self.rules.failure_rate

    def _list_possible_windows(self, now: float) -> list[list[CountedAnswer]]:
        """Every reading of the window that its ten slots allow: what is surely young enough, and then
        one after the other what may be. A clock that was set back may empty the window.
        """
        slot = self.rules.window / 10
        ages = [(now - one.at, one) for one in reversed(self.counted_answers)]
        young = [one for age, one in ages if age < slot * 9 - ROUNDING and not one.blurred]
        edge = [[one] for age, one in ages if one not in young and (age < slot * 10 or one.blurred)]
        return list(accumulate(edge, initial=young))

    # -- events

    def set_clock(self, now: float) -> None:
        """A clock set back keeps every remaining duration as it was at the last change; what has run out
        stays run out.
        """
        back = self.changed_at - now
        if back > 0:
            self.changed_at = now
            self.answered_at -= back
            self.opens_again_at -= back
            self.held_until = None if self.held_until is None else self.held_until - back
            self.ramp_ends_at -= back if self.ramp_ends_at else 0.0
            self.trials = {name: end - back for name, end in self.trials.items()}
            self.counted_answers = [
                CountedAnswer(at - back, failed, blurred=True) for at, failed, _ in self.counted_answers
            ]
        self.failures_in_a_row = self.count_failures_in_a_row(now)
        self.held_until = self.held_until if self.held(now) else None
        self.trials = {name: end for name, end in self.trials.items() if now < end}
        if self.mood == "closed" and self.ramp_ends_at <= now:
            self.ramp_ends_at, self.reopenings = 0.0, 0

    def set_pause_clock(self, now: float) -> None:
        """A pause has a record of its own, and so a last change of its own."""
        back = max(self.pause_changed_at - now, 0.0)
        self.pause_changed_at -= back
        self.paused_until -= back

    def force_open_ends_at(self) -> float | None:
        """When a held circuit may admit again: a wait beneath that is longer counts as well."""
        if self.held_until is None or self.held_until == float("inf"):
            return None
        return max(self.held_until, self.opens_again_at) if self.mood == "open" else self.held_until

    def admit(  # noqa: PLR0911 - a reason each
        self, now: float, trial: str, ends_at: float, position: float | None = None, head_start: float = 0.0
    ) -> ModelTicket | RefusalReason:
        """``position``: where the ask stands among all, from 0 to 1; None: it must be taken while ramping.
        ``head_start``: how long it leaves trials to others, who have just come or will.
        """
        if self.rules.enabled:
            self.set_pause_clock(now)
        if self.is_paused(now):
            if self.mood != "closed":
                self.set_clock(now)
            return "paused"
        free = not self.rules.enabled or self.mood == "closed"
        if not free or self.held_until is not None or (self.mood == "closed" and self.ramp_ends_at):
            self.set_clock(now)  # asking a circuit that admits anyway writes nothing, whatever the clock says
        if self.held(now):
            return "held"
        if not self.rules.enabled:
            return ModelTicket(self.era)
        if position is not None and position >= self.share(now):
            return "ramping"
        if self.mood == "closed":
            return ModelTicket(self.era)
        begins = self.opens_again_at if self.mood == "open" else self.changed_at
        if begins <= now < begins + head_start:
            return "probing"
        return self._admit_trial(now, trial, ends_at)

    def _admit_trial(self, now: float, trial: str, ends_at: float) -> ModelTicket | RefusalReason:
        if self.mood == "open" and now < self.opens_again_at:
            return "circuit_open"
        if self.mood == "open":
            self._change_state("half_open", now)
        if len(self.trials) >= self.count_trial_places():
            return "probing"
        self.trials[trial] = ends_at
        self.changed_at = now
        return ModelTicket(self.era, trial)

    def settle(
        self,
        given: ModelTicket,
        now: float,
        effect: CircuitEffect,
        *,
        rate_limited: bool = False,
        hint: float | None = None,
        opened: bool,
    ) -> WaitRange | None:
        """``opened``: what the circuit under test did. Gives the wait it must have chosen then."""
        if not self.rules.enabled:
            return None
        if effect is CircuitEffect.FAILURE and self._pause(now, hint) and rate_limited:
            effect = CircuitEffect.NEUTRAL  # the pause is all that follows
        self.set_clock(now)
        if given.era != self.era or self.mood == "open":  # late, or admitted by somebody who had it disabled
            opens = {False}
        elif self.mood == "half_open":
            opens = {self._settle_trial(given.trial, now, effect)}
        else:
            opens = self._count_answer(now, effect)
        assert opened in opens, f"opened: {opened}, but the rules say {opens}"
        return self._open(now, rate_limited=rate_limited) if opened else None

    def _pause(self, now: float, hint: float | None) -> bool:
        """Whether the hint is a pause. It never shortens one."""
        wait = 0.0 if hint is None else clamp(hint, self.rules.max_pause)
        if not wait:
            return False
        self.set_pause_clock(now)
        if now + wait > self.paused_until:
            self.paused_until, self.pause_changed_at = now + wait, now
        return True

    def _count_answer(self, now: float, effect: CircuitEffect) -> set[bool]:
        if effect is CircuitEffect.NEUTRAL:
            return {False}
        failed = effect is CircuitEffect.FAILURE
        self.counted_answers.append(CountedAnswer(now, failed))
        self.failures_in_a_row = self.count_failures_in_a_row(now) + 1 if failed else 0
        self.changed_at = self.answered_at = now
        if effect is CircuitEffect.SUCCESS:
            return {False}
        opens = {True} if self.is_ramping(now) else self.list_possible_openings(now)
        self.ambiguous_failures += len(opens) > 1
        return opens

    def _settle_trial(self, name: str | None, now: float, effect: CircuitEffect) -> bool:
        """One trial's answer; whether it re-opens the circuit."""
        if name not in self.trials:
            return False
        del self.trials[name]
        self.changed_at = now
        if effect is CircuitEffect.SUCCESS:
            self.trial_successes += 1
        if self.trial_successes >= self.rules.success_threshold:
            before = self.reopenings
            self._change_state("closed", now)
            self.ramp_ends_at = now + self.rules.ramp if self.rules.ramp else 0.0
            self.reopenings = before if self.rules.ramp else 0
        return effect is CircuitEffect.FAILURE

    def _open(self, now: float, *, rate_limited: bool) -> WaitRange:
        if self.mood == "half_open" or self.is_ramping(now):
            self.reopenings += 1
        wait = self.wait(rate_limited=rate_limited)
        self._change_state("open", now)
        self.opens_again_at = now + wait.shortest
        return wait

    def force_open(self, now: float, until: float) -> None:
        self.set_clock(now)
        self.era += 1
        self.held_until = until
        self.changed_at = self.answered_at = now

    def reset(self, now: float) -> None:
        self._change_state("closed", now)
        self.reopenings = 0
        self.held_until = None
        self.paused_until = self.pause_changed_at = 0.0

    def _change_state(self, mood: CircuitState, now: float) -> None:
        self.mood = mood
        self.era += 1
        self.changed_at = now
        self.counted_answers, self.failures_in_a_row, self.trials, self.trial_successes = [], 0, {}, 0
        self.ramp_ends_at = 0.0


def clamp(hint: float, max_pause: float = HOUR) -> float:
    """A provider's own wait: at least a second, at most ``max_pause``, which is an hour by default."""
    return min(max(hint, 1.0), max_pause)
