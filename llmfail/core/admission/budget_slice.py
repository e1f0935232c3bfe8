"""A slice of a budget: what a long-lived process holds of it ahead of its calls, so that most of them need no
store.

In the record of the budget it is a hold like that of a call, and ends like one when its process has died.
Within it the process holds and settles by itself. From time to time it renews the slice: what was spent is
added to the record, and what is held becomes what the process will probably use next. So what is spent and
what is held are never more than the limit, whoever dies when.

A renewal says what the slice comes to, not by how much it changes. ``SliceRecord`` is what the store knows of
a slice: a renewal whose reply was lost is made again, and counts once.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.admission import budget as budgets
from llmfail.core.admission.budget import NO_HOLDS, ReservationRecord, Spending
from llmfail.core.records.record import Record

SLICE_SECONDS = 1.5
"""A slice is what so many seconds use: it is renewed every second, and a little more is used in some."""
DEMAND_SECONDS = 1.0
"""Of a call that was so long ago a third counts still."""
MIN_CALLS = 2
"""A slice for fewer calls saves nothing: each then holds for itself."""
SHARE_OF_ROOM = 2
"""A slice takes at most the room that is left over so many times the holders, so that others find some."""
LIFETIME_SECONDS = 10.0
"""So much longer than its longest call a slice is held."""


class SliceRecord(Record, frozen=True):
    """What the store knows of one slice: the part of what it has spent that stands in the budget's record,
    and its hold there; ``amount`` is 0 when it has none.
    """

    settled: int = 0
    amount: int = 0
    ends_at: int = 0


class SliceWish(NamedTuple):
    """How much of a budget is wanted, how much is worth a slice, and for how many seconds."""

    amount: int
    least: int
    seconds: float


class SliceDemand(Struct, frozen=True):
    """What one process uses of a budget: ``recent`` is the worst case of its calls of the last second or so,
    as of ``at``; ``last`` is that of its last call, and ``lease_seconds`` how long the longest is held.
    """

    recent: float = 0.0
    at: float = 0.0
    last: int = 0
    lease_seconds: float = 0.0

    def with_call(self, amount: int, lease_seconds: float, now: float) -> SliceDemand:
        longest = max(self.lease_seconds, lease_seconds)
        return SliceDemand(self._recent_at(now) + amount, now, amount, longest)

    def wish_at(self, now: float) -> SliceWish:
        """Nothing is wanted where each call had better hold for itself."""
        amount, least = int(self._recent_at(now) * SLICE_SECONDS), MIN_CALLS * self.last
        return SliceWish(amount if amount >= least else 0, least, self.lease_seconds + LIFETIME_SECONDS)

    def is_over(self, now: float) -> bool:
        """Whether it is so long ago that it says nothing of what comes."""
        return self._recent_at(now) < 1

    def _recent_at(self, now: float) -> float:
        return self.recent * exp(min(self.at - now, 0.0) / DEMAND_SECONDS)


class BudgetSlice(Struct, frozen=True):
    """A slice as its process knows it: all that it has ``spent`` since it began, of which the record has what
    was ``told``, and what calls under way hold. Both together stay below the ``ceiling``. A ``generation``
    ends when the hold has ended while calls were under way: they then count as unsettled.
    """

    ceiling: int = 0
    spent: int = 0
    told: int = 0
    held: int = 0
    ends_at: int = 0
    generation: int = 0

    @property
    def free(self) -> int:
        return max(self.ceiling - self.spent - self.held, 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is lost when it is forgotten."""
        return self.ceiling <= self.told == self.spent and not self.held


class SliceHold(Struct, frozen=True):
    """What one call under way holds of a slice."""

    amount: int
    generation: int


class Renewed(Struct, frozen=True):
    """A renewal: both records as they become, whether more is held than calls under way or the slice had,
    and whether the hold had ended before.
    """

    spending: Spending
    record: SliceRecord
    takes_more: bool
    has_ended: bool


def take(one: BudgetSlice, amount: int, ends_at: int) -> BudgetSlice | None:
    """The slice with one more call under way, whose hold ends then; None where that does not fit."""
    if amount > one.free or ends_at > one.ends_at:
        return None
    return replace(one, held=one.held + amount)


def settle(one: BudgetSlice, hold: SliceHold, used: int) -> BudgetSlice:
    """The slice once a call has ended, which has used so much."""
    held = one.held - hold.amount if hold.generation == one.generation else one.held
    return replace(one, spent=one.spent + used, held=held)


def shrink(one: BudgetSlice, wish: SliceWish) -> BudgetSlice:
    """The slice without what its next calls do not need: it keeps to that while it is renewed."""
    kept = min(one.free, wish.amount)
    return replace(one, ceiling=one.spent + one.held + (kept if kept >= wish.least else 0))


def renew(
    one: BudgetSlice, record: SliceRecord | None, spending: Spending, limit: int, wish: SliceWish, now: float
) -> Renewed:
    """Settle what was spent, and hold what the calls under way need and the next will want. Whether another
    call fits is for the record of the budget alone to say.
    """
    known = record or SliceRecord(settled=one.told)
    is_live = record is not None and now < record.ends_at
    if known.amount:
        spending = budgets.release(spending, ReservationRecord(known.amount, known.ends_at))
    spending = replace(spending, spent=spending.spent + one.spent - known.settled)
    free, held = (one.free, one.held) if is_live else (0, 0)
    room = limit - spending.spent_and_held - free - held
    holders = 1 + sum(spending.holds.values(), NO_HOLDS).calls
    more = max(min(wish.amount - free, room // (SHARE_OF_ROOM * holders)), 0)
    more = more if free + more >= wish.least else 0
    amount = held + free + more
    ends_at = budgets.expiry_of(now + wish.seconds) if amount else 0
    if amount:
        spending = budgets.hold(spending, ReservationRecord(amount, ends_at))
    return Renewed(spending, SliceRecord(one.spent, amount, ends_at), more > 0, not is_live)


def apply_renewal(one: BudgetSlice, renewed: Renewed) -> BudgetSlice:
    """The slice, which went on meanwhile, once it is renewed."""
    record, is_lost = renewed.record, renewed.has_ended
    return replace(
        one,
        ceiling=record.settled + record.amount,
        told=record.settled,
        held=0 if is_lost else one.held,
        ends_at=record.ends_at,
        generation=one.generation + is_lost,
    )
