"""Requests that are stored to be asked later, each asked by one process at a time.

A process takes an item on a lease, which ends when it expires or when its holder is known to have ended. An
answer is stored before it is printed, and the item is removed once it is printed; if the process ends in
between, another one prints the same receipt. An item stays until it is answered, dropped or too old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from llmfail.core.degrade.queue_item import QueueItem, QueueOrigin
from llmfail.core.errors import StoreError


class RequestQueue(Protocol):
    """Every verb raises StoreError when it cannot do its work within the store's timeout. Leases are in
    seconds. A ``holder`` is a unique name; the verbs with one return False when its lease has gone to
    another.
    """

    def put(
        self, item_id: str, feature: str, ask: str, retry_at: float | None, origin: QueueOrigin | None = None
    ) -> None:
        """Store a request. One with the same id is already this one."""
        ...

    def items(self) -> Iterator[QueueItem]:
        """All items, the oldest first, including those that are too old; each as it is when it is yielded."""
        ...

    def take(
        self, item_id: str, holder: str, lease: float, is_gone: Callable[[str], bool] = ...
    ) -> QueueItem | None:
        """The item as it is now, leased for so many seconds; None when another process has it, or it is
        backing off, too old or gone. ``is_gone`` tells whether the holder of a lease has certainly ended.
        """
        ...

    def store_answer(self, item_id: str, holder: str, receipt: str, lease: float) -> bool:
        """Store the answer, and renew the lease to print it; it is kept as long as a new request. False also
        when the item has an answer already, or was dropped.
        """
        ...

    def renew(self, item_id: str, holder: str, lease: float) -> bool:
        """The lease ends so many seconds from now."""
        ...

    def remove(self, item_id: str, holder: str) -> bool:
        """Remove an item whose answer is printed."""
        ...

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
        ...

    def release(self, holder: str) -> None:
        """Give back all that this holder has taken here, as if it had not been taken."""
        ...

    def remove_expired(self) -> list[str]:
        """Remove the items that were not answered in time. Returns their ids."""
        ...

    def drop(self, ids: Sequence[str]) -> list[str]:
        """Remove these, even while they are being asked. Returns those that existed."""
        ...

    def drop_all(self) -> int:
        """Remove everything. Returns how many there were."""
        ...

    def count_pending(self) -> int:
        """How many wait for an answer."""
        ...

    def find_next_time(self) -> float | None:
        """The next moment at which an item may be asked again; None when none is known."""
        ...

    def close(self) -> None:
        """A later verb opens it again."""
        ...


def report_full(items: int) -> StoreError:
    """What a queue of so many raises instead of taking another one."""
    return StoreError(
        f"the queue is full ({items} requests; queue.max_items); "
        "`llmfail queue run` asks them again, `llmfail queue drop` forgets them"
    )


def describe_expired(count: int) -> str:
    return f"queued requests that were not answered within queue.max_age are gone: {count}"
