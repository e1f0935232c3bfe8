"""The slices of budgets that a service holds: it admits calls from them, and renews them with its other
deferred writes. No I/O.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakSet

from llmfail.core.admission import budget_slice as slices
from llmfail.core.admission import gate as gates
from llmfail.core.admission import local_admission
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.budget_holds import worst_case_of
from llmfail.core.admission.budget_notice import BudgetNotice, collect_notices
from llmfail.core.admission.budget_slice import BudgetSlice, Renewed, SliceDemand, SliceHold
from llmfail.core.admission.budget_unit import ActualUse, measure_use
from llmfail.core.admission.gate import Admission, Gate, Settlement
from llmfail.core.admission.gate_changes import GateChange, WatchedRecords, find_changes
from llmfail.core.admission.local_admission import SliceRenewal
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.classification.outcome import Kind
from llmfail.core.receipt import SkipReason
from llmfail.core.records.record import Values, Write, Writes, after_writes, merge_writes
from llmfail.engine.ports.ids import new_id

LOW_SHARE = 0.25
"""A slice of which less than this is left is renewed at once."""
MIN_RENEWAL_SECONDS = 0.1
"""But not more often than this."""
REFUSED_SECONDS = 0.1
"""What a budget has refused it refuses for so long without the store."""
MAX_REFUSALS = 1000
"""Of so many budgets it is remembered that they have just refused."""
_open: WeakSet[BudgetSlices] = WeakSet()


class SliceNews(NamedTuple):
    """What people should know of budgets, and what listeners are told."""

    notices: Sequence[BudgetNotice] = ()
    changes: Sequence[GateChange] = ()


class RenewalResult(NamedTuple):
    """What one update has made of some slices."""

    renewed: Sequence[tuple[SliceRenewal, Renewed]] = ()
    news: SliceNews = SliceNews()


class _SliceAccount:
    """One slice, and what is known of its use; ``calls`` are under way. ``is_granted``: it got what it asked
    for the last time.
    """

    def __init__(self, scope: BudgetScope, moment: float) -> None:
        self.scope = scope
        self.id = new_id()
        self.slice = BudgetSlice()
        self.demand = SliceDemand(at=moment)
        self.renewed_at = moment
        self.is_granted = True
        self.calls = 0

    def is_low(self, moment: float) -> bool:
        """One that has got little has to wait for its turn."""
        if not self.is_granted or moment - self.renewed_at < MIN_RENEWAL_SECONDS:
            return False
        return self._is_short(self.demand.wish_at(moment).amount)

    def is_idle(self, moment: float) -> bool:
        """Whether there is nothing to tell the store, and nothing to ask of it."""
        return self.slice.is_empty and not self.calls and not self.demand.wish_at(moment).amount

    def begin_renewal(self, moment: float, *, is_last: bool) -> SliceRenewal:
        wish = self.demand.wish_at(moment)
        wish = wish._replace(amount=0) if is_last else wish
        self.slice = slices.shrink(self.slice, wish)
        self.renewed_at = moment
        return SliceRenewal(self.id, self.scope, self.slice, wish)

    def end_renewal(self, renewal: SliceRenewal, renewed: Renewed) -> None:
        self.slice = slices.apply_renewal(self.slice, renewed)
        self.is_granted = not self._is_short(renewal.wish.amount)

    def _is_short(self, wanted: int) -> bool:
        return self.slice.free < LOW_SHARE * wanted


class BudgetSlices:
    """Of one process and one event loop. ``monotonic`` gives the moments; ``now`` is the store's clock.
    ``is_down``: whether what is kept is not shared with other processes any more.
    """

    def __init__(self, monotonic: Callable[[], float], is_down: Callable[[], bool]) -> None:
        self._monotonic = monotonic
        self._is_down = is_down
        self.start_anew()
        _open.add(self)

    def start_anew(self) -> None:
        """As in a process that has done nothing yet: a forked child has no part in what its parent holds."""
        self._accounts: dict[str, _SliceAccount] = {}
        self._calls: dict[str, list[tuple[_SliceAccount, SliceHold]]] = {}
        self._refusals: dict[tuple[str, ...], tuple[Values, float]] = {}
        self._news: list[SliceNews] = []
        self._is_renewing = False

    def admit(
        self, gate: Gate, request: ReservationRequest, values: Values | None, now: float
    ) -> Admission | Refusal | None:
        """None where the store has to decide. ``values`` are those that the gate needs for a request without
        budgets, where they are known.
        """
        moment = self._monotonic()
        refused = self._refuse_again(gate, request, now, moment)
        if refused is not None:
            return refused
        self._count_demand(request, moment)
        if values is None:
            return None
        own = {key: self._accounts[key].slice for key in _budgets_of(request) if key in self._accounts}
        answer = local_admission.admit(gate, request, values, own, now)
        if answer is None:
            return None
        self._calls[request.call_id] = [
            self._begin_call(scope, answer.slices[scope.key]) for scope in request.scopes
        ]
        return answer.admission

    def note_answer(self, request: ReservationRequest, answer: Admission | Refusal, values: Values) -> None:
        """What the store has decided by these values; it may think again, with others."""
        self._refusals.pop(_budgets_of(request), None)
        if isinstance(answer, Refusal) and answer.reason is SkipReason.OVER_BUDGET:
            if len(self._refusals) >= MAX_REFUSALS:
                self._refusals.clear()
            self._refusals[_budgets_of(request)] = (values, self._monotonic())

    def settle(self, call_id: str, settlement: Settlement) -> None:
        """Count what a call has used, once; nothing for one that the store has admitted."""
        answered = settlement.outcome.kind is Kind.OK
        actual = ActualUse(settlement.usage, settlement.cost, is_answered=answered)
        for account, hold in self._calls.pop(call_id, ()):
            account.calls -= 1
            used = measure_use(account.scope.unit, actual, hold.amount)
            account.slice = slices.settle(account.slice, hold, used)

    def is_low(self, request: ReservationRequest) -> bool:
        """Whether a slice for calls like this one should be renewed at once."""
        moment = self._monotonic()
        accounts = (self._accounts.get(key) for key in _budgets_of(request))
        return not self._is_renewing and any(one is not None and one.is_low(moment) for one in accounts)

    @property
    def is_active(self) -> bool:
        """Whether anything is held, or will be told."""
        return bool(self._accounts)

    def take_news(self) -> list[SliceNews]:
        """What has come to light, each once."""
        taken, self._news = self._news, []
        return taken

    def begin_renewals(self, *, is_last: bool = False) -> list[SliceRenewal]:
        """The slices that are to be renewed, none while others are; what nobody uses any more is forgotten.
        ``is_last``: all are given back.
        """
        if self._is_renewing:
            return []
        moment = self._monotonic()
        for key in [key for key, one in self._accounts.items() if one.is_idle(moment)]:
            if self._accounts[key].demand.is_over(moment):
                del self._accounts[key]
        busy = [one for one in self._accounts.values() if not one.is_idle(moment)]
        self._is_renewing = bool(busy)
        return [one.begin_renewal(moment, is_last=is_last) for one in busy]

    def renew(
        self, renewals: Sequence[SliceRenewal], values: Values, now: float
    ) -> tuple[Writes, RenewalResult]:
        """Run by the store. One that only takes the place of the shared one has no slices to give."""
        if self._is_down():
            return {}, RenewalResult()
        seen, renewed = dict(values), []
        writes: dict[str, Write | None] = {}
        for one in renewals:
            made, result = local_admission.renew(one, seen, now)
            if result is not None:
                renewed.append((one, result))
            writes = merge_writes(writes, made)
            seen.update(after_writes(made))
        scopes = [one.scope for one in renewals]
        notices = collect_notices(scopes, values, writes)
        changes = find_changes(WatchedRecords((), scopes), values, writes, now)
        return writes, RenewalResult(renewed, SliceNews(notices, changes))

    def end_renewals(self, result: RenewalResult | None) -> None:
        """None: it is not known what has become of them; the next renewal finds out."""
        self._is_renewing = False
        if result is None:
            return
        for renewal, renewed in result.renewed:
            self._accounts[renewal.scope.key].end_renewal(renewal, renewed)
        if any(result.news):
            self._news.append(result.news)

    def _refuse_again(
        self, gate: Gate, request: ReservationRequest, now: float, moment: float
    ) -> Refusal | None:
        """In the words of the budget, unless there is anything new to be written down."""
        values, refused_at = self._refusals.get(_budgets_of(request), ({}, 0.0))
        if not values or moment - refused_at > REFUSED_SECONDS:
            return None
        known = {**dict.fromkeys(gate.keys_with_budgets(request)), **values}
        writes, answer = gates.admit(gate, request, known, now)
        return answer if isinstance(answer, Refusal) and not writes else None

    def _count_demand(self, request: ReservationRequest, moment: float) -> None:
        call = worst_case_of(request)
        if call is None:
            return
        for scope in request.scopes:
            account = self._accounts.get(scope.key)
            if account is None:
                account = self._accounts[scope.key] = _SliceAccount(scope, moment)
            amount = call.in_unit(scope.unit).amount
            account.demand = account.demand.with_call(amount, request.lease_seconds, moment)

    def _begin_call(self, scope: BudgetScope, after: BudgetSlice) -> tuple[_SliceAccount, SliceHold]:
        account = self._accounts[scope.key]
        hold = SliceHold(after.held - account.slice.held, after.generation)
        account.slice = after
        account.calls += 1
        return account, hold


def _budgets_of(request: ReservationRequest) -> tuple[str, ...]:
    return tuple(scope.key for scope in request.scopes)


def _start_all_anew() -> None:
    for one in list(_open):
        one.start_anew()


os.register_at_fork(after_in_child=_start_all_anew)
