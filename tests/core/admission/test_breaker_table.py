"""The rules of the circuit breaker, one story each, in a little language. Words are separated by spaces:

    f  s  n  r        a call is admitted and settled at once: failure, success, neutral, rate limit without
                      a Retry-After; ``f*5`` happens five times
    A  A/20           a call is admitted and stays under way; a trial's lease lasts 90 s, or 20
    A=f               what became of it
    no:open@60        whoever asks now is refused, until 60: open, probing, held (without a time: for ever)
    +60  -60  @60     time passes; the clock is set back; the clock shows 60 seconds after the beginning
    wait              time passes until the open circuit admits again
    hold  hold:30     the operator holds it open, for ever or for 30 s;  reset  releases and closes it
    off  on  key=1    the rules change on the way

    closed  closed/3  what it looks like: closed (with three failures in a row),
    open@60  half     open until 60, half-open,
    held  held@30     held for ever or until 30;  open@60..66  anywhere in between, for a wait with jitter
    for:60            open for 60 s from now, likewise  for:60..66
    new  old  same    what the last event did: a new generation, none, nothing at all

Every event is applied twice, and must come to the same both times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from llmfail.core.admission import breaker
from llmfail.core.admission import circuit as circuits
from llmfail.core.admission.circuit import (
    BreakerRules,
    CallResult,
    Circuit,
    CircuitRefusal,
    CircuitState,
    Ticket,
    TrialLease,
)
from llmfail.core.classification.outcome import CircuitEffect

START = 1_200_000.0
EFFECTS = {
    "f": CircuitEffect.FAILURE,
    "r": CircuitEffect.FAILURE,
    "s": CircuitEffect.SUCCESS,
    "n": CircuitEffect.NEUTRAL,
}
REASONS = {"open": "circuit_open", "probing": "probing", "held": "held"}
NUMBER = r"-?\d+(?:\.\d+)?(?:e\d+)?"
OPEN_TO_TRIALS = "f*5 +60"
BY_RATE = {"failure_threshold": 100}
ONE_TRIAL = {"half_open_limit": 1}
ONE_PROOF = {"success_threshold": 1}
QUICK = {"failure_threshold": 1}


@dataclass
class Stage:
    """One circuit, its clock, and the calls that are under way."""

    rules: BreakerRules
    now: float = START
    circuit: Circuit = field(default_factory=Circuit)
    before: Circuit = field(default_factory=Circuit)
    calls: dict[str, Ticket] = field(default_factory=dict)

    def happens(self, event: Callable[[Circuit], Any]) -> Any:
        """Apply an event that gives a record, or a record and an answer."""
        self.before = self.circuit
        result = event(self.circuit)
        assert event(self.circuit) == result
        self.circuit, answer = result if isinstance(result, tuple) else (result, None)
        return answer

    def ask(self, name: str, lease_time: float = 90.0) -> Ticket | CircuitRefusal:
        lease = TrialLease(f"{name} at {self.now}", self.now + lease_time)
        return self.happens(lambda circuit: breaker.admit(circuit, self.now, self.rules, lease))

    def admitted(self, name: str, lease_time: float = 90.0) -> Ticket:
        ticket = self.ask(name, lease_time)
        assert isinstance(ticket, Ticket)
        return ticket

    def settle(self, ticket: Ticket, verdict: CallResult) -> None:
        self.happens(lambda circuit: breaker.settle(circuit, ticket, verdict, self.now, self.rules))

    # -- the words

    def call(self, kind: str, times: str | None) -> None:
        for turn in range(int(times or 1)):
            self.settle(self.admitted(f"call {turn}"), verdict(kind))

    def begin(self, name: str, lease_time: str | None) -> None:
        self.calls[name] = self.admitted(name, float(lease_time or 90))

    def end(self, name: str, kind: str) -> None:
        self.settle(self.calls[name], verdict(kind))

    def refused(self, reason: str, retry_at: str | None) -> None:
        refusal = self.ask("refused")
        assert refusal == CircuitRefusal(REASONS[reason], retry_at and moment(retry_at))

    def passes(self, seconds: str) -> None:
        self.now += float(seconds)

    def clock(self, shows: str) -> None:
        self.now = moment(shows)

    def wait(self) -> None:
        self.now = breaker.view(self.circuit, self.now).retry_at

    def hold(self, seconds: str | None) -> None:
        until = self.now + float(seconds) if seconds else None
        self.happens(lambda circuit: breaker.force_open(circuit, self.now, until))

    def reset(self) -> None:
        self.happens(lambda circuit: breaker.reset(circuit, self.now))

    def switch(self, way: str) -> None:
        self.rules = replace(self.rules, enabled=way == "on")

    def change(self, name: str, value: str) -> None:
        self.rules = replace(self.rules, **{name: int(value)})

    def looks(self, state: str, retry_at: str | None, latest: str | None, failures: str | None) -> None:
        seen = breaker.view(self.circuit, self.now)
        named = {"half": CircuitState.HALF_OPEN, "held": CircuitState.FORCED_OPEN}.get(state) or CircuitState(
            state
        )
        assert seen.state is named
        assert failures is None or seen.failures == int(failures)
        if retry_at is None:
            assert seen.retry_at is None
        else:
            assert moment(retry_at) <= round(seen.retry_at, 6) <= moment(latest or retry_at)

    def stays(self, shortest: str, longest: str | None) -> None:
        seen = breaker.view(self.circuit, self.now)
        assert seen.state is CircuitState.OPEN
        assert float(shortest) <= round(seen.retry_at - self.now, 3) <= float(longest or shortest)

    def did(self, what: str) -> None:
        if what == "same":
            assert self.circuit == self.before
        else:
            grown = self.circuit.generation > self.before.generation
            assert grown == (what == "new")


WORDS: Mapping[str, Callable[..., None]] = {
    r"([fsnr])(?:\*(\d+))?": Stage.call,
    r"([A-Z])(?:/(\d+))?": Stage.begin,
    r"([A-Z])=([fsnr])": Stage.end,
    rf"no:(\w+)(?:@({NUMBER}))?": Stage.refused,
    rf"\+?({NUMBER})": Stage.passes,
    rf"@({NUMBER})": Stage.clock,
    r"wait": Stage.wait,
    r"hold(?::(\d+))?": Stage.hold,
    r"reset": Stage.reset,
    r"(on|off)": Stage.switch,
    r"(\w+)=(\d+)": Stage.change,
    rf"(closed|open|half|held)(?:@({NUMBER})(?:\.\.({NUMBER}))?)?(?:/(\d+))?": Stage.looks,
    r"for:(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?": Stage.stays,
    r"(new|old|same)": Stage.did,
}


def moment(shown: str) -> float:
    return START + float(shown)


def verdict(kind: str) -> CallResult:
    return CallResult(EFFECTS[kind], kind == "r")


def play(story: str, rules: BreakerRules) -> Stage:
    stage = Stage(rules)
    for number, word in enumerate(story.split(), start=1):
        act, details = understand(word)
        try:
            act(stage, *details)
        except AssertionError as error:
            error.add_note(f"word {number}, {word!r}, at {stage.now - START:g}: {stage.circuit}")
            raise
    return stage


def understand(word: str) -> tuple[Callable[..., None], tuple[str | None, ...]]:
    for pattern, act in WORDS.items():
        if found := re.fullmatch(pattern, word):
            return act, found.groups()
    raise ValueError(f"no such word: {word!r}")


CLOSED = [
    ("a fresh circuit is closed and admits", "closed/0 A same", {}),
    ("one failure less than the threshold leaves it closed", "f*4 closed/4", {}),
    ("as many failures in a row as the threshold open it", "f*5 open@60 new", {}),
    ("a threshold of one opens at the first failure", "f open@60", QUICK),
    ("a success ends the streak", "f*4 s closed/0 f*4 closed/4 old", {}),
    ("a success of a call that began before the failures ends the streak", "A f*4 A=s closed/0", {}),
    ("a neutral outcome changes nothing", "n same closed/0", {}),
    ("a neutral outcome neither ends nor lengthens a streak", "f*4 n same closed/4 f open@60", {}),
    ("asking writes nothing", "f*3 A same", {}),
    ("asking writes nothing after an hour either", "f*4 +3601 A same closed/0", {}),
    ("asking writes nothing when the clock was set back", "f*3 -50 A same closed/3", {}),
    ("failures of calls side by side are a streak", "A B C D E A=f B=f C=f D=f closed/4 E=f open@60", {}),
    ("rate limits and failures are one streak", "f r f r closed/4 f open@60", {}),
    ("a streak is remembered for just less than an hour", "f*4 +3599.9 closed/4 f for:60", {}),
    ("a streak forgets itself after an hour", "f*4 +3600 closed/0 f closed/1", {}),
    ("every failure renews the hour", "f +3599 f +3599 f +3599 f +3599 closed/4 f for:60", {}),
    ("a neutral outcome does not renew the hour", "f*4 +3000 n +600 closed/0 f closed/1", {}),
    ("a tool called every ten minutes notices an outage", "f +600 f +600 f +600 f +600 f open@2460", {}),
    ("the streak outlives the window", "f*4 +1000 f open@1060", {"window": 10.0}),
]

RATE = [
    ("half of ten calls failing open it", "f s f s f s f s s closed f open@60", BY_RATE),
    ("below the volume the rate means nothing", "f*9 closed/9 f open@60", BY_RATE),
    ("a success never opens, not even the one that makes the volume", "f*9 s closed/0 f open@60", BY_RATE),
    ("successes among a bad rate never open", "f*9 s*9 closed/0", BY_RATE),
    ("the rate must be reached", "s*6 f*4 closed f closed f open@60", BY_RATE),
    (
        "a rate that is met exactly opens, whatever the last bit of its product says",
        "s*18 f*6 closed f open@60",
        {**BY_RATE, "failure_rate": 0.28, "volume_threshold": 25},
    ),
    (
        "a rate of one wants every call to fail",
        "s f*9 closed f closed +61 f*9 closed f open@121",
        {**BY_RATE, "failure_rate": 1.0},
    ),
    ("neutral outcomes are not calls", "f*5 n*20 closed f*4 closed f open@60", BY_RATE),
    ("calls older than the window do not count", "f*9 +60 f closed/10", BY_RATE),
    ("calls younger than nine tenths of it do", "f*9 +53.9 f for:60", BY_RATE),
    ("old successes leave the window too", "s*30 +61 f*9 closed f open@121", BY_RATE),
    ("the window is the sum of its slots", "f*3 +20 f*3 +20 f*3 +10 f open@110", BY_RATE),
    ("slots leave it one by one", "f*5 +40 f*4 +25 f closed +1 f*5 open@126", BY_RATE),
    ("a window may be longer than an hour", "f*9 +6000 f open@6060", {**BY_RATE, "window": 7200.0}),
    ("a rate limit that trips the rate waits as rate limits do", "f*9 r open@120", BY_RATE),
    (
        "a failure that trips the rate after a success is the one that opens",
        "r*8 s closed/0 f open@60",
        BY_RATE,
    ),
]

RATE_LIMITS = [
    ("a rate limit that names no time counts", "r*4 closed/4 r open@120", {}),
    ("the base belongs to the failure that opened: a failure", "r*4 f open@60", {}),
    ("the base belongs to the failure that opened: a rate limit", "f*4 r open@120", {}),
]

OPEN = [
    ("it refuses with the end of the wait", "f*5 +59 no:open@60 same", {}),
    ("a moment before the deadline it refuses", "f*5 +59.999 no:open@60", {}),
    ("the deadline itself admits", "f*5 +60 half A half new", {}),
    ("looking at it when the wait is over is not asking", "f*5 +60 half half", {}),
    ("a late failure counts for nothing", "A f*5 +10 A=f same open@60", {}),
    ("a late rate limit counts for nothing", "A f*5 +10 A=r same open@60", {}),
    ("a late success counts for nothing", "A f*5 +10 A=s same open@60", {}),
    ("a late neutral outcome counts for nothing", "A f*5 +10 A=n same open@60", {}),
]

HALF_OPEN = [
    ("as many trials as the limit, then no more", f"{OPEN_TO_TRIALS} A B C no:probing@150 same", {}),
    ("a limit of one is one trial", f"{OPEN_TO_TRIALS} A no:probing@150", ONE_TRIAL),
    ("no more trials than successes are needed", f"{OPEN_TO_TRIALS} A no:probing@150 A=s closed", ONE_PROOF),
    (
        "a limit above the success threshold gives no more places than that",
        f"{OPEN_TO_TRIALS} A B no:probing@150 A=s no:probing@150 B=s closed/0",
        {"half_open_limit": 10, "success_threshold": 2},
    ),
    ("every success takes a place away", f"{OPEN_TO_TRIALS} A B A=s C no:probing@150", {}),
    ("the last missing success is one trial", f"{OPEN_TO_TRIALS} s s A no:probing@150", {}),
    ("a success before the last is not a transition", f"{OPEN_TO_TRIALS} s old half s old half", {}),
    ("enough successes close it", f"{OPEN_TO_TRIALS} A B C A=s B=s half C=s new closed/0", {}),
    ("successes one after the other close it", f"{OPEN_TO_TRIALS} s s s closed/0", {**ONE_TRIAL}),
    (
        "any failed trial re-opens, and the others answer too late",
        f"{OPEN_TO_TRIALS} A B C B=s A=f new open@120 C=s same C=f same B=s same",
        {},
    ),
    ("one failed trial re-opens, whatever the threshold", f"{OPEN_TO_TRIALS} f open@120", {}),
    ("a re-opening forgets the successes", f"{OPEN_TO_TRIALS} s s f wait s s half s closed", {}),
    (
        "a neutral trial gives its place back and proves nothing",
        f"{OPEN_TO_TRIALS} A no:probing@150 A=n old half B no:probing@150 B=s closed",
        {**ONE_TRIAL, **ONE_PROOF},
    ),
    ("no number of neutral trials closes it", f"{OPEN_TO_TRIALS} n*100 half A B C no:probing@150", {}),
    ("a call from before the opening proves nothing", f"A {OPEN_TO_TRIALS} B A=s same half", ONE_PROOF),
    ("a call from before the opening re-opens nothing", f"A {OPEN_TO_TRIALS} B A=f same half", {}),
    ("a closed circuit has forgotten its streak", f"{OPEN_TO_TRIALS} s closed/0 f*4 closed/4", ONE_PROOF),
    (
        "a closed circuit has forgotten its window",
        "f*10 open@60 +60 s*3 closed f*9 closed f for:60",
        {**BY_RATE, "window": 6000.0},
    ),
    ("it waits for trials as long as it takes", f"{OPEN_TO_TRIALS} s +100000 half s s closed", {}),
]

LEASES = [
    (
        "a moment before its end a lease keeps its place",
        f"{OPEN_TO_TRIALS} A/30 +29.9 no:probing@90",
        ONE_TRIAL,
    ),
    ("the end of a lease gives its place back", f"{OPEN_TO_TRIALS} A/30 +30 B no:probing@180", ONE_TRIAL),
    ("leases end one by one", f"{OPEN_TO_TRIALS} A/20 B/40 C/60 +20 D no:probing@100", {}),
    ("the refusal names the soonest end", f"{OPEN_TO_TRIALS} A/50 B/20 C/90 no:probing@80", {}),
    ("an answer just within the lease counts", f"{OPEN_TO_TRIALS} A/30 +29.9 A=s closed", ONE_PROOF),
    ("a success after the lease proves nothing", f"{OPEN_TO_TRIALS} A/30 +30 A=s old half", ONE_PROOF),
    ("a failure after the lease re-opens nothing", f"{OPEN_TO_TRIALS} A/30 +30 A=f old half", {}),
    (
        "an answer after the lease leaves whoever has the place now alone",
        f"{OPEN_TO_TRIALS} A/30 +30 B A=n A=f half no:probing@180 B=s closed",
        {**ONE_TRIAL, **ONE_PROOF},
    ),
    (
        "an expired trial answers a closed circuit too late",
        f"{OPEN_TO_TRIALS} A/9 +9 s*3 closed A=f same",
        {},
    ),
    (
        "an answer after the lease of a killed trial is not a transition",
        f"{OPEN_TO_TRIALS} A/9 B +9 A=s old",
        {},
    ),
    ("a trial settled twice proves once", f"{OPEN_TO_TRIALS} A A=s A=s same A=s same half", {}),
    (
        "a neutral trial settled again counts for nothing",
        f"{OPEN_TO_TRIALS} A A=n A=f same A=s same half",
        {},
    ),
    ("a failed trial settled again is late", f"{OPEN_TO_TRIALS} A A=f A=f same open@120", {}),
    ("a proof is not taken back by settling again", f"{OPEN_TO_TRIALS} A A=s A=f same half s s closed", {}),
    ("a closing trial settled again is late", f"{OPEN_TO_TRIALS} A A=s closed A=f same closed/0", ONE_PROOF),
]

REOPENINGS = [
    ("the first waits as long as the opening did", f"{OPEN_TO_TRIALS} f for:60", {}),
    (
        "each further one waits longer, up to the cap",
        f"{OPEN_TO_TRIALS} f wait f for:120..132 wait f for:240..264 wait f for:480..528 wait f for:600",
        {},
    ),
    ("a trial that met a rate limit waits as rate limits do", f"{OPEN_TO_TRIALS} r for:120", {}),
    ("a trial that failed otherwise does not", "r*5 +120 f for:60", {}),
    ("closing forgets them", f"{OPEN_TO_TRIALS} f wait f wait s*3 closed f*5 wait f for:60", {}),
    (
        "without back-off there is jitter alone",
        f"{OPEN_TO_TRIALS} f for:60 wait f for:60..66",
        {"backoff": 1.0},
    ),
    (
        "a base above the cap is never shortened",
        "f for:900 wait f for:900",
        {**QUICK, "recovery_timeout": 900.0},
    ),
    (
        "a rate limit's base above the cap is its own cap",
        f"{OPEN_TO_TRIALS} r for:1000",
        {"rate_limit_timeout": 1000.0},
    ),
    ("a hundred wait no longer than the cap", "f " + "wait f " * 100 + "for:600", QUICK),
    ("a week of them does not overflow", "f " + "wait f " * 1100 + "for:600", QUICK),
    (
        "a steep back-off does not overflow",
        "f " + "wait f " * 100 + "for:600",
        {**QUICK, "backoff": 100_000.0},
    ),
    (
        "a whole number as back-off does not overflow",
        "f " + "wait f " * 1100 + "for:600",
        {**QUICK, "backoff": 2},
    ),
    (
        "a gentle back-off goes on growing",
        "f " + "wait f " * 100 + "for:270.4..297.6",
        {**QUICK, "recovery_timeout": 100.0, "backoff": 1.01},
    ),
    (
        "a base below a second reaches the cap as well",
        "f " + "wait f " * 20 + "for:600",
        {**QUICK, "recovery_timeout": 0.5},
    ),
]

HOLDS = [
    ("a hold refuses for ever", "hold new held no:held same +1e9 held no:held", {}),
    ("a hold refuses until its end", "hold:30 held@30 +29.9 no:held@30 same", {}),
    ("the end itself releases", "hold:30 +30 closed A old", {}),
    ("a later hold takes the place of an earlier one", "hold:10 hold:30 new held@30 hold:5 held@5", {}),
    ("the streak beneath goes on", "f*4 hold:30 +30 closed/4 f open@90", {}),
    ("the wait beneath goes on", "f*5 hold:10 no:held@60 +10 open@60 no:open@60", {}),
    ("the wait beneath may end under it", "f*5 hold:100 +60 no:held@100 +40 half A half", {}),
    ("re-openings beneath are remembered", f"{OPEN_TO_TRIALS} f hold:1000 +1000 half f for:120..132", {}),
    ("proofs beneath are remembered", f"{OPEN_TO_TRIALS} s s hold:10 +10 half s closed", {}),
    (
        "trials beneath keep their places, and answer too late",
        f"{OPEN_TO_TRIALS} s A hold:10 no:held@70 +10 half A=s A=f half B no:probing@150",
        {},
    ),
    ("what was under way counts for nothing", "A f*4 hold:30 A=f same +30 closed/4", {}),
    ("reset releases", "hold reset new closed A same", {}),
]

RESETS = [
    ("an open circuit admits", "f*5 reset new closed/0 A", {}),
    ("the streak is forgotten", "f*4 reset closed/0 f*4 closed/4", {}),
    ("the window is forgotten", "f*9 reset f*9 closed f open@60", BY_RATE),
    ("re-openings are forgotten", f"{OPEN_TO_TRIALS} f reset f*5 for:60", {}),
    ("trials under way count for nothing", f"{OPEN_TO_TRIALS} A B C reset A=f same B=s same closed/0", {}),
    ("what was under way in a closed circuit counts for nothing", "A f*4 reset A=f same closed/0", {}),
    ("a fresh circuit gets a new generation", "A reset new A=f same closed/0", {}),
    ("what was held beneath is gone too", "f*5 hold reset closed", {}),
]

DISABLED = [
    ("nothing is recorded", "off f*10 same closed/0", {}),
    ("an open circuit admits, and stays open", "f*5 off A same A=s same f*3 same on open@60 no:open@60", {}),
    ("a full half-open circuit admits", f"{OPEN_TO_TRIALS} A B C off D same D=s same on no:probing@150", {}),
    ("a held circuit is held all the same", "hold off no:held on no:held", {}),
    (
        "an admission from then proves nothing",
        f"{OPEN_TO_TRIALS} A off D on D=s same D=f same half",
        ONE_PROOF,
    ),
    ("an admission from then does not open twice", "f*5 off D on D=f same open@60", {}),
]

CLOCK = [
    ("set back, an open circuit keeps its wait", "f*5 -1000 open@-940 no:open@-940 @-940 A", {}),
    ("set back, the wait is that of the last change", "f*5 +50 -1000 open@-890 no:open@-890", {}),
    ("set back to after the last change, nothing is noticed", "f*5 +50 -20 no:open@60 same", {}),
    ("set back twice", "f*5 -1000 no:open@-940 -1000 no:open@-1940", {}),
    ("set back and right again, waits end early", "f*5 -1000 no:open@-940 +1000 half A", {}),
    ("set back, leases keep their time", f"{OPEN_TO_TRIALS} A/30 -1000 no:probing@-910 @-910 B", ONE_TRIAL),
    ("set back, a trial counts within its lease", f"{OPEN_TO_TRIALS} A/30 -1000 +29 A=s closed", ONE_PROOF),
    (
        "set back, a trial is late after its lease",
        f"{OPEN_TO_TRIALS} A/30 -1000 no:probing@-910 +30 A=s half",
        ONE_PROOF,
    ),
    ("set back, a failed trial waits from then", f"{OPEN_TO_TRIALS} A -1000 A=f open@-880", {}),
    ("set back, proofs stand", f"{OPEN_TO_TRIALS} s s -1000 s closed", {}),
    ("set back, a hold keeps its time", "hold:30 -1000 held@-970 no:held@-970 @-970 A", {}),
    ("set back, a hold without an end has none", "hold -1000 held no:held", {}),
    ("set back, hold and wait beneath keep theirs", "f*5 hold:10 -1000 no:held@-940 +10 open@-940", {}),
    ("set back, a streak stands", "f*4 -1000 closed/4 f open@-940", {}),
    ("set back, a streak keeps what is left of its hour", "f*4 -9999 n +3599 closed/4 +1 closed/0", {}),
    (
        "set back, the last change is the last trial",
        f"{OPEN_TO_TRIALS} A/30 +20 B/30 -80 no:probing@10",
        {"success_threshold": 2},
    ),
    (
        "set back, the last change is the last trial's answer",
        f"{OPEN_TO_TRIALS} A B/30 +20 A=s -1000 no:probing@-910",
        {"success_threshold": 2},
    ),
    ("set back, reset is closed", "f*5 -1000 reset closed f*5 for:60", {}),
    ("far ahead, the wait is over", "f*5 +1e9 half A half", {}),
    ("far ahead, leases are over", f"{OPEN_TO_TRIALS} A B C +1e9 D E F A=f half A=s half", {}),
    ("far ahead, a hold is over", "hold:30 +1e9 closed A", {}),
    ("far ahead, streak and window are forgotten", "f*4 +1e9 closed/0 f*4 closed/4", {}),
]

CHANGED_RULES = [
    ("a lower threshold holds from the next failure", "f*3 failure_threshold=2 closed/3 f open@60", {}),
    (
        "fewer successes than were proven still leave one trial",
        f"{OPEN_TO_TRIALS} s s success_threshold=2 A no:probing@150 A=s closed",
        {},
    ),
    (
        "a lower limit lets running trials finish",
        f"{OPEN_TO_TRIALS} A B C half_open_limit=1 no:probing@150 A=s B=s C=s closed",
        {},
    ),
]

TABLE = {
    f"{theme}: {rule}": (story, rules)
    for theme, rows in {
        "closed": CLOSED,
        "rate": RATE,
        "rate limit": RATE_LIMITS,
        "open": OPEN,
        "half-open": HALF_OPEN,
        "lease": LEASES,
        "re-opening": REOPENINGS,
        "hold": HOLDS,
        "reset": RESETS,
        "disabled": DISABLED,
        "clock": CLOCK,
        "changed rules": CHANGED_RULES,
    }.items()
    for rule, story, rules in rows
}


@pytest.mark.parametrize(("story", "rules"), TABLE.values(), ids=TABLE)
def test_breaker(story: str, rules: dict[str, Any]) -> None:
    play(story, BreakerRules(**rules))


def test_jitter_spreads_the_circuits_that_opened_together() -> None:
    waits = set()
    for moment_of_failure in range(60, 80):
        circuit = play(f"f*5 @{moment_of_failure} f wait f", BreakerRules()).circuit
        waits.add(round(circuit.until - circuit.at, 3))
    assert len(waits) > 10


def test_every_rule_has_a_name_of_its_own() -> None:
    themes = (
        CLOSED,
        RATE,
        RATE_LIMITS,
        OPEN,
        HALF_OPEN,
        LEASES,
        REOPENINGS,
        HOLDS,
        RESETS,
        DISABLED,
        CLOCK,
        CHANGED_RULES,
    )
    assert len(TABLE) == sum(map(len, themes)) >= 70
    assert len({(story, *rules.items()) for story, rules in TABLE.values()}) == len(TABLE)


def test_the_language_knows_a_misspelt_word() -> None:
    with pytest.raises(ValueError, match="no such word: 'opne@60'"):
        play("f*5 opne@60", BreakerRules())


@pytest.mark.parametrize(
    ("story", "rules", "kept_until"),
    [
        ("f*4", {}, 3600),
        ("f*4", {"window": 7200.0}, 7200),
        ("f*5", {}, 60 + 600),
        (f"{OPEN_TO_TRIALS} A/300", {}, 60 + 300),
        (f"{OPEN_TO_TRIALS} A/9000", {}, 60 + 9000),
        ("hold", {}, float("inf")),
        ("hold:30", {}, 30),
        ("A reset", {}, 600),
    ],
)
def test_a_store_may_not_drop_a_record_that_has_something_to_say(
    story: str, rules: dict[str, Any], kept_until: float
) -> None:
    stage = play(story, BreakerRules(**rules))
    expires = circuits.expires_at(stage.circuit, stage.rules)
    assert expires is None or expires >= START + kept_until
