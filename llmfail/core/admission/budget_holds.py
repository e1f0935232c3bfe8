"""The budgets in which one call counts: its worst case is held in every one of them, or in none, and each is
settled at what the call cost. The record of the call says once that it is not settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from msgspec.structs import replace

from llmfail.core.admission import budget as budgets
from llmfail.core.admission.budget import BudgetScope, ReservationRecord, Spending
from llmfail.core.admission.budget_unit import ActualUse, format_amount, measure_use
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import Reservation, ReservationRequest
from llmfail.core.receipt import SkipReason, format_time, format_usd
from llmfail.core.records import name_list
from llmfail.core.records.record import (
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    is_newer,
    load,
    without_newer,
)


def reservation_key(call_id: str) -> str:
    return f"call/{call_id}"


def keys_of(request: ReservationRequest) -> tuple[str, ...]:
    call = (reservation_key(request.call_id),) if request.scopes else ()
    return (*call, *(key for scope in request.scopes for key in scope.keys))


def load_spending(scope: BudgetScope, values: Values, now: float) -> Spending:
    """A budget as of now, with the holds of the period before that have ended; ``values`` must have
    ``scope.keys``.
    """
    spending = budgets.expire_holds(load(values[scope.key], Spending), now)
    lost = (
        budgets.sum_expired_holds(before, now)
        if (before := _load_previous(scope, values))
        else budgets.NO_HOLDS
    )
    return replace(spending, unsettled=spending.unsettled + lost) if lost.calls else spending


def _load_previous(scope: BudgetScope, values: Values) -> Spending | None:
    return load(values[scope.previous_key], Spending) if scope.previous_key else None


def worst_case_of(request: ReservationRequest) -> ReservationRecord | None:
    """What a call holds in its budgets at most; None where its price is not known and matters."""
    amount = request.max_charge
    return None if amount is None else request.to_record(amount)


def find_refusal(
    request: ReservationRequest, amount: int | None, spent: Mapping[BudgetScope, Spending], values: Values
) -> Refusal | None:
    if amount is None:
        refused = request.max_cost is not None or not request.allow_unknown
        note = "its price is unknown: set one in `models`" + ", or on_unknown_price: allow" * (
            request.max_cost is None
        )
        return Refusal(SkipReason.UNKNOWN_PRICE, None, note) if refused else None
    if request.max_cost is not None and amount > request.max_cost:
        left = format_usd(max(request.max_cost, 0))
        note = f"it may cost ${format_usd(amount)}, and the maximum cost leaves ${left}"
        return Refusal(SkipReason.TOO_EXPENSIVE, None, note)
    call = request.to_record(amount)
    for scope, spending in spent.items():
        if is_newer(values[scope.key]):
            note = f"budget {scope.label} was written by a newer llmfail; upgrade"
            return Refusal(SkipReason.OVER_BUDGET, None, note)
        wanted = call.in_unit(scope.unit).amount
        if not budgets.has_room(spending, scope.limit, wanted):
            note = _explain(scope, spending, wanted)
            return Refusal(SkipReason.OVER_BUDGET, scope.ends_at, note)
    return None


def _explain(scope: BudgetScope, spending: Spending, amount: int) -> str:
    shown = format_amount(scope.unit, amount)
    lead = {"usd": f"it may cost {shown}", "requests": "it is one more", "tokens": f"it may use {shown}"}
    held = f" and {format_amount(scope.unit, spending.held)} held" if spending.held else ""
    until = f" until {format_time(scope.ends_at)}" if scope.ends_at is not None else ""
    return (
        f"{lead[scope.unit]}, and of budget {scope.label} "
        f"{format_amount(scope.unit, spending.spent)} are spent{held} "
        f"out of {format_amount(scope.unit, scope.limit)}{until}"
    )


def hold(
    reservation: Reservation, spent: Mapping[BudgetScope, Spending], values: Values
) -> dict[str, Write | None]:
    """Hold the worst case in every budget, and write the record of the call."""
    if not spent:
        return {}
    ends_at = budgets.expiry_of(reservation.starts_at + reservation.request.lease_seconds)
    call = reservation.request.to_record(reservation.amount, ends_at)
    expires_at = hourly_expiry(ends_at + budgets.CALL_RETENTION_SECONDS)
    writes: dict[str, Write | None] = {
        reservation_key(reservation.request.call_id): Write(dump(call), expires_at)
    }
    for scope, spending in spent.items():
        held = budgets.hold(spending, call.in_unit(scope.unit))
        writes |= spending_writes(scope, held, values, reservation.at, scope.limit)
    return writes


def settle(
    reservation: Reservation, actual: ActualUse, values: Values, now: float
) -> dict[str, Write | None]:
    """A call without a record has been settled, except in budgets whose own records were lost since."""
    scopes = reservation.request.scopes
    if not scopes:
        return {}
    key = reservation_key(reservation.request.call_id)
    call = load(values[key], ReservationRecord)
    writes: dict[str, Write | None] = {} if call is None else {key: None}
    worst = reservation.request.to_record(reservation.amount)
    for scope in scopes:
        spending = load_spending(scope, values, now)
        used = measure_use(scope.unit, actual, worst.in_unit(scope.unit).amount)
        if call is not None:
            spending = budgets.settle(spending, call.in_unit(scope.unit), used)
        elif spending.since != reservation.budgets_since.get(scope.key):
            spending = replace(spending, spent=spending.spent + used)
        else:
            continue
        writes |= spending_writes(scope, budgets.mark_warned(spending, scope), values, now)
    return writes


def cancel(request: ReservationRequest) -> StoreChange:
    """Give back what is held for a call that was never made, if anything is."""
    return StoreChange(keys_of(request), partial(_cancel, request))


def _cancel(request: ReservationRequest, values: Values, now: float) -> Writes:
    key = reservation_key(request.call_id)
    call = load(values[key], ReservationRecord) if request.scopes else None
    if call is None:
        return {}
    writes: dict[str, Write | None] = {key: None}
    for scope in request.scopes:
        freed = budgets.release(load_spending(scope, values, now), call.in_unit(scope.unit))
        writes |= spending_writes(scope, freed, values, now)
    return without_newer(writes, values)


def mark_refused(request: ReservationRequest, values: Values, now: float) -> Writes:
    """The budgets without room for this call, with what they have refused; nothing for those that know it."""
    amount = request.max_charge
    call = request.to_record(amount or 0)
    writes: dict[str, Write | None] = {}
    for scope in request.scopes:
        spending, wanted = load_spending(scope, values, now), call.in_unit(scope.unit).amount
        after = budgets.mark_refused(spending, wanted)
        if after is not spending and not budgets.has_room(spending, scope.limit, wanted):
            writes |= spending_writes(scope, after, values, now)
    return without_newer(writes, values)


def spending_writes(
    scope: BudgetScope, spending: Spending, values: Values, now: float, limit: int | None = None
) -> dict[str, Write | None]:
    """Ended holds of the period before are reported once: its record is written without them. A ``limit``
    holds also for what others hold at the same moment.
    """
    how = budgets.sum_jointly(load(values[scope.key], Spending), now, limit)
    writes: dict[str, Write | None] = {scope.key: Write(dump(spending), scope.expires_at, how)}
    before = _load_previous(scope, values)
    if scope.previous_key and before is not None and budgets.sum_expired_holds(before, now).calls:
        how = budgets.sum_jointly(before, now)
        writes[scope.previous_key] = Write(dump(budgets.expire_holds(before, now)), scope.expires_at, how)
    if scope.bucket_index_key and values[scope.key] is None:
        writes |= name_list.append(scope.bucket_index_key, scope.bucket, values, scope.expires_at)
    return writes
