"""One budget in one period, as a value: what is spent, and what calls under way may yet cost.

A call holds its worst case before it is sent and is settled, once, to what it cost. A hold ends by itself:
who held it has died, or is very late. What becomes of it is not known then, so it counts as unsettled, gives
its room back, and is still settled, once, when its answer comes after all. Holds that end together are kept
as one sum, so that a record stays small however many calls are under way; the calls themselves are
``OpenCall``. Money is integers of pico-dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.records.record import Record

GRAIN = 5
"""Seconds: holds end at multiples of it, later rather than sooner."""
KEPT_AFTER = 2 * 86400.0
"""Seconds that a record outlives its period, for calls that are settled late."""


class Bundle(Struct, frozen=True):
    """So many calls, and what they may cost together."""

    amount: int = 0
    calls: int = 0

    def plus(self, amount: int) -> Bundle:
        return Bundle(self.amount + amount, self.calls + 1)

    def minus(self, amount: int) -> Bundle:
        return Bundle(max(self.amount - amount, 0), max(self.calls - 1, 0))

    def __add__(self, other: Bundle) -> Bundle:
        return Bundle(self.amount + other.amount, self.calls + other.calls)


NOTHING = Bundle()


class OpenCall(Record, frozen=True):
    """A call that is not settled yet: its worst case, and the end of its hold. When there is no record of
    a call any more, it has been settled.
    """

    amount: int = 0
    ends_at: int = 0


class Spending(Record, frozen=True):
    """``since`` tells this record from one that was lost. Holds by the second in which they end. ``warned``:
    the period's one warning was given.
    """

    since: float = 0.0
    spent: int = 0
    holds: Mapping[int, Bundle] = field(default_factory=dict)
    unsettled: Bundle = NOTHING
    warned: bool = False

    @property
    def held(self) -> int:
        return sum(bundle.amount for bundle in self.holds.values())

    @property
    def taken(self) -> int:
        """Spent and held."""
        return self.spent + self.held


class Cover(Struct, frozen=True):
    """A budget that covers a call: where its record is kept, and its limit. ``before`` is the record of the
    period before. ``alert_at`` is what has to be spent for a warning, ``downgrade_at`` what has to be passed
    for the cheapest targets to come first. ``bucket`` is the user, feature, provider or target whose share it
    is, and then ``roll`` is the list of all of them. ``ends_at`` is the end of the period, None for a budget
    without one.
    """

    name: str
    key: str
    limit: int
    before: str | None = None
    alert_at: int | None = None
    downgrade_at: int | None = None
    ends_at: float | None = None
    each: str | None = None
    bucket: str = ""
    roll: str = ""

    @property
    def label(self) -> str:
        """What people call it."""
        if self.each is None:
            return self.name
        return f"{self.name} of {self.bucket}" if self.bucket else f"{self.name} (no {self.each} named)"

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(key for key in (self.key, self.before, self.roll) if key)

    @property
    def expires_at(self) -> float | None:
        return None if self.ends_at is None else self.ends_at + KEPT_AFTER


def ending(moment: float) -> int:
    """When a hold that is needed until then ends."""
    return ceil(moment / GRAIN) * GRAIN


def begun(spending: Spending | None, now: float) -> Spending:
    """The record as it stands now, with the holds that have ended among the unsettled; a new one where there
    is none.
    """
    if spending is None:
        return Spending(since=now)
    lost = ended(spending, now)
    if not lost.calls:
        return spending
    live = {end: bundle for end, bundle in spending.holds.items() if end > now}
    return replace(spending, holds=live, unsettled=spending.unsettled + lost)


def ended(spending: Spending, now: float) -> Bundle:
    """The holds that have ended, and that nobody has found yet."""
    return sum((bundle for end, bundle in spending.holds.items() if end <= now), NOTHING)


def has_room(spending: Spending, limit: int, amount: int) -> bool:
    """Whether a call of so much more fits. What costs nothing always fits."""
    return amount == 0 or spending.taken + amount <= limit


def hold(spending: Spending, call: OpenCall) -> Spending:
    bundle = spending.holds.get(call.ends_at, NOTHING).plus(call.amount)
    return replace(spending, holds={**spending.holds, call.ends_at: bundle})


def settle(spending: Spending, call: OpenCall, cost: int) -> Spending:
    """Count what a call came to. Whether that was done before is for its ``OpenCall`` to say."""
    freed = release(spending, call)
    return replace(freed, spent=freed.spent + cost)


def release(spending: Spending, call: OpenCall) -> Spending:
    """A call that holds nothing any more, in time or late."""
    bundle = spending.holds.get(call.ends_at)
    if bundle is None:
        return replace(spending, unsettled=spending.unsettled.minus(call.amount))
    left = bundle.minus(call.amount)
    others = {end: other for end, other in spending.holds.items() if end != call.ends_at}
    return replace(spending, holds={**others, call.ends_at: left} if left.calls else others)


def warned(spending: Spending, cover: Cover) -> Spending:
    """With the warning marked as given, from the moment that the spent share calls for it."""
    due = cover.alert_at is not None and spending.spent >= cover.alert_at
    return replace(spending, warned=True) if due and not spending.warned else spending


def fraction(amount: int, limit: int) -> float:
    """The share of a limit; of a limit of nothing, everything is spent."""
    return amount / limit if limit else 1.0


def is_tight(spending: Spending, cover: Cover) -> bool:
    """Whether cheaper targets should be tried first."""
    return cover.downgrade_at is not None and spending.taken > cover.downgrade_at
