"""The one table of the queue's file: a row for each request, with the lease of whoever is asking it.

Raises what SQLite raises. ``:now`` is the moment of the transaction; a statement that names a ``:holder``
leaves the rows of others alone.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from msgspec.structs import replace

from llmfail.core.degrade.queue_item import Item, load_ask
from llmfail.core.records.record import newer
from llmfail.store.sqlite.database import Layout, open_laid_out

TABLE = (
    "CREATE TABLE IF NOT EXISTS queue (id TEXT PRIMARY KEY NOT NULL, feature TEXT NOT NULL,"
    " created_at REAL NOT NULL, expires_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,"
    " retry_at REAL, rests_until REAL, lease_holder TEXT, lease_until REAL,"
    " error TEXT NOT NULL DEFAULT '', ask TEXT NOT NULL, receipt TEXT)"
)
LAYOUT = Layout(
    version=1,
    statements=(TABLE, "CREATE INDEX IF NOT EXISTS expiry ON queue (expires_at)"),
    pragmas=("synchronous = FULL", "secure_delete = ON"),
    first="PRAGMA auto_vacuum = FULL",
)
# The casts make of whatever a tampered row holds what it should be.
SELECT = (
    "SELECT CAST(id AS TEXT), CAST(feature AS TEXT), CAST(created_at AS REAL), CAST(expires_at AS REAL),"
    " CAST(attempts AS INTEGER), CAST(retry_at AS REAL), CAST(rests_until AS REAL), CAST(error AS TEXT),"
    " CAST(receipt AS TEXT), CAST(ask AS TEXT) FROM queue"
)
WITH_ID = f"{SELECT} WHERE id = :id"
FOLLOWING = f"{SELECT} WHERE id > :id ORDER BY id LIMIT 1"
COUNT = "SELECT COUNT(*) FROM queue"
PENDING = f"{COUNT} WHERE expires_at > :now"
HOLDER = "SELECT lease_holder FROM queue WHERE id = :id AND lease_until > :now"

INSERT = (
    "INSERT INTO queue (id, feature, created_at, expires_at, retry_at, ask)"
    " VALUES (:id, :feature, :now, :now + :age, :retry_at, :ask) ON CONFLICT (id) DO NOTHING"
)
TAKE = (
    "UPDATE queue SET lease_holder = :holder, lease_until = :now + :lease"
    " WHERE id = :id AND expires_at > :now AND IFNULL(rests_until, 0) <= :now"
    " AND (lease_holder IS NULL OR lease_until <= :now OR lease_holder = :gone)"
)
RENEW = "UPDATE queue SET lease_until = :now + :lease WHERE id = :id AND lease_holder = :holder"
# A lease that is over while nobody took the item is no reason to lose an answer that was paid for.
ANSWER = (
    "UPDATE queue SET receipt = :receipt, lease_holder = :holder, lease_until = :now + :lease,"
    " expires_at = :now + :age, retry_at = NULL, rests_until = NULL WHERE id = :id AND receipt IS NULL"
    " AND (lease_holder IS NULL OR lease_holder = :holder OR lease_until <= :now)"
)
GIVE_BACK = (
    "UPDATE queue SET attempts = attempts + :attempted, rests_until = :rests_until, retry_at = :retry_at,"
    " error = :error, lease_holder = NULL, lease_until = NULL WHERE id = :id AND lease_holder = :holder"
)
RELEASE = "UPDATE queue SET lease_holder = NULL, lease_until = NULL WHERE lease_holder = :holder"
REMOVE = "DELETE FROM queue WHERE id = :id AND lease_holder = :holder"
DROP = "DELETE FROM queue WHERE id = :id"
DROP_ALL = "DELETE FROM queue"
EXPIRED = "SELECT CAST(id AS TEXT) FROM queue WHERE expires_at <= :now AND IFNULL(lease_until, 0) <= :now"
EXPIRE = "DELETE FROM queue WHERE expires_at <= :now AND IFNULL(lease_until, 0) <= :now"
NEXT = (
    "SELECT MIN(again_at) FROM (SELECT MAX(IFNULL(retry_at, 0), IFNULL(rests_until, 0),"
    " IFNULL(lease_until, 0)) AS again_at FROM queue WHERE expires_at > :now) WHERE again_at > :now"
)


def open_queue(path: Path) -> sqlite3.Connection:
    """What is written is on the disk. What is deleted takes no room, and is overwritten: it was a prompt."""
    return open_laid_out(path, LAYOUT)


def read(connection: sqlite3.Connection, select: str, item_id: str) -> Item | None:
    """The item that ``WITH_ID`` or ``FOLLOWING`` finds."""
    found = connection.execute(select, {"id": item_id}).fetchone()
    if found is None:
        return None
    *known, ask = found
    return replace(Item(*known), ask=load_ask(ask), is_newer=newer(ask))
