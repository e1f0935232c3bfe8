"""How a write may be made together with those of others, in a store that many hosts share.

A rule reads a record and says what it becomes. Where it only adds to integers, nothing is lost when another
adds at the same moment, and no store has to make one of them wait: it makes the difference. Stores of one
host have no use for this; they write what the rule says. Leaves of a record are named by their paths, in
which ``*`` stands for any name: ``holds/*/amount``.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Raise(NamedTuple):
    """A moment that becomes the later of itself and ``floor``, and ``added`` seconds more; it may not be
    after ``ceiling`` before, which is as much later as the write is made later.
    """

    leaf: str
    floor: float
    added: float
    ceiling: float


class Sum(NamedTuple):
    """A write that adds to the integers of a record that was read. What else it changes is changed only if it
    is still what was read; ``fixed`` leaves have to be what was read, also where they stay. The sum of the
    ``limited`` leaves may not grow beyond the ``limit`` by it.

    Of ``latest`` leaves the last write counts, ``discarded`` ones vanish whatever they are, ``optional`` ones
    stay where another has changed them, and ``raised`` ones are no integers and add up all the same.
    """

    limited: tuple[str, ...] = ()
    limit: int | None = None
    fixed: tuple[str, ...] = ()
    latest: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    raised: tuple[Raise, ...] = ()


ADDITION = Sum()
"""Of a record that is nothing but counts."""


class RingSlot(NamedTuple):
    """A write to the next slot of a ring: the slot's key is ``prefix`` and a number below ``length``, and
    ``index_key`` is that of a record with the ``leaf`` that counts, to which the same update adds one.
    """

    prefix: str
    index_key: str
    leaf: str
    length: int


def join_sums(first: Sum, second: Sum) -> Sum:
    """How two writes of one record are made as one, the first before the second."""
    if first is second and first is ADDITION:
        return first
    raised = {one.leaf: one for one in first.raised}
    for one in second.raised:
        raised[one.leaf] = _join_raises(raised[one.leaf], one) if one.leaf in raised else one
    return Sum(
        limited=second.limited or first.limited,
        limit=first.limit if second.limit is None else second.limit,
        fixed=_join(first.fixed, second.fixed),
        latest=_join(first.latest, second.latest),
        discarded=_join(first.discarded, second.discarded),
        optional=_join(first.optional, second.optional),
        raised=tuple(raised.values()),
    )


def _join_raises(first: Raise, second: Raise) -> Raise:
    ceiling = second.ceiling - first.added if math.isfinite(second.ceiling) else second.ceiling
    return Raise(
        first.leaf,
        max(first.floor, second.floor),
        first.added + second.added,
        min(first.ceiling, ceiling),
    )


def _join(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
