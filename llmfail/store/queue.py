"""Requests that are stored to be asked later, in a file of their own, each asked by one process at a time.

A process takes an item on a lease, which ends when it expires or when its holder is known to have ended. An
answer is stored before it is printed, and the item is removed once it is printed; if the process ends in
between, another one prints the same receipt.

An item stays until it is answered, dropped or too old; nothing evicts it. It is on the disk when ``put``
returns, and overwritten when it is removed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin
from llmfail.core.errors import StoreError
from llmfail.store.sqlite import queue_table
from llmfail.store.sqlite.shared_file import SharedFile

T = TypeVar("T")

QUEUE_FILE = "queue.sqlite3"
Transaction = Callable[[sqlite3.Connection, float], T]
"""The work of one transaction, at this moment."""


class RequestQueue:
    """``max_age`` and ``timeout`` are in seconds, the clock gives epoch seconds. Every verb raises StoreError
    when it cannot do its work within the timeout; only ``put`` makes a file. A ``holder`` is a unique name;
    the verbs with one return False when its lease has gone to another.
    """

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
        """Store a request. One with the same id is already this one."""
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
                raise StoreError(
                    f"the queue is full ({items} requests; queue.max_items); "
                    "`llmfail queue run` asks them again, `llmfail queue drop` forgets them"
                )
            connection.execute(queue_table.INSERT, {**values, "now": now})
            return gone

        gone = self._file.run(self._in_transaction(change))
        if gone:
            self._warn(f"queued requests that were not answered within queue.max_age are gone: {gone}")

    def items(self) -> Iterator[QueueItem]:
        """All items, the oldest first, including those that are too old; each as it is when it is yielded."""
        item = self._read_following("")
        while item is not None:
            yield item
            item = self._read_following(item.id)

    def take(
        self, item_id: str, holder: str, lease: float, is_gone: Callable[[str], bool] = lambda _holder: False
    ) -> QueueItem | None:
        """The item as it is now, leased for so many seconds; None when another process has it, or it is
        backing off, too old or gone. ``is_gone`` tells whether the holder of a lease has certainly ended.
        """
        values = {"id": item_id, "holder": holder, "lease": lease}

        def change(connection: sqlite3.Connection, now: float) -> QueueItem | None:
            other = connection.execute(queue_table.SELECT_HOLDER, {"id": item_id, "now": now}).fetchone()
            gone = other[0] if other is not None and is_gone(other[0]) else None
            taken = connection.execute(queue_table.TAKE_LEASE, {**values, "gone": gone, "now": now}).rowcount
            return queue_table.read_item(connection, queue_table.SELECT_BY_ID, item_id) if taken else None

        return self._file.run_if_exists(self._in_transaction(change), None)

    def store_answer(self, item_id: str, holder: str, receipt: str, lease: float) -> bool:
        """Store the answer, and renew the lease to print it; it is kept as long as a new request. False also
        when the item has an answer already, or was dropped.
        """
        values = {"receipt": receipt, "lease": lease, "age": self._max_age}
        return self._write(queue_table.STORE_ANSWER, id=item_id, holder=holder, **values) > 0

    def renew(self, item_id: str, holder: str, lease: float) -> bool:
        """The lease ends so many seconds from now."""
        return self._write(queue_table.RENEW_LEASE, id=item_id, holder=holder, lease=lease) > 0

    def remove(self, item_id: str, holder: str) -> bool:
        """Remove an item whose answer is printed."""
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
        """Give an item back that was asked and not answered; ``attempted``: a target was called."""
        values = {"attempted": attempted, "rests_until": rests_until, "retry_at": retry_at, "error": error}
        return self._write(queue_table.GIVE_BACK, id=item_id, holder=holder, **values) > 0

    def release(self, holder: str) -> None:
        """Give back all that this holder has, as if it had not been taken."""
        self._write(queue_table.RELEASE_LEASES, holder=holder)

    def remove_expired(self) -> list[str]:
        """Remove the items that were not answered in time. Returns their ids."""

        def change(connection: sqlite3.Connection, now: float) -> list[str]:
            found = [item_id for (item_id,) in connection.execute(queue_table.SELECT_EXPIRED, {"now": now})]
            connection.execute(queue_table.DELETE_EXPIRED, {"now": now})
            return found

        return self._file.run_if_exists(self._in_transaction(change), [])

    def drop(self, ids: Sequence[str]) -> list[str]:
        """Remove these, even while they are being asked. Returns those that existed."""
        return [item_id for item_id in ids if self._write(queue_table.DROP, id=item_id)]

    def drop_all(self) -> int:
        """Remove everything. Returns how many there were."""
        return self._write(queue_table.DROP_ALL)

    def count_pending(self) -> int:
        """How many wait for an answer."""
        return int(self._query_number(queue_table.COUNT_PENDING) or 0)

    def find_next_time(self) -> float | None:
        """The next moment at which an item may be asked again; None when none is known."""
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
