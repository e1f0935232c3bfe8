"""The one table of a state file: keys, texts, and when they expire.

Raises what SQLite raises. A transaction that fails is left open for the caller to roll back.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from llmfail.core.records.record import Values, Write, Writes
from llmfail.store.base import Change, R
from llmfail.store.sqlite.database import DatabaseSchema, open_with_schema

CHECKPOINT_PAGES = 4000
"""Pages of the WAL (16 MB) before they are copied, which waits for the disk, as the last close does."""
CACHED_KIB = 500
"""Of the file, in each connection; the system keeps all of it besides, and SQLite would keep 2 MB."""
STATE_SCHEMA = DatabaseSchema(
    version=2,
    statements=(
        "CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT, expires_at REAL) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS expiry ON state (expires_at) WHERE expires_at IS NOT NULL",
    ),
    pragmas=(
        "synchronous = NORMAL",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"cache_size = -{CACHED_KIB}",
    ),
)
# The cast makes text of whatever a damaged row contains; the reader of the record judges it.
SELECT_VALUES = (
    "SELECT key, CAST(value AS TEXT) FROM state WHERE key IN ({}) AND (expires_at IS NULL OR expires_at > ?)"
)
SELECT_ROWS = "SELECT CAST(key AS TEXT), CAST(value AS TEXT), CAST(expires_at AS REAL) FROM state"
UPSERT = (
    "INSERT INTO state VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)
DELETE = "DELETE FROM state WHERE key = ?"
SELECT_SOONEST_EXPIRING = (
    "SELECT key, LENGTH(value) FROM state WHERE key GLOB ? AND expires_at > 0 ORDER BY expires_at LIMIT ?"
)
DELETE_EXPIRED = "DELETE FROM state WHERE key IN (SELECT key FROM state WHERE expires_at <= ? LIMIT 64)"
WRITES_PER_EXPIRY = 8
"""One write in so many, chosen by the clock's milliseconds, deletes expired rows."""
MAX_EVICTED_ROWS = 64
"""A write evicts so many rows at most, so that none takes long; a lowered limit is reached after several
writes.
"""
MAX_KEYS_PER_QUERY = 500
"""An old SQLite takes at most 999 parameters in a query."""


class SizeLimit(NamedTuple):
    """The greatest size of the file, in bytes, that rows with this prefix may cause. Those that expire first
    are evicted first; other rows stay.
    """

    prefix: str
    max_bytes: int


Migration = Callable[[Mapping[str, Write]], Writes]
"""What to write into a file of the version before, given all its rows."""


def open_table(path: Path, migrate: Migration | None = None) -> sqlite3.Connection:
    """Without ``migrate``, a file of the version before is used as it is."""
    upgrade = None if migrate is None else functools.partial(_migrate_rows, migrate)
    return open_with_schema(path, STATE_SCHEMA._replace(upgrade=upgrade))


def read_values(
    connection: sqlite3.Connection, keys: Sequence[str], clock: Callable[[], float]
) -> tuple[Values, float]:
    connection.execute("BEGIN")
    now = clock()
    values = _select_values(connection, keys, now)
    connection.execute("COMMIT")
    return values, now


def update_values(
    connection: sqlite3.Connection,
    keys: Sequence[str],
    change: Change[R],
    clock: Callable[[], float],
    limit: SizeLimit | None = None,
) -> R:
    connection.execute("BEGIN IMMEDIATE")
    now = clock()
    writes, result = change(_select_values(connection, keys, now), now)
    if writes:
        _write_rows(connection, writes, now)
        if limit is not None:
            _evict_rows(connection, limit, writes)
    connection.execute("COMMIT")
    return result


def _migrate_rows(migrate: Migration, connection: sqlite3.Connection) -> None:
    rows = {key: Write(text, expires_at) for key, text, expires_at in connection.execute(SELECT_ROWS)}
    _write_rows(connection, migrate(rows), now=0.0)


def measure_used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes in use, however large the file is."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _evict_rows(connection: sqlite3.Connection, limit: SizeLimit, just_written: Writes) -> None:
    """Evict as many rows as are too many, but none that was just written."""
    over = measure_used_bytes(connection) - limit.max_bytes
    if over <= 0:
        return
    for key, size in connection.execute(
        SELECT_SOONEST_EXPIRING, (f"{limit.prefix}*", MAX_EVICTED_ROWS)
    ).fetchall():
        if over > 0 and key not in just_written:
            connection.execute(DELETE, (key,))
            over -= size


def _select_values(connection: sqlite3.Connection, keys: Sequence[str], now: float) -> Values:
    values: dict[str, str | None] = dict.fromkeys(keys)
    for start in range(0, len(keys), MAX_KEYS_PER_QUERY):
        chunk = keys[start : start + MAX_KEYS_PER_QUERY]
        values.update(connection.execute(_build_select(len(chunk)), (*chunk, now)))
    return values


@functools.cache
def _build_select(key_count: int) -> str:
    return SELECT_VALUES.format(",".join("?" * key_count))


def _write_rows(connection: sqlite3.Connection, writes: Writes, now: float) -> None:
    """Write, delete, and remove a few expired rows, since the file is being written anyway."""
    kept = [(key, write.text, write.expires_at) for key, write in writes.items() if write is not None]
    gone = [(key,) for key, write in writes.items() if write is None]
    connection.executemany(UPSERT, kept)
    if gone:
        connection.executemany(DELETE, gone)
    if int(now * 1000) % WRITES_PER_EXPIRY == 0:
        connection.execute(DELETE_EXPIRED, (now,))
