"""The one table of the queue's file: a row for each request, with the lease of the process that is asking it.

Raises what SQLite raises. ``:now`` is the moment of the transaction; a statement with a ``:holder`` changes
only rows of that holder.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from msgspec.structs import replace

from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin, load_ask
from llmfail.core.records.record import is_newer
from llmfail.store.sqlite.database import DatabaseSchema, open_with_schema

CREATE_TABLE = (
    "CREATE TABLE IF NOT EXISTS queue (id TEXT PRIMARY KEY NOT NULL, feature TEXT NOT NULL,"
    " created_at REAL NOT NULL, expires_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,"
    " retry_at REAL, rests_until REAL, lease_holder TEXT, lease_until REAL,"
    " error TEXT NOT NULL DEFAULT '', ask TEXT NOT NULL, receipt TEXT, configuration TEXT, addresses TEXT)"
)
ADDED_COLUMNS = ("configuration", "addresses")
"""Those that a file of version 1 lacks."""


def _add_columns(connection: sqlite3.Connection) -> None:
    for name in ADDED_COLUMNS:
        connection.execute(f"ALTER TABLE queue ADD COLUMN {name} TEXT")


QUEUE_SCHEMA = DatabaseSchema(
    version=2,
    upgrade=_add_columns,
    statements=(CREATE_TABLE, "CREATE INDEX IF NOT EXISTS expiry ON queue (expires_at)"),
    pragmas=("synchronous = FULL", "secure_delete = ON"),
    first_statement="PRAGMA auto_vacuum = FULL",
)
# The casts give every column its type, whatever a damaged row contains.
SELECT = (
    "SELECT CAST(id AS TEXT), CAST(feature AS TEXT), CAST(created_at AS REAL), CAST(expires_at AS REAL),"
    " CAST(attempts AS INTEGER), CAST(retry_at AS REAL), CAST(rests_until AS REAL), CAST(error AS TEXT),"
    " CAST(receipt AS TEXT), CAST(ask AS TEXT), CAST(configuration AS TEXT), CAST(addresses AS TEXT)"
    " FROM queue"
)
SELECT_BY_ID = f"{SELECT} WHERE id = :id"
SELECT_FOLLOWING = f"{SELECT} WHERE id > :id ORDER BY id LIMIT 1"
COUNT = "SELECT COUNT(*) FROM queue"
COUNT_PENDING = f"{COUNT} WHERE expires_at > :now"
SELECT_HOLDER = "SELECT lease_holder FROM queue WHERE id = :id AND lease_until > :now"

INSERT = (
    "INSERT INTO queue (id, feature, created_at, expires_at, retry_at, ask, configuration, addresses)"
    " VALUES (:id, :feature, :now, :now + :age, :retry_at, :ask, :configuration, :addresses)"
    " ON CONFLICT (id) DO NOTHING"
)
TAKE_LEASE = (
    "UPDATE queue SET lease_holder = :holder, lease_until = :now + :lease"
    " WHERE id = :id AND expires_at > :now AND IFNULL(rests_until, 0) <= :now"
    " AND (lease_holder IS NULL OR lease_until <= :now OR lease_holder = :gone)"
)
RENEW_LEASE = "UPDATE queue SET lease_until = :now + :lease WHERE id = :id AND lease_holder = :holder"
# An answer that was paid for is stored even after its lease expired, unless another process took the item.
STORE_ANSWER = (
    "UPDATE queue SET receipt = :receipt, lease_holder = :holder, lease_until = :now + :lease,"
    " expires_at = :now + :age, retry_at = NULL, rests_until = NULL WHERE id = :id AND receipt IS NULL"
    " AND (lease_holder IS NULL OR lease_holder = :holder OR lease_until <= :now)"
)
GIVE_BACK = (
    "UPDATE queue SET attempts = attempts + :attempted, rests_until = :rests_until, retry_at = :retry_at,"
    " error = :error, lease_holder = NULL, lease_until = NULL WHERE id = :id AND lease_holder = :holder"
)
RELEASE_LEASES = "UPDATE queue SET lease_holder = NULL, lease_until = NULL WHERE lease_holder = :holder"
REMOVE = "DELETE FROM queue WHERE id = :id AND lease_holder = :holder"
DROP = "DELETE FROM queue WHERE id = :id"
DROP_ALL = "DELETE FROM queue"
SELECT_EXPIRED = (
    "SELECT CAST(id AS TEXT) FROM queue WHERE expires_at <= :now AND IFNULL(lease_until, 0) <= :now"
)
DELETE_EXPIRED = "DELETE FROM queue WHERE expires_at <= :now AND IFNULL(lease_until, 0) <= :now"
SELECT_NEXT_TIME = (
    "SELECT MIN(again_at) FROM (SELECT MAX(IFNULL(retry_at, 0), IFNULL(rests_until, 0),"
    " IFNULL(lease_until, 0)) AS again_at FROM queue WHERE expires_at > :now) WHERE again_at > :now"
)


def open_queue(path: Path) -> sqlite3.Connection:
    """Writes are on the disk at once. Deleted rows are overwritten, because they held prompts."""
    return open_with_schema(path, QUEUE_SCHEMA)


def read_item(connection: sqlite3.Connection, select: str, item_id: str) -> QueueItem | None:
    """The item that ``SELECT_BY_ID`` or ``SELECT_FOLLOWING`` finds."""
    found = connection.execute(select, {"id": item_id}).fetchone()
    if found is None:
        return None
    *known, ask, configuration, addresses = found
    origin = None
    if configuration is not None:
        origin = QueueOrigin(configuration, frozenset((addresses or "").split()))
    return replace(QueueItem(*known), ask=load_ask(ask), is_newer=is_newer(ask), origin=origin)
