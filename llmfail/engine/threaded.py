"""A store for asyncio: it may wait for another process, the event loop may not.

One thread does its work. The updates that come while it is busy are made together, as one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from llmfail.core.record import Values
from llmfail.store.base import Change, R, Store
from llmfail.store.grouped import Failed, Update, update

T = TypeVar("T")

MOST = 32
"""Updates in one transaction, so that other processes wait some milliseconds at most."""


class Waiting(NamedTuple):
    """An update, and where its result, or its failure, is waited for."""

    update: Update
    result: asyncio.Future[Any]


class ThreadedKeeper:
    """The thread is its own, because those of the event loop may all be waiting for a name server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmfail-store")
        self._waiting: list[Waiting] = []
        self._lock = Lock()

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return await self._finished(partial(self._store.read, keys))

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        waiting = Waiting(Update(keys, change), asyncio.get_running_loop().create_future())
        with self._lock:
            self._waiting.append(waiting)
            is_first = len(self._waiting) == 1
        if is_first:
            self._thread.submit(self._work)
        found: R | Failed = await waiting.result
        if isinstance(found, Failed):
            raise found.error
        return found

    async def unbroken(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:  # noqa: ARG002 - all is
        task, stopped = asyncio.ensure_future(work), None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                stopped = error
        if stopped is not None:
            raise stopped
        return task.result()

    async def _finished(self, verb: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, verb)

    def _work(self) -> None:
        """In the thread: make the updates that wait, and tell."""
        while group := self._group():
            results = update(self._store, [one.update for one in group])
            for loop in {one.result.get_loop() for one in group}:
                with suppress(RuntimeError):  # it has ended, and with it whoever waited
                    loop.call_soon_threadsafe(_tell, loop, group, results)

    def _group(self) -> list[Waiting]:
        with self._lock:
            group, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        return group


def _tell(loop: asyncio.AbstractEventLoop, group: Sequence[Waiting], results: Sequence[Any]) -> None:
    for one, result in zip(group, results, strict=True):
        if one.result.get_loop() is loop and not one.result.done():
            one.result.set_result(result)
