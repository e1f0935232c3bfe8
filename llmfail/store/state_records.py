"""All records of a store, to be written to another one or to a file. Assumes that nobody writes meanwhile."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from msgspec import Struct

from llmfail.core.records.record import Values, Write, Writes
from llmfail.store.base import Store
from llmfail.store.disk import DiskStore
from llmfail.store.redis.redis_store import RedisStore
from llmfail.store.sqlite.key_value_table import SELECT_ROWS

RECORDS_PER_WRITE = 200


class StateRecord(Struct, frozen=True):
    """One record as it is stored."""

    key: str
    text: str
    expires_at: float | None = None


def read_records(store: Store) -> Iterator[StateRecord]:
    """All that have not ended. Raises StoreError."""
    match store:
        case DiskStore():
            found: Iterable[StateRecord] = store.file.run_if_exists(partial(_read_rows, time.time()), [])
        case RedisStore():
            found = _read_server(store)
        case _:
            found = ()
    yield from found


def write_records(store: Store, records: Iterable[StateRecord]) -> int:
    """How many there were. Raises StoreError."""
    count, rest = 0, iter(records)
    while some := list(islice(rest, RECORDS_PER_WRITE)):
        store.update((), partial(_write_all, some))
        count += len(some)
    return count


def _write_all(records: Sequence[StateRecord], _values: Values, _now: float) -> tuple[Writes, None]:
    return {one.key: Write(one.text, one.expires_at) for one in records}, None


def _read_rows(now: float, connection: sqlite3.Connection) -> list[StateRecord]:
    rows = (StateRecord(*row) for row in connection.execute(SELECT_ROWS))
    return [one for one in rows if one.expires_at is None or one.expires_at > now]


def _read_server(store: RedisStore) -> Iterator[StateRecord]:
    for keys in store.scan_keys():
        values, now = store.read(keys)
        for key, left in zip(keys, store.read_lifetimes(keys), strict=True):
            text = values[key]
            if text is not None:
                yield StateRecord(key, text, None if left is None else now + left)
