"""The rules of the circuit breaker, told a second time and in other words.

It is written from the documents, not from ``core.admission.breaker``: where that keeps counters, slots and a
frozen record, this keeps the history of what was said and reads everything off it. It is slow and mutable,
and it knows less: the wait after a re-opening is a span (``Wait``), and a call at the edge of the rate window
may count or not, so ``settle`` is told what the circuit did and objects only where the rules leave no choice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, NamedTuple

from llmfail.core.admission.breaker import Rules
from llmfail.core.classification.outcome import Effect

HOUR = 3600.0
EVER = float("inf")
ROUNDING = 1e-6

Mood = Literal["closed", "open", "half_open"]
Word = Literal["circuit_open", "probing", "held"]


class Pass(NamedTuple):
    """Leave for one call; ``trial`` names the place it takes in a half-open circuit."""

    era: int
    trial: str | None = None


class News(NamedTuple):
    """A counted answer of a closed circuit. ``blurred``: the clock was set back since."""

    at: float
    failed: bool
    blurred: bool = False


class Wait(NamedTuple):
    shortest: float
    longest: float


@dataclass
class Breaker:
    rules: Rules
    mood: Mood = "closed"
    era: int = 0
    changed_at: float = 0.0
    heard_at: float = 0.0
    in_a_row: int = 0
    news: list[News] = field(default_factory=list)
    opens_again_at: float = 0.0
    reopenings: int = 0
    proofs: int = 0
    trials: dict[str, float] = field(default_factory=dict)
    held_until: float | None = None
    doubts: int = 0

    # -- questions

    def held(self, now: float) -> bool:
        return self.held_until is not None and now < self.held_until

    def places(self) -> int:
        return min(self.rules.half_open_limit, self.rules.success_threshold - self.proofs)

    def streak(self, now: float) -> int:
        """Failures in a row; an hour without an answer or an operator forgets them."""
        return self.in_a_row if now - self.heard_at < HOUR else 0

    def wait(self, *, rate_limited: bool, hint: float | None) -> Wait:
        """How long the circuit stays open if it opens now. ``reopenings`` counts this one already."""
        if hint is not None:
            exact = clamp(hint)
            return Wait(exact, exact)
        base = self.rules.rate_limit_timeout if rate_limited else self.rules.recovery_timeout
        if self.reopenings == 0:
            return Wait(base, base)
        cap = max(base, self.rules.max_recovery_timeout)
        plain = base
        for _ in range(self.reopenings):
            plain = min(cap, plain * self.rules.backoff)
        return Wait(plain, min(cap, plain * 1.1))

    def answers(self, now: float) -> set[bool]:
        """Whether a failure that is the last of the news opens: one answer, or both at the window's edge."""
        if self.streak(now) >= self.rules.failure_threshold:
            return {True}
        return {self._rate_opens(recent) for recent in self._windows(now)}

    def _rate_opens(self, recent: list[News]) -> bool:
        failures = sum(one.failed for one in recent)
        enough = len(recent) >= self.rules.volume_threshold
        return enough and failures / len(recent) >= self.rules.failure_rate

    def _windows(self, now: float) -> list[list[News]]:
        """Every reading of the window that its ten slots allow: what is surely young enough, and then
        one after the other what may be. A clock that was set back may empty the window.
        """
        slot = self.rules.window / 10
        ages = [(now - one.at, one) for one in reversed(self.news)]
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
            self.heard_at -= back
            self.opens_again_at -= back
            self.held_until = None if self.held_until is None else self.held_until - back
            self.trials = {name: end - back for name, end in self.trials.items()}
            self.news = [News(at - back, failed, blurred=True) for at, failed, _ in self.news]
        self.in_a_row = self.streak(now)
        self.held_until = self.held_until if self.held(now) else None
        self.trials = {name: end for name, end in self.trials.items() if now < end}

    def hold_ends_at(self) -> float | None:
        """When a held circuit may admit again: a wait beneath that is longer counts as well."""
        if self.held_until is None or self.held_until == float("inf"):
            return None
        return max(self.held_until, self.opens_again_at) if self.mood == "open" else self.held_until

    def admit(self, now: float, trial: str, ends_at: float) -> Pass | Word:
        free = not self.rules.enabled or self.mood == "closed"
        if not free or self.held_until is not None:
            self.set_clock(now)  # asking a circuit that admits anyway writes nothing, whatever the clock says
        if self.held(now):
            return "held"
        if not self.rules.enabled:
            return Pass(self.era)
        return Pass(self.era) if self.mood == "closed" else self._try(now, trial, ends_at)

    def _try(self, now: float, trial: str, ends_at: float) -> Pass | Word:
        if self.mood == "open" and now < self.opens_again_at:
            return "circuit_open"
        if self.mood == "open":
            self._turn("half_open", now)
        if len(self.trials) >= self.places():
            return "probing"
        self.trials[trial] = ends_at
        self.changed_at = now
        return Pass(self.era, trial)

    def settle(
        self,
        given: Pass,
        now: float,
        effect: Effect,
        *,
        rate_limited: bool = False,
        hint: float | None = None,
        opened: bool,
    ) -> Wait | None:
        """``opened``: what the circuit under test did. Gives the wait it must have chosen then."""
        if not self.rules.enabled:
            return None
        self.set_clock(now)
        failed = effect is Effect.FAILURE
        if given.era != self.era:
            self._late(now, hint if failed else None)
            opens = {False}
        elif self.mood == "open":  # admitted by somebody who had it disabled
            opens = {False}
        elif self.mood == "half_open":
            opens = {self._trial(given.trial, now, effect)}
        else:
            opens = self._counted(now, effect, hint)
        assert opened in opens, f"opened: {opened}, but the rules say {opens}"
        return self._open(now, rate_limited=rate_limited, hint=hint) if opened else None

    def _late(self, now: float, hint: float | None) -> None:
        if self.mood == "open" and hint is not None and now + clamp(hint) > self.opens_again_at:
            self.opens_again_at = now + clamp(hint)
            self.changed_at = now

    def _counted(self, now: float, effect: Effect, hint: float | None) -> set[bool]:
        if effect is Effect.NEUTRAL:
            return {False}
        failed = effect is Effect.FAILURE
        self.news.append(News(now, failed))
        self.in_a_row = self.streak(now) + 1 if failed else 0
        self.changed_at = self.heard_at = now
        if effect is Effect.SUCCESS:
            return {False}
        opens = {True} if hint is not None else self.answers(now)
        self.doubts += len(opens) > 1
        return opens

    def _trial(self, name: str | None, now: float, effect: Effect) -> bool:
        """One trial's answer; whether it re-opens the circuit."""
        if name not in self.trials:
            return False
        del self.trials[name]
        self.changed_at = now
        if effect is Effect.SUCCESS:
            self.proofs += 1
        if self.proofs >= self.rules.success_threshold:
            self._turn("closed", now)
            self.reopenings = 0
        return effect is Effect.FAILURE

    def _open(self, now: float, *, rate_limited: bool, hint: float | None) -> Wait:
        if self.mood == "half_open":
            self.reopenings += 1
        wait = self.wait(rate_limited=rate_limited, hint=hint)
        self._turn("open", now)
        self.opens_again_at = now + wait.shortest
        return wait

    def hold(self, now: float, until: float) -> None:
        self.set_clock(now)
        self.era += 1
        self.held_until = until
        self.changed_at = self.heard_at = now

    def reset(self, now: float) -> None:
        self._turn("closed", now)
        self.reopenings = 0
        self.held_until = None

    def _turn(self, mood: Mood, now: float) -> None:
        self.mood = mood
        self.era += 1
        self.changed_at = now
        self.news, self.in_a_row, self.trials, self.proofs = [], 0, {}, 0


def clamp(hint: float) -> float:
    """A provider's own wait: at least a second, at most an hour."""
    return min(max(hint, 1.0), HOUR)
