"""One budget in one period, as a value: what is spent, and what calls under way may yet cost.

A call holds its worst case before it is sent and is settled, once, to what it cost. A hold ends by itself:
who held it has died, or is very late. What becomes of it is not known then, so it is kept among the
unsettled, gives its room back, and is still settled, once, when its answer comes after all. Money is integers
of pico-dollars.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from llmfail.core.record import Record

MOST_UNSETTLED = 1000
"""How many unsettled calls a record remembers, the latest ones."""
KEPT_AFTER = 2 * 86400.0
"""Seconds that a record outlives its period, for calls that are settled late."""


class Hold(Struct, frozen=True):
    """``amount`` is kept free until ``until``. ``call`` says of what, in one of the budgets that hold it."""

    amount: int
    until: float
    call: str = ""


class Spending(Record, frozen=True):
    """``since``: when this record was begun. Holds and unsettled calls by the id of the call. ``warned``: the
    period's one warning was given.
    """

    since: float = 0.0
    spent: int = 0
    holds: Mapping[str, Hold] = field(default_factory=dict)
    unsettled: Mapping[str, Hold] = field(default_factory=dict)
    warned: bool = False

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.holds.values())

    @property
    def taken(self) -> int:
        """Spent and held."""
        return self.spent + self.held


class Cover(Struct, frozen=True):
    """A budget that covers a call: where its record is kept, and its limit. ``alert_at`` is what has to be
    spent for a warning, ``downgrade_at`` what has to be passed for the cheapest targets to come first.
    ``bucket`` is the user, feature, provider or target whose share it is, and then ``roll`` is the list of
    all of them. ``ends_at`` is the end of the period, None for a budget without one.
    """

    name: str
    key: str
    limit: int
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
        return (self.key, self.roll) if self.roll else (self.key,)

    @property
    def expires_at(self) -> float | None:
        return None if self.ends_at is None else self.ends_at + KEPT_AFTER


def begun(spending: Spending | None, now: float) -> Spending:
    """The record as it stands now, without the holds that have ended; a new one where there is none."""
    if spending is None:
        return Spending(since=now)
    ended = {call: hold for call, hold in spending.holds.items() if hold.until <= now}
    if not ended:
        return spending
    kept = dict(list({**spending.unsettled, **ended}.items())[-MOST_UNSETTLED:])
    live = {call: hold for call, hold in spending.holds.items() if call not in ended}
    return replace(spending, holds=live, unsettled=kept)


def has_room(spending: Spending, limit: int, amount: int) -> bool:
    """Whether a call of so much more fits. What costs nothing always fits."""
    return amount == 0 or spending.taken + amount <= limit


def hold(spending: Spending, call: str, held: Hold) -> Spending:
    return replace(spending, holds={**spending.holds, call: held})


def settle(spending: Spending, call: str, admitted_at: float, amount: int) -> Spending:
    """Count what a call came to, once: a call that is neither held nor unsettled has been settled, unless the
    record is younger than the call, because the one that knew of it is lost.
    """
    if call not in spending.holds and call not in spending.unsettled and spending.since <= admitted_at:
        return spending
    return replace(release(spending, call), spent=spending.spent + amount)


def release(spending: Spending, call: str) -> Spending:
    """Forget a call that was never made."""
    return replace(
        spending,
        holds={other: held for other, held in spending.holds.items() if other != call},
        unsettled={other: held for other, held in spending.unsettled.items() if other != call},
    )


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
