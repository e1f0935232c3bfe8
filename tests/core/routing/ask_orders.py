"""Orders of events that an ask may meet, from one generator: a world of gates, caches and providers that
chooses what happens next, and checks the rules of an ask after each event.

``choose`` picks one of several; it is Hypothesis' or a seeded random one.
"""

from collections import Counter

from msgspec.structs import replace

from llmfail.core.admission.circuit import Ticket
from llmfail.core.admission.gate import Admission, GateView
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import Reservation, ReservationRequest
from llmfail.core.classification.outcome import Kind, Outcome
from llmfail.core.conversation import Message
from llmfail.core.model import Completion, Request, Target
from llmfail.core.receipt import SkipReason
from llmfail.core.routing import ask_events as ev
from llmfail.core.routing.ask_machine import step
from llmfail.core.routing.ask_state import (
    MAX_RUNNING,
    AskPlan,
    Phase,
    Stage,
    begin,
    due_calls,
)
from llmfail.core.routing.attempt_result import AttemptResult
from llmfail.core.routing.candidates import Candidate
from llmfail.core.tokens.token_bounds import EMPTY_PROMPT

MAX_EVENTS = 3000
PASSING = (SkipReason.CIRCUIT_OPEN, SkipReason.PROBING)
REQUEST = Request((Message("user", "hi"),), max_tokens=10, temperature=0.5)
FAILURES = (
    Outcome(Kind.SERVER_ERROR),
    Outcome(Kind.SERVER_ERROR),
    Outcome(Kind.NETWORK, is_unreachable=True),
    Outcome(Kind.NETWORK, is_unreachable=True),
    Outcome(Kind.TIMEOUT),
    Outcome(Kind.RATE_LIMITED, retry_after=3.0),
    Outcome(Kind.BAD_REQUEST, parameter="temperature"),
    Outcome(Kind.BAD_REQUEST),
    Outcome(Kind.CONTEXT_OVERFLOW),
    Outcome(Kind.REFUSAL),
    Outcome(Kind.AUTH),
    Outcome(Kind.REJECTED_ANSWER),
    Outcome(Kind.CANCELLED),
)


def reservation_request_of(_candidate, _moment):
    return ReservationRequest("", 0.0, "f", EMPTY_PROMPT, 10)


def plan_of(choose):
    count = choose([1, 2, 3, 4])
    candidates = tuple(
        Candidate(Target(name, "m"), timeout=10.0, context=choose([None, None, 5, 1000]))
        for name in "abcd"[:count]
    )
    shown = choose([False, True])
    plan = AskPlan(
        id="ask",
        request=REQUEST,
        size=EMPTY_PROMPT,
        candidates=candidates,
        primary=candidates[0].target,
        ends_at=choose([60.0, 60.0, 60.0, 4.0]),
        wait_ends_at=choose([0.0, 0.0, 30.0]),
        fair_deadline=60.0,
        reservation_request_of=reservation_request_of,
        rounds=choose([0, 0, 1, 2]),
        target_retries=choose([0, 0, 1]),
        stop_on_refusal=choose([False, True]),
        hedge_delay=choose([None, 1.0, 1.0]),
        is_streamed=shown,
        is_shown=shown,
        is_cached=choose([False, True]),
    )
    limited = tuple(replace(one, is_rate_limited=choose([False, False, True])) for one in candidates)
    return replace(plan, candidates=limited)


class World:
    """``log`` is what the ask was told, and when: enough to replay it."""

    def __init__(self, choose, plan=None):
        self.choose = choose
        self.plan = plan_of(choose) if plan is None else plan
        self.state = begin(self.plan)
        self.now = 0.0
        self.log, self.commands = [], []
        self.open = {}  # operations under way, by attempt; those of the ask itself by their kind
        self.cancelled, self.sent = set(), set()
        self.timer = False
        self.admitted, self.settled, self.requested, self.given_back = set(), Counter(), {}, set()
        self.leases, self.shown, self.called = set(), [], Counter()
        self.debits = 0
        self.transitions = {"stages": set(), "phases": set()}

    def run(self, interrupt_after=None):
        self.tell(ev.Started())
        for _ in range(MAX_EVENTS):
            if not self.open:
                break
            if len(self.log) == interrupt_after:
                self.interrupt()
                break
            self.happen()
        assert not self.open, "an ask comes to its end"
        self.settle_all()
        self.check_end()
        return self

    def tell(self, event):
        moment = ev.Moment(self.now, 1000.0 + self.now, 0.5)
        self.log.append((event, moment))
        before = self.state
        self.state, commands = step(before, event, moment)
        self.commands.append(commands)
        self.note_transitions(before, type(event).__name__)
        for command in commands:
            self.begin(command)
        self.check()

    def note_transitions(self, before, event):
        if self.state.stage is not before.stage:
            self.transitions["stages"].add((before.stage.name, self.state.stage.name, event))
        phases = {one.number: one.phase.name for one in before.attempts}
        for one in self.state.attempts:
            phase = phases.get(one.number)
            if phase is None:
                self.transitions["phases"].add(("[*]", one.phase.name, "start"))
            elif phase != one.phase.name:
                self.transitions["phases"].add((phase, one.phase.name, event))

    def begin(self, command):
        match command:
            case ev.Cancel(attempt):
                assert attempt in self.open, "only what is under way is cancelled"
                self.cancelled.add(attempt)
            case ev.ArmTimer(seconds):
                assert seconds == self.plan.hedge_delay
                self.timer = True
            case ev.DisarmTimer():
                assert self.timer, "only what is armed is disarmed"
                self.timer = False
            case _:
                name = getattr(command, "attempt", ev.ASK) or type(command).__name__
                assert name not in self.open, "an attempt does one thing at a time"
                self.open[name] = command
                self.check_command(command)

    def check_command(self, command):
        left = max(self.plan.ends_at - self.now, 0.0)
        match command:
            case ev.Send(_, _, limit, _):
                assert limit <= left, "a call ends by the deadline"
            case ev.LookUp(_, _, max_wait) if max_wait is not None:
                assert max_wait <= left / 2
            case ev.Sleep(ev.ASK, seconds):
                assert seconds < left, "no pause reaches the deadline"
            case ev.Admit(_, _, reservation_request):
                assert reservation_request.call_id not in self.requested, "each call has a name of its own"
                assert reservation_request.max_wait <= left / 2
                self.requested[reservation_request.call_id] = reservation_request

    # what may happen

    def happen(self):
        self.now += self.choose([0.0, 0.0, 0.1, 1.0, 1.0, 9.0])
        options = list(self.open)
        if self.timer:
            options.append("timer")
        name = self.choose(options)
        if name == "timer":
            self.timer = False
            self.tell(ev.TimerFired())
            return
        command = self.open[name]
        if isinstance(command, ev.Send) and self.go_on(command):
            return
        if name in self.cancelled and self.choose([True, True, False]):
            self.stop(command)
            del self.open[name]
            self.cancelled.discard(name)
            self.tell(ev.Cancelled(name))
            return
        event = self.end(command)
        del self.open[name]
        self.cancelled.discard(name)
        self.tell(event)

    def go_on(self, command):
        """What a call may do before it ends."""
        attempt = command.attempt
        if attempt not in self.sent:
            if self.choose([True, True, True, False]):
                self.sent.add(attempt)
                self.tell(ev.Sent(attempt))
                return True
            return False
        if self.plan.is_shown and attempt not in self.shown and self.choose([True, False]):
            self.tell(ev.FirstOutput(attempt))
            if self.state.committed == attempt:
                self.shown.append(attempt)
            return True
        return False

    def stop(self, command):
        """An operation that is broken off may have been done all the same."""
        attempt = command.attempt if hasattr(command, "attempt") else None
        match command:
            case ev.LookUp(_, _, max_wait) if max_wait is not None and self.choose([True, False]):
                self.leases.add(attempt)
            case ev.Send() if attempt in self.sent:
                self.called[str(command.target)] += 1
                self.sent.discard(attempt)
            case ev.Admit():
                if self.choose([True, False]):
                    self.settle_due()

    def interrupt(self):
        for command in self.open.values():
            self.stop(command)
        self.open.clear()
        self.tell(ev.AskInterrupted())
        while self.open:
            (_, command) = self.open.popitem()
            assert isinstance(command, ev.EndLease), "nothing else is begun after an interruption"
            self.tell(self.end(command))

    def end(self, command):  # noqa: C901, PLR0911 - a case an operation
        match command:
            case ev.SeekStoredAnswer(candidates):
                found = self.choose([None, None, candidates[-1]])
                return ev.StoredAnswerSought(found, found and Completion("stored", "stop"))
            case ev.LookUp(attempt, _, max_wait):
                if self.choose([True, False, False, False]):
                    return ev.CacheHit(attempt, Completion("stored", "stop"))
                leads = max_wait is not None and self.choose([True, True, False])
                if leads:
                    self.leases.add(attempt)
                return ev.CacheMiss(attempt, leads)
            case ev.StoreAnswer(attempt) | ev.EndLease(attempt):
                self.leases.discard(attempt)
                return ev.LeaseEnded(attempt)
            case ev.Admit():
                return self.admit(command)
            case ev.Sleep(attempt, seconds):
                self.settle_due()
                self.now += seconds
                return ev.Woke(attempt)
            case ev.DebitHedge():
                allowed = self.choose([True, True, False])
                self.debits += allowed
                return ev.HedgeDecided(allowed)
            case ev.ViewGates(targets):
                return self.view(targets)
            case ev.Send():
                return self.finish(command)

    def admit(self, command):
        self.settle_due()
        if self.choose([False, False, False, True]):
            reason = self.choose([SkipReason.CIRCUIT_OPEN, SkipReason.PROBING, SkipReason.OVER_BUDGET])
            self.given_back.add(command.reservation_request.call_id)
            return ev.Refused(command.attempt, Refusal(reason, self.choose([None, 2000.0]), "no"))
        wait = self.choose([0.0, 0.0, 0.0, min(command.reservation_request.max_wait, 2.0)])
        at = 1000.0 + self.now
        reservation = Reservation(command.reservation_request, at, amount=self.choose([0, 7]), wait=wait)
        self.admitted.add(command.reservation_request.call_id)
        return ev.Admitted(command.attempt, Admission(Ticket(0, "x"), at, frozenset(), reservation))

    def finish(self, command):
        attempt, target = command.attempt, command.target
        assert self.state.attempt(attempt).call_id not in self.settled, "a call is settled once it is over"
        if attempt not in self.sent:
            skipped = AttemptResult(Outcome(Kind.CANCELLED), is_free=True, skipped=SkipReason.NO_KEY)
            return ev.CallFinished(attempt, skipped, 0)
        self.sent.discard(attempt)
        self.called[str(target)] += 1
        if self.choose([True, False, False]):
            return ev.CallFinished(attempt, AttemptResult(Outcome(Kind.OK), Completion("yes", "stop")), 5)
        outcome = self.choose(FAILURES)
        answer = Completion("half", "other") if attempt in self.shown else None
        result = AttemptResult(outcome, answer, host=target.provider, is_slow=self.choose([True, False]))
        return ev.CallFinished(attempt, result, self.choose([0, 3, None]))

    def view(self, targets):
        at = 1000.0 + self.now
        waits = {one: self.choose([None, 0.5, 3.0, 500.0]) for one in targets}
        refusals = {
            one: wait
            and Refusal(self.choose([SkipReason.CIRCUIT_OPEN, SkipReason.PROBING]), at + wait, "open")
            for one, wait in waits.items()
        }
        views = [
            (one, GateView("open", 0, refusals[one] and refusals[one].retry_at, refusals[one]))
            for one in targets
        ]
        return ev.GatesViewed(views, at)

    # settlement, as the store does it

    def settle_due(self):
        self.settle([one.call_id for one in due_calls(self.state)])

    def settle_all(self):
        unanswered = {
            reservation_request.call_id for _, reservation_request in self.state.unanswered_requests
        }
        self.given_back |= unanswered
        assert not unanswered & self.admitted
        self.settle([one.call_id for one in self.state.calls])

    def settle(self, ids):
        self.settled.update(ids)
        if ids:
            self.tell(ev.Settled(frozenset(ids)))

    # the rules

    def check(self):
        state = self.state
        running = state.list_running()
        assert len(running) <= (MAX_RUNNING if self.plan.hedge_delay is not None else 1)
        assert len(set(self.shown)) <= 1, "the text of one target at most is shown"
        assert state.committed is None or [state.committed] == self.shown or not self.shown
        assert all(count == 1 for count in self.settled.values()), "nothing is settled twice"
        if state.found is not None and state.committed is not None:
            assert state.winner == state.committed, "whose text is shown has the answer"

    def check_end(self):
        state = self.state
        assert state.stage in {Stage.OVER, Stage.INTERRUPTED}
        assert not self.timer
        assert not self.leases, "no lease is left"
        assert not state.calls
        assert set(self.settled) == self.admitted, "every admission is settled once"
        assert set(self.requested) == self.admitted | self.given_back
        if state.stage is Stage.OVER:
            self.check_receipt()

    def check_receipt(self):
        state = self.state
        assert all(one.phase is Phase.ENDED for one in state.attempts)
        called = Counter(str(entry.target) for entry in state.trail if entry.action == "called")
        assert called == self.called, "the trail has every call once"
        hedged = sum(one.is_hedge and one.has_called() for one in state.attempts)
        assert hedged <= self.debits, "no more hedges than were allowed"
        assert state.unused_hedges <= self.debits
        if self.plan.rounds == 0 and self.plan.wait_ends_at == 0.0:
            assert hedged + state.unused_hedges == self.debits, "a hedge was used or is given back"
        if state.found is None:
            assert state.stopped or state.deadline_passed or state.trail
            return
        if not state.found.stored:
            assert (state.trail[-1].target, state.trail[-1].outcome) == (state.found.candidate.target, "ok")
        if self.shown:
            assert state.winner == self.shown[0]


def replay(plan, log):
    """The commands and the last state of the same events again."""
    state, commands = begin(plan), []
    for event, moment in log:
        state, made = step(state, event, moment)
        commands.append(made)
    return state, commands
