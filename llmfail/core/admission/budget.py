"""One budget in one period, as a value: what is spent, and what calls under way may still cost. It counts
dollars, requests or tokens (``budget_unit``).

A call holds its worst case before it is sent and is settled, once, at what it cost. A hold ends by itself
when its process has died or is very late. The cost is not known then: the call counts as unsettled, its
amount is free again, and it is still settled, once, if its answer arrives after all. Holds that end together
are stored as one sum, so a record stays small however many calls are under way; a single call is a
``ReservationRecord``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.admission.budget_unit import BudgetUnit
from llmfail.core.records.joint_write import Sum
from llmfail.core.records.record import Record

HOLD_GRAIN_SECONDS = 5
"""Holds end at the next multiple of it."""
RETENTION_SECONDS = 35 * 86400.0
"""Seconds that a record outlives its period: for calls that are settled late, and so that what is spent is
not forgotten when the store's clock is ahead for a while.
"""
CALL_RETENTION_SECONDS = 2 * 86400.0
"""Seconds that the record of a call outlives its hold."""


class HoldSum(Struct, frozen=True):
    """A number of calls, and what they may cost together."""

    amount: int = 0
    calls: int = 0

    def with_call(self, amount: int) -> HoldSum:
        return HoldSum(self.amount + amount, self.calls + 1)

    def without_call(self, amount: int) -> HoldSum:
        return HoldSum(max(self.amount - amount, 0), max(self.calls - 1, 0))

    def __add__(self, other: HoldSum) -> HoldSum:
        return HoldSum(self.amount + other.amount, self.calls + other.calls)


NO_HOLDS = HoldSum()


class ReservationRecord(Record, frozen=True):
    """An unsettled call: its worst case, and the end of its hold. A settled call has no record. ``amount`` is
    in pico-dollars.
    """

    amount: int = 0
    ends_at: int = 0
    tokens: int = 0

    def in_unit(self, unit: BudgetUnit) -> ReservationRecord:
        """The same with the amount that a budget of this unit counts."""
        match unit:
            case "usd":
                return self
            case "requests":
                return replace(self, amount=1)
            case "tokens":
                return replace(self, amount=self.tokens)


class Spending(Record, frozen=True):
    """``since`` tells this record from one that was lost; ``holds`` are by the second in which they end;
    ``warned``: the one warning of the period was given; ``refused`` is the smallest amount that was
    refused in this period, 0 before the first.
    """

    since: float = 0.0
    spent: int = 0
    holds: Mapping[int, HoldSum] = field(default_factory=dict)
    unsettled: HoldSum = NO_HOLDS
    warned: bool = False
    refused: int = 0

    @property
    def held(self) -> int:
        return sum(held.amount for held in self.holds.values())

    @property
    def spent_and_held(self) -> int:
        return self.spent + self.held

    def refuses(self, limit: int) -> bool:
        """Whether it would refuse again what it has refused."""
        return bool(self.refused) and self.spent_and_held + self.refused > limit


class BudgetScope(Struct, frozen=True):
    """A budget in which a call counts: the key of its record, and its limit in its ``unit``. ``previous_key``
    is the record of the period before. The warning comes once ``alert_at`` is spent; above ``downgrade_at``
    the cheapest targets come first. A budget that is divided by ``each`` has a record for each ``bucket`` (a
    user, feature, provider or target), and ``bucket_index_key`` lists them. ``ends_at`` is the end of the
    period, None for a budget without one.
    """

    name: str
    key: str
    limit: int
    previous_key: str | None = None
    alert_at: int | None = None
    downgrade_at: int | None = None
    ends_at: float | None = None
    each: str | None = None
    bucket: str = ""
    bucket_index_key: str = ""
    unit: BudgetUnit = "usd"

    @property
    def label(self) -> str:
        """Its name in messages."""
        if self.each is None:
            return self.name
        return f"{self.name} of {self.bucket}" if self.bucket else f"{self.name} (no {self.each} named)"

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key for key in (self.key, self.previous_key, self.bucket_index_key) if key)

    @property
    def expires_at(self) -> float | None:
        return None if self.ends_at is None else self.ends_at + RETENTION_SECONDS


def expiry_of(moment: float) -> int:
    """When a hold ends that is needed until ``moment``."""
    return ceil(moment / HOLD_GRAIN_SECONDS) * HOLD_GRAIN_SECONDS


def expire_holds(spending: Spending | None, now: float) -> Spending:
    """The record as of ``now``, its ended holds counted as unsettled; a new one where there is none."""
    if spending is None:
        return Spending(since=now)
    lost = sum_expired_holds(spending, now)
    if not lost.calls:
        return spending
    live = {end: held for end, held in spending.holds.items() if end > now}
    return replace(spending, holds=live, unsettled=spending.unsettled + lost)


def sum_expired_holds(spending: Spending, now: float) -> HoldSum:
    """The holds that have ended and do not count as unsettled yet."""
    return sum((held for end, held in spending.holds.items() if end <= now), NO_HOLDS)


def sum_jointly(before: Spending | None, now: float, limit: int | None = None) -> Sum:
    """How a change of this record is made beside those of others. Ended holds are moved once."""
    ended = [end for end in before.holds if end <= now] if before is not None else ()
    return Sum(
        limited=("spent", "holds/*/amount"),
        limit=limit,
        fixed=("since", "warned", "refused", *(f"holds/{end}/*" for end in ended)),
    )


def has_room(spending: Spending, limit: int, amount: int) -> bool:
    """Whether a call of this amount fits. What costs nothing always fits."""
    return amount == 0 or spending.spent_and_held + amount <= limit


def hold(spending: Spending, call: ReservationRecord) -> Spending:
    held = spending.holds.get(call.ends_at, NO_HOLDS).with_call(call.amount)
    return replace(spending, holds={**spending.holds, call.ends_at: held})


def settle(spending: Spending, call: ReservationRecord, cost: int) -> Spending:
    """Count the cost of a call. Its ``ReservationRecord`` tells whether that was done before."""
    freed = release(spending, call)
    return replace(freed, spent=freed.spent + cost)


def release(spending: Spending, call: ReservationRecord) -> Spending:
    """Give back what a call holds, or take it from the unsettled."""
    held = spending.holds.get(call.ends_at)
    if held is None:
        return replace(spending, unsettled=spending.unsettled.without_call(call.amount))
    left = held.without_call(call.amount)
    others = {end: other for end, other in spending.holds.items() if end != call.ends_at}
    return replace(spending, holds={**others, call.ends_at: left} if left.calls else others)


def mark_warned(spending: Spending, scope: BudgetScope) -> Spending:
    """The record, with the warning marked as given once the spent amount calls for it."""
    due = scope.alert_at is not None and spending.spent >= scope.alert_at
    return replace(spending, warned=True) if due and not spending.warned else spending


def mark_refused(spending: Spending, amount: int) -> Spending:
    """The record with a call of this amount among those that were refused."""
    is_smallest = not spending.refused or amount < spending.refused
    return replace(spending, refused=amount) if is_smallest else spending


def share_of_limit(amount: int, limit: int) -> float:
    """The share of a limit; a limit of 0 is all spent."""
    return amount / limit if limit else 1.0


def is_near_limit(spending: Spending, scope: BudgetScope) -> bool:
    """Whether cheaper targets should be tried first."""
    return scope.downgrade_at is not None and spending.spent_and_held > scope.downgrade_at
