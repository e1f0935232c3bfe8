"""The queue of one host, in a file of its own. An item is on the disk when ``put`` returns, and overwritten
when it is removed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin
from llmfail.store.request_queue import describe_expired, report_full
from llmfail.store.sqlite import queue_table
from llmfail.store.sqlite.shared_file import SharedFile

T = TypeVar("T")

QUEUE_FILE = "queue.sqlite3"
Transaction = Callable[[sqlite3.Connection, float], T]
"""The work of one transaction, at this moment."""


class DiskQueue:
    """``max_age`` and ``timeout`` are in seconds, and so is the clock. Only ``put`` makes a file."""

    def __init__(
        self,
        directory: Path,
        max_items: int,
        max_age: float,
        timeout: float,
        clock: Callable[[], float],
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._file = SharedFile(directory / QUEUE_FILE, queue_table.open_queue, timeout, warn)
        self._max_items = max_items
        self._max_age = max_age
        self._clock = clock
        self._warn = warn

    def put(
        self, item_id: str, feature: str, ask: str, retry_at: float | None, origin: QueueOrigin | None = None
    ) -> None:
        values = {
            "id": item_id,
            "feature": feature,
            "ask": ask,
            "retry_at": retry_at,
            "age": self._max_age,
            "configuration": origin and origin.configuration,
            "addresses": origin and " ".join(sorted(origin.addresses)),
        }

        def change(connection: sqlite3.Connection, now: float) -> int:
            gone = connection.execute(queue_table.DELETE_EXPIRED, {"now": now}).rowcount
            (items,) = connection.execute(queue_table.COUNT).fetchone()
            if items >= self._max_items:
                raise report_full(items)
            connection.execute(queue_table.INSERT, {**values, "now": now})
            return gone

        gone = self._file.run(self._in_transaction(change))
        if gone:
            self._warn(describe_expired(gone))

    def items(self) -> Iterator[QueueItem]:
        item = self._read_following("")
        while item is not None:
            yield item
            item = self._read_following(item.id)

    def take(
        self, item_id: str, holder: str, lease: float, is_gone: Callable[[str], bool] = lambda _holder: False
    ) -> QueueItem | None:
        values = {"id": item_id, "holder": holder, "lease": lease}

        def change(connection: sqlite3.Connection, now: float) -> QueueItem | None:
            other = connection.execute(queue_table.SELECT_HOLDER, {"id": item_id, "now": now}).fetchone()
            gone = other[0] if other is not None and is_gone(other[0]) else None
            taken = connection.execute(queue_table.TAKE_LEASE, {**values, "gone": gone, "now": now}).rowcount
            return queue_table.read_item(connection, queue_table.SELECT_BY_ID, item_id) if taken else None

        return self._file.run_if_exists(self._in_transaction(change), None)

    def store_answer(self, item_id: str, holder: str, receipt: str, lease: float) -> bool:
        values = {"receipt": receipt, "lease": lease, "age": self._max_age}
        return self._write(queue_table.STORE_ANSWER, id=item_id, holder=holder, **values) > 0

    def renew(self, item_id: str, holder: str, lease: float) -> bool:
        return self._write(queue_table.RENEW_LEASE, id=item_id, holder=holder, lease=lease) > 0

    def remove(self, item_id: str, holder: str) -> bool:
        return self._write(queue_table.REMOVE, id=item_id, holder=holder) > 0

    def give_back(
        self,
        item_id: str,
        holder: str,
        *,
        attempted: bool,
        rests_until: float | None,
        retry_at: float | None,
        error: str,
    ) -> bool:
        values = {"attempted": attempted, "rests_until": rests_until, "retry_at": retry_at, "error": error}
        return self._write(queue_table.GIVE_BACK, id=item_id, holder=holder, **values) > 0

    def release(self, holder: str) -> None:
        self._write(queue_table.RELEASE_LEASES, holder=holder)

    def remove_expired(self) -> list[str]:
        def change(connection: sqlite3.Connection, now: float) -> list[str]:
            found = [item_id for (item_id,) in connection.execute(queue_table.SELECT_EXPIRED, {"now": now})]
            connection.execute(queue_table.DELETE_EXPIRED, {"now": now})
            return found

        return self._file.run_if_exists(self._in_transaction(change), [])

    def drop(self, ids: Sequence[str]) -> list[str]:
        return [item_id for item_id in ids if self._write(queue_table.DROP, id=item_id)]

    def drop_all(self) -> int:
        return self._write(queue_table.DROP_ALL)

    def count_pending(self) -> int:
        return int(self._query_number(queue_table.COUNT_PENDING) or 0)

    def find_next_time(self) -> float | None:
        return self._query_number(queue_table.SELECT_NEXT_TIME)

    def close(self) -> None:
        """Close the file. A later verb opens it again."""
        self._file.close()

    def _read_following(self, item_id: str) -> QueueItem | None:
        return self._file.run_if_exists(
            lambda connection: queue_table.read_item(connection, queue_table.SELECT_FOLLOWING, item_id), None
        )

    def _query_number(self, select: str) -> float | None:
        values = {"now": self._clock()}
        found = self._file.run_if_exists(
            lambda connection: connection.execute(select, values).fetchone(), None
        )
        return None if found is None else found[0]

    def _write(self, statement: str, **values: object) -> int:
        """Returns the number of rows that it changed."""

        def change(connection: sqlite3.Connection, now: float) -> int:
            return connection.execute(statement, {**values, "now": now}).rowcount

        return self._file.run_if_exists(self._in_transaction(change), 0)

    def _in_transaction(self, change: Transaction[T]) -> Callable[[sqlite3.Connection], T]:
        """All of it or nothing, while no other process writes."""

        def work(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            result = change(connection, self._clock())
            connection.execute("COMMIT")
            return result

        return work
