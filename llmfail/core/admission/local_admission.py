"""Admission from a process's own slices of the budgets, and how these are renewed in the store."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import budget as budgets
from llmfail.core.admission import budget_holds
from llmfail.core.admission import budget_slice as slices
from llmfail.core.admission import gate as gates
from llmfail.core.admission.budget import BudgetScope
from llmfail.core.admission.budget_slice import BudgetSlice, Renewed, SliceRecord, SliceWish
from llmfail.core.admission.gate import Admission, Gate
from llmfail.core.admission.reservation_request import ReservationRequest
from llmfail.core.records.record import Values, Write, Writes, dump, hourly_expiry, is_newer, load


class LocalAdmission(Struct, frozen=True):
    """An admitted call, and the slices with it among the calls under way, by the keys of their budgets. The
    reservation names no budget: what the call uses is settled in the slices.
    """

    admission: Admission
    slices: Mapping[str, BudgetSlice]


class SliceRenewal(Struct, frozen=True):
    """One slice that is to be renewed, as it was when that was asked for. ``id`` names it in the store."""

    id: str
    scope: BudgetScope
    slice: BudgetSlice
    wish: SliceWish

    @property
    def key(self) -> str:
        return f"slice/{self.id}"

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key, *self.scope.keys)


def admit(
    gate: Gate, request: ReservationRequest, values: Values, own: Mapping[str, BudgetSlice], now: float
) -> LocalAdmission | None:
    """None where the store has to decide: where anything but a budget would change, or stands in the way.
    ``values`` must have the keys that the gate needs for a request without budgets, and ``own`` has the
    slices of this process, by the keys of their budgets.
    """
    writes, answer = gates.admit(gate, replace(request, scopes=()), values, now)
    call = budget_holds.worst_case_of(request)
    if writes or call is None or not isinstance(answer, Admission):
        return None
    ends_at = budgets.expiry_of(now + request.lease_seconds)
    after = {}
    for scope in request.scopes:
        before = own.get(scope.key)
        one = before and slices.take(before, call.in_unit(scope.unit).amount, ends_at)
        if one is None:
            return None
        after[scope.key] = one
    reserved = replace(answer.reservation, amount=call.amount)
    return LocalAdmission(replace(answer, reservation=reserved), after)


def renew(renewal: SliceRenewal, values: Values, now: float) -> tuple[Writes, Renewed | None]:
    """The change with which a slice is renewed; None for a budget that a newer llmfail has written."""
    scope = renewal.scope
    if is_newer(values[scope.key]):
        return {}, None
    spending = budget_holds.load_spending(scope, values, now)
    record = load(values[renewal.key], SliceRecord)
    renewed = slices.renew(renewal.slice, record, spending, scope.limit, renewal.wish, now)
    after = budgets.mark_warned(renewed.spending, scope)
    limit = scope.limit if renewed.takes_more else None
    expires_at = hourly_expiry(max(renewed.record.ends_at, now) + budgets.CALL_RETENTION_SECONDS)
    writes = {
        **budget_holds.spending_writes(scope, after, values, now, limit),
        renewal.key: Write(dump(renewed.record), expires_at),
    }
    return writes, renewed
