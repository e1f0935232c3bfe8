"""Work on many items, several at once, the results in the order of the items.

The caller's thread does nothing but take results: it is the one that signals interrupt, and the one that
writes. Items are read by a thread of its own, so that an input that is slow to come holds up no result, and
never further ahead than there is work for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Queue
from typing import TypeVar

from llmfail.cli.signals import SETTLE_TIMEOUT

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(work: Callable[[T], R], items: Iterable[T], concurrency: int) -> Iterator[R]:
    """The first item goes alone: what there is to learn from it, the others know. An error of the work or of
    the items ends it. Whoever leaves early waits ``SETTLE_TIMEOUT`` seconds at most for what is under way.
    """
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="llmfail")
    under_way: Queue[Future[R] | None] = Queue(concurrency)
    started: set[Future[R]] = set()

    def feed() -> None:
        try:
            for place, item in enumerate(items):
                future = pool.submit(work, item)
                started.add(future)
                under_way.put(future)
                if place == 0:
                    wait([future])
        except Exception as error:  # noqa: BLE001 - told to whoever takes the results
            failed: Future[R] = Future()
            failed.set_exception(error)
            under_way.put(failed)
        under_way.put(None)

    # A daemon: it may be waiting for a line that never comes.
    threading.Thread(target=feed, name="llmfail-input", daemon=True).start()
    try:
        while (future := under_way.get()) is not None:
            result = future.result()
            started.discard(future)
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        wait(list(started), SETTLE_TIMEOUT)
