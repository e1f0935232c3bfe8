"""What budgets and rate limits allow of one call: its worst case is held in every budget in which it counts,
and its units are reserved in every rate limit, or nothing at all. Pure changes, made by ``gate`` in the same
step as the circuit's.

How a target counts tokens is learnt here too, since the worst case depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission import budget as budgets
from llmfail.core.admission import rate_limit
from llmfail.core.admission.budget import BudgetScope, ReservationRecord, Spending
from llmfail.core.admission.budget_unit import ActualUse, format_amount, measure_use
from llmfail.core.admission.rate_limit import GcraState, RateLimit
from llmfail.core.admission.refusal import Refusal
from llmfail.core.model import Address, Usage
from llmfail.core.pricing import price
from llmfail.core.pricing.price import Rates
from llmfail.core.receipt import SkipReason, format_time, format_usd
from llmfail.core.records import name_list, state_keys
from llmfail.core.records.joint_write import Sum
from llmfail.core.records.record import (
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    hourly_expiry,
    is_newer,
    load,
    load_or_default,
    without_newer,
)
from llmfail.core.tokens import token_bounds as tokens
from llmfail.core.tokens.token_bounds import Calibration, PromptSize

CALIBRATION_RETENTION_SECONDS = 180 * 86400.0
GCRA_MARGIN_SECONDS = 3600.0


class ReservationRequest(Struct, frozen=True):
    """What a call asks for. ``call_id`` is unique; its hold and its lease last ``lease_seconds`` from its
    start, which may be ``max_wait`` seconds away. ``max_cost`` is what the caller's own limit leaves for it,
    in pico-dollars. ``rates`` is None when the price is unknown.
    """

    call_id: str
    lease_seconds: float
    feature: str
    size: PromptSize
    output_tokens: int
    rates: Rates | None = None
    scopes: tuple[BudgetScope, ...] = ()
    max_cost: int | None = None
    allow_unknown: bool = False
    max_wait: float = 0.0
    ask_id: str = ""
    """The ask, where a circuit that ramps may leave it to another target."""
    is_probe: bool = False
    """It is made to know how the target is."""
    is_forced: bool = False
    """Somebody wants to know, whatever is known of the target; limits and budgets hold all the same."""

    @property
    def is_priced(self) -> bool:
        """Whether any limit on its cost applies."""
        return self.max_cost is not None or any(scope.unit == "usd" for scope in self.scopes)

    @property
    def max_tokens(self) -> int:
        """What it may use at worst."""
        return tokens.upper_bound(self.size) + self.output_tokens


class BudgetWarning(Struct, frozen=True):
    """A budget of which so much is spent that its warning is due."""

    scope: BudgetScope
    spent: int


class UnsettledCalls(Struct, frozen=True):
    """Calls in a budget whose holds ended before they were settled."""

    scope: BudgetScope
    calls: int
    amount: int


BudgetNotice = BudgetWarning | UnsettledCalls


class Reservation(Struct, frozen=True):
    """A call may start ``wait`` seconds after ``at``. It may cost ``amount``, in pico-dollars;
    ``budgets_since`` tells whether a budget's record is still the same. ``tokens`` are reserved in each limit
    on tokens, until the moments in ``limits_due_at``.
    """

    request: ReservationRequest
    at: float
    amount: int = 0
    tokens: int = 0
    wait: float = 0.0
    budgets_since: Mapping[str, float] = field(default_factory=dict)
    limits_due_at: Mapping[str, float] = field(default_factory=dict)

    @property
    def starts_at(self) -> float:
        return self.at + self.wait


def reservation_key(call_id: str) -> str:
    return f"call/{call_id}"


def keys(address: Address, limits: Sequence[RateLimit], request: ReservationRequest) -> tuple[str, ...]:
    return (
        state_keys.calibration_key(address),
        *(limit.key for limit in limits),
        *_budget_keys(request),
    )


def _budget_keys(request: ReservationRequest) -> tuple[str, ...]:
    call = (reservation_key(request.call_id),) if request.scopes else ()
    return (*call, *(key for scope in request.scopes for key in scope.keys))


def load_calibration(address: Address, values: Values) -> Calibration:
    """How the target at an address counts tokens, as far as it is known."""
    return load(values[state_keys.calibration_key(address)], Calibration) or tokens.default_calibration(
        address.model
    )


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


def admit(
    address: Address, limits: Sequence[RateLimit], request: ReservationRequest, values: Values, now: float
) -> tuple[dict[str, Write | None], Reservation] | Refusal:
    if not request.scopes and request.max_cost is None and not limits:
        return {}, Reservation(request, now)
    known = load_calibration(address, values)
    amount = _worst_case_cost(request) if request.is_priced else 0
    spent = {scope: load_spending(scope, values, now) for scope in request.scopes}
    refusal = _refuse_over_budget(request, amount, spent, values)
    if refusal is not None:
        return refusal
    states = {limit: load_or_default(values[limit.key], GcraState) for limit in limits}
    wait = max((rate_limit.wait_seconds(state, limit, now) for limit, state in states.items()), default=0.0)
    if wait > request.max_wait:
        return _refuse_over_rate(states, wait, now)
    counted = tokens.estimate_input(request.size, known) + request.output_tokens
    units = {limit: counted if limit.unit == "tokens" else 1 for limit in limits}
    reserved = {
        limit: rate_limit.reserve(state, limit, units[limit], now + wait, now)
        for limit, state in states.items()
    }
    reservation = Reservation(
        request=request,
        at=now,
        amount=amount or 0,
        tokens=counted,
        wait=wait,
        budgets_since={scope.key: spending.since for scope, spending in spent.items()},
        limits_due_at={
            limit.key: state.due_at for limit, state in reserved.items() if limit.unit == "tokens"
        },
    )
    writes: dict[str, Write | None] = {}
    for limit, state in reserved.items():
        is_joint = not wait and states[limit].seen_at <= now
        how = rate_limit.reserve_jointly(limit, units[limit], now) if is_joint else None
        writes[limit.key] = _gcra_write(state, now, how)
    return {**writes, **_hold_in_budgets(reservation, spent, values)}, reservation


def settle(
    address: Address,
    limits: Sequence[RateLimit],
    reservation: Reservation,
    actual: ActualUse,
    values: Values,
    now: float,
) -> dict[str, Write | None]:
    writes = _settle_budgets(reservation, actual, values, now)
    usage = actual.usage
    if usage is not None and not usage.estimated:
        writes |= _adjust_token_limits(
            limits, reservation, usage.input_tokens + usage.output_tokens, values, now
        )
        writes |= _learn_calibration(address, reservation.request.size, usage, values, now)
    elif actual.cost == 0:
        writes |= _adjust_token_limits(limits, reservation, 0, values, now)
    return writes


def mark_refused(request: ReservationRequest, values: Values, now: float) -> Writes:
    """The budgets without room for this call, with what they have refused; nothing for those that know it."""
    amount = _worst_case_cost(request) if request.is_priced else 0
    call = _record_of(request, amount or 0)
    writes: dict[str, Write | None] = {}
    for scope in request.scopes:
        spending, wanted = load_spending(scope, values, now), call.in_unit(scope.unit).amount
        after = budgets.mark_refused(spending, wanted)
        if after is not spending and not budgets.has_room(spending, scope.limit, wanted):
            writes |= spending_writes(scope, after, values, now)
    return without_newer(writes, values)


def mark_unshared(reservation: Reservation) -> Reservation:
    """A reservation that was made in a store of this process alone: no shared budget has it, so that its
    settlement counts in full wherever its call is not on record.
    """
    return replace(reservation, budgets_since={})


def cancel(request: ReservationRequest) -> StoreChange:
    """Give back what is held for a call that was never made, if anything is."""
    return StoreChange(_budget_keys(request), partial(_cancel, request))


def collect_notices(scopes: Sequence[BudgetScope], before: Values, after: Writes) -> tuple[BudgetNotice, ...]:
    """The notices that these writes give cause for. Calls that several budgets lost are reported once."""
    found: list[BudgetNotice] = []
    for scope in scopes:
        write = after.get(scope.key)
        old, new = load_or_default(before[scope.key], Spending), load(write.text, Spending) if write else None
        if new is None:
            continue
        if new.warned and not old.warned:
            found.append(BudgetWarning(scope, new.spent))
        calls = new.unsettled.calls - old.unsettled.calls
        if calls > 0 and not any(isinstance(notice, UnsettledCalls) for notice in found):
            found.append(UnsettledCalls(scope, calls, new.unsettled.amount - old.unsettled.amount))
    return tuple(found)


def _hold_in_budgets(
    reservation: Reservation, spent: Mapping[BudgetScope, Spending], values: Values
) -> dict[str, Write | None]:
    """Hold the worst case in every budget, and write the record of the call."""
    if not spent:
        return {}
    ends_at = budgets.expiry_of(reservation.starts_at + reservation.request.lease_seconds)
    call = _record_of(reservation.request, reservation.amount, ends_at)
    expires_at = hourly_expiry(ends_at + budgets.CALL_RETENTION_SECONDS)
    writes: dict[str, Write | None] = {
        reservation_key(reservation.request.call_id): Write(dump(call), expires_at)
    }
    for scope, spending in spent.items():
        held = budgets.hold(spending, call.in_unit(scope.unit))
        writes |= spending_writes(scope, held, values, reservation.at, scope.limit)
    return writes


def worst_case_of(request: ReservationRequest) -> ReservationRecord | None:
    """What a call holds in its budgets at most; None where its price is not known and matters."""
    amount = _worst_case_cost(request) if request.is_priced else 0
    return None if amount is None else _record_of(request, amount)


def _record_of(request: ReservationRequest, amount: int, ends_at: int = 0) -> ReservationRecord:
    """A call that may cost so much. Its tokens are counted where a budget counts tokens."""
    counts_tokens = any(scope.unit == "tokens" for scope in request.scopes)
    return ReservationRecord(amount, ends_at, request.max_tokens if counts_tokens else 0)


def _settle_budgets(
    reservation: Reservation, actual: ActualUse, values: Values, now: float
) -> dict[str, Write | None]:
    """A call without a record has been settled, except in budgets whose own records were lost since."""
    scopes = reservation.request.scopes
    if not scopes:
        return {}
    key = reservation_key(reservation.request.call_id)
    call = load(values[key], ReservationRecord)
    writes: dict[str, Write | None] = {} if call is None else {key: None}
    worst = _record_of(reservation.request, reservation.amount)
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


def _adjust_token_limits(
    limits: Sequence[RateLimit], reservation: Reservation, used: int, values: Values, now: float
) -> dict[str, Write]:
    """Correct the limits on tokens by what the call used."""
    writes = {}
    for limit in (one for one in limits if one.unit == "tokens"):
        before = load_or_default(values[limit.key], GcraState)
        more = used - reservation.tokens
        after = rate_limit.adjust(before, limit, more, reservation.limits_due_at[limit.key], now)
        how = rate_limit.adjust_jointly(before, after) if before.seen_at <= now else None
        writes[limit.key] = _gcra_write(after, now, how)
    return writes


def _worst_case_cost(request: ReservationRequest) -> int | None:
    if request.rates is None:
        return None
    return price.worst_case(request.rates, tokens.upper_bound(request.size), request.output_tokens)


def _refuse_over_budget(
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
    call = _record_of(request, amount)
    for scope, spending in spent.items():
        if is_newer(values[scope.key]):
            note = f"budget {scope.label} was written by a newer llmfail; upgrade"
            return Refusal(SkipReason.OVER_BUDGET, None, note)
        wanted = call.in_unit(scope.unit).amount
        if not budgets.has_room(spending, scope.limit, wanted):
            note = _explain_over_budget(scope, spending, wanted)
            return Refusal(SkipReason.OVER_BUDGET, scope.ends_at, note)
    return None


def _explain_over_budget(scope: BudgetScope, spending: Spending, amount: int) -> str:
    shown = format_amount(scope.unit, amount)
    lead = {"usd": f"it may cost {shown}", "requests": "it is one more", "tokens": f"it may use {shown}"}
    held = f" and {format_amount(scope.unit, spending.held)} held" if spending.held else ""
    until = f" until {format_time(scope.ends_at)}" if scope.ends_at is not None else ""
    return (
        f"{lead[scope.unit]}, and of budget {scope.label} "
        f"{format_amount(scope.unit, spending.spent)} are spent{held} "
        f"out of {format_amount(scope.unit, scope.limit)}{until}"
    )


def _refuse_over_rate(states: Mapping[RateLimit, GcraState], wait: float, now: float) -> Refusal:
    limit = max(states, key=lambda limit: rate_limit.wait_seconds(states[limit], limit, now))
    note = f"{limit.per_minute} {limit.unit} a minute at {limit.name}: the next may start in {wait:.1f} s"
    return Refusal(SkipReason.RATE_LIMITED_HERE, now + wait, note)


def _learn_calibration(
    address: Address, size: PromptSize, usage: Usage, values: Values, now: float
) -> dict[str, Write]:
    if size.expected < tokens.MIN_SAMPLE_TOKENS:
        return {}
    known = load_calibration(address, values)
    after = tokens.learn(known, size, usage.input_tokens)
    if after == known:
        return {}
    return {
        state_keys.calibration_key(address): Write(
            dump(after), hourly_expiry(now + CALIBRATION_RETENTION_SECONDS)
        )
    }


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


def _gcra_write(state: GcraState, now: float, how: Sum | None) -> Write:
    """It is kept for a while longer, because others may have reserved more meanwhile."""
    return Write(dump(state), hourly_expiry(rate_limit.expires_at(state, now) + GCRA_MARGIN_SECONDS), how)
