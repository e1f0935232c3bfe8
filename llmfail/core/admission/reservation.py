"""What budgets and rate limits allow of one call: its worst case is held in every budget in which it counts,
and its units are reserved in every rate limit, or nothing at all. Pure changes, made by ``gate`` in the same
step as the circuit's.

How a target counts tokens is learnt here too, since the worst case depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from llmfail.core.admission import budget_holds, rate_limit
from llmfail.core.admission.budget_unit import ActualUse
from llmfail.core.admission.rate_limit import GcraState, RateLimit
from llmfail.core.admission.refusal import Refusal
from llmfail.core.admission.reservation_request import Reservation, ReservationRequest
from llmfail.core.model import Address, Usage
from llmfail.core.receipt import SkipReason
from llmfail.core.records import state_keys
from llmfail.core.records.joint_write import Sum
from llmfail.core.records.record import (
    Values,
    Write,
    dump,
    hourly_expiry,
    load,
    load_or_default,
)
from llmfail.core.tokens import token_bounds as tokens
from llmfail.core.tokens.token_bounds import Calibration, PromptSize

CALIBRATION_RETENTION_SECONDS = 180 * 86400.0
GCRA_MARGIN_SECONDS = 3600.0


def load_calibration(address: Address, values: Values) -> Calibration:
    """How the target at an address counts tokens, as far as it is known."""
    return load(values[state_keys.calibration_key(address)], Calibration) or tokens.default_calibration(
        address.model
    )


def admit(
    address: Address, limits: Sequence[RateLimit], request: ReservationRequest, values: Values, now: float
) -> tuple[dict[str, Write | None], Reservation] | Refusal:
    if not request.scopes and request.max_cost is None and not limits:
        return {}, Reservation(request, now)
    known = load_calibration(address, values)
    amount = request.max_charge
    spent = {scope: budget_holds.load_spending(scope, values, now) for scope in request.scopes}
    refusal = budget_holds.find_refusal(request, amount, spent, values)
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
    return {**writes, **budget_holds.hold(reservation, spent, values)}, reservation


def settle(
    address: Address,
    limits: Sequence[RateLimit],
    reservation: Reservation,
    actual: ActualUse,
    values: Values,
    now: float,
) -> dict[str, Write | None]:
    writes = budget_holds.settle(reservation, actual, values, now)
    usage = actual.usage
    if usage is not None and not usage.estimated:
        writes |= _adjust_token_limits(
            limits, reservation, usage.input_tokens + usage.output_tokens, values, now
        )
        writes |= learn_calibration(address, [(reservation.request.size, usage)], values, now)
    elif actual.cost == 0:
        writes |= _adjust_token_limits(limits, reservation, 0, values, now)
    return writes


def mark_unshared(reservation: Reservation) -> Reservation:
    """A reservation that was made in a store of this process alone: no shared budget has it, so that its
    settlement counts in full wherever its call is not on record.
    """
    return replace(reservation, budgets_since={})


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


def _refuse_over_rate(states: Mapping[RateLimit, GcraState], wait: float, now: float) -> Refusal:
    limit = max(states, key=lambda limit: rate_limit.wait_seconds(states[limit], limit, now))
    note = f"{limit.per_minute} {limit.unit} a minute at {limit.name}: the next may start in {wait:.1f} s"
    return Refusal(SkipReason.RATE_LIMITED_HERE, now + wait, note)


def learn_calibration(
    address: Address, samples: Iterable[tuple[PromptSize, Usage | None]], values: Values, now: float
) -> dict[str, Write]:
    """What answers say of how their target counts tokens, one after another. An estimate says nothing."""
    told = [
        (size, usage.input_tokens)
        for size, usage in samples
        if size.expected >= tokens.MIN_SAMPLE_TOKENS and usage is not None and not usage.estimated
    ]
    if not told:
        return {}
    known = after = load_calibration(address, values)
    for size, input_tokens in told:
        after = tokens.learn(after, size, input_tokens)
    if after == known:
        return {}
    return {
        state_keys.calibration_key(address): Write(
            dump(after), hourly_expiry(now + CALIBRATION_RETENTION_SECONDS)
        )
    }


def _gcra_write(state: GcraState, now: float, how: Sum | None) -> Write:
    """It is kept for a while longer, because others may have reserved more meanwhile."""
    return Write(dump(state), hourly_expiry(rate_limit.expires_at(state, now) + GCRA_MARGIN_SECONDS), how)
