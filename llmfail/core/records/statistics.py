"""Statistics: what an ask and its calls add to records by which nothing is decided, and the log of receipts.

Any number of asks can be counted in one change, which reads and writes each record once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from llmfail.core.records import name_list, receipt_log
from llmfail.core.records.joint_write import ADDITION
from llmfail.core.records.record import (
    Record,
    StoreChange,
    Values,
    Write,
    Writes,
    dump,
    is_newer,
    load_or_default,
    without_newer,
)


class Count(NamedTuple):
    """What is added to one record: ``add`` gives the record with one more ask or call in it. A record that is
    new is put into the list at ``list_key`` by its ``name``, where there is such a list.
    """

    key: str
    kind: type[Record]
    add: Callable[[Any], Record]
    expires_at: float | None = None
    list_key: str | None = None
    name: str = ""


class Statistics(NamedTuple):
    """What is kept of one ask, or of one call. ``entries`` are texts for the log of receipts, ``steps`` are
    further changes.
    """

    counts: tuple[Count, ...] = ()
    entries: tuple[str, ...] = ()
    steps: tuple[StoreChange, ...] = ()


def steps_of(statistics: Iterable[Statistics]) -> list[StoreChange]:
    """The changes that keep all of them."""
    counts: list[Count] = []
    entries: list[str] = []
    steps: list[StoreChange] = []
    for one in statistics:
        counts += one.counts
        entries += one.entries
        steps += one.steps
    if counts:
        steps.insert(0, write_counts(counts))
    if entries:
        steps.append(receipt_log.append(entries))
    return steps


def write_counts(counts: Sequence[Count]) -> StoreChange:
    keys = dict.fromkeys(one.key for one in counts)
    keys.update(dict.fromkeys(one.list_key for one in counts if one.list_key is not None))
    return StoreChange(tuple(keys), partial(_write_counts, counts))


def _write_counts(counts: Sequence[Count], values: Values, _now: float) -> Writes:
    sums: dict[str, Record] = {}
    last: dict[str, Count] = {}
    for one in counts:
        before = sums.get(one.key)
        sums[one.key] = one.add(load_or_default(values[one.key], one.kind) if before is None else before)
        last[one.key] = one
    writes: dict[str, Write | None] = {
        key: Write(dump(sums[key]), one.expires_at, ADDITION) for key, one in last.items()
    }
    for one in last.values():
        if one.list_key is not None and values[one.key] is None and not is_newer(values[one.list_key]):
            listed = writes.get(one.list_key)
            known = {one.list_key: values[one.list_key] if listed is None else listed.text}
            writes.update(name_list.append(one.list_key, one.name, known, one.expires_at))
    return without_newer(writes, values)
