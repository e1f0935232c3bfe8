"""Statistics: what an ask and its calls add to records by which nothing is decided, and the log of receipts.

Any number of asks can be counted in one change, which reads and writes each record once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct

from llmfail.core.records import name_list, receipt_log
from llmfail.core.records.counted_events import CountedAsk, CountedCall
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


class CountedRecord(Struct, frozen=True):
    """A record of counts: ``count`` gives it with some more events in it. One that is new is put into the
    list at ``list_key`` by its ``name``, where there is such a list.
    """

    key: str
    kind: type[Record]
    count: Callable[[Any, Sequence[Any]], Record]
    expires_at: float | None = None
    list_key: str | None = None
    name: str = ""


class Count(NamedTuple):
    """An event, and the records in which it is counted."""

    event: CountedAsk | CountedCall
    records: tuple[CountedRecord, ...]


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


def write_counts(counts: Iterable[Count]) -> StoreChange:
    records: dict[str, CountedRecord] = {}
    events: dict[str, list[CountedAsk | CountedCall]] = {}
    for event, its_records in counts:
        for record in its_records:
            records[record.key] = record
            events.setdefault(record.key, []).append(event)
    keys = dict.fromkeys(records)
    keys.update(dict.fromkeys(one.list_key for one in records.values() if one.list_key is not None))
    return StoreChange(tuple(keys), partial(_write_counts, records, events))


def _write_counts(
    records: Mapping[str, CountedRecord],
    events: Mapping[str, Sequence[CountedAsk | CountedCall]],
    values: Values,
    _now: float,
) -> Writes:
    writes: dict[str, Write | None] = {}
    for key, one in records.items():
        counted = one.count(load_or_default(values[key], one.kind), events[key])
        writes[key] = Write(dump(counted), one.expires_at, ADDITION)
    for one in records.values():
        if one.list_key is not None and values[one.key] is None and not is_newer(values[one.list_key]):
            listed = writes.get(one.list_key)
            known = {one.list_key: values[one.list_key] if listed is None else listed.text}
            writes.update(name_list.append(one.list_key, one.name, known, one.expires_at))
    return without_newer(writes, values)
