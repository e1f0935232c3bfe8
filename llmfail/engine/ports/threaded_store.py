"""A store for asyncio: it may wait for another process, the event loop may not.

The updates that are asked for in one turn of the loop are made together, as one transaction: at once where
the store is free, else by a thread, which waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeVar

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Values
from llmfail.store.base import Change, R, Store
from llmfail.store.group_commit import Failed, Update, update

T = TypeVar("T")

MOST = 32
"""Updates in one transaction, so that other processes wait some milliseconds at most."""


class Block:
    """Work that must not be broken off, and what tried to."""

    stopped: asyncio.CancelledError | None = None


_block: ContextVar[Block | None] = ContextVar("_block", default=None)


class Waiting:
    """An update that somebody waits for, who may be stopped meanwhile: the update is made all the same."""

    def __init__(self, update: Update, loop: asyncio.AbstractEventLoop) -> None:
        self.update = update
        self.loop = loop
        self.told: asyncio.Future[None] = loop.create_future()
        self.results: list[Any] = []

    async def result(self) -> Any:  # noqa: ANN401 - the change knows
        while not self.results:
            try:
                await self.told
            except asyncio.CancelledError as error:
                _put_off(error)
                if self.told.cancelled():
                    self.told = self.loop.create_future()
        return self.results[0]

    def tell(self, result: object) -> None:
        self.results.append(result)
        if not self.told.done():
            self.told.set_result(None)


class ThreadedKeeper:
    """The thread is its own, because those of the event loop may all be waiting for a name server. Several
    event loops may ask, at once or one after another.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmfail-store")
        self._waiting: list[Waiting] = []
        self._lock = Lock()
        self._beginner: asyncio.AbstractEventLoop | None = None
        self._is_aside = False

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        reading = asyncio.get_running_loop().run_in_executor(self._thread, self._store.read, keys)
        while not reading.done():
            try:
                await asyncio.shield(reading)
            except asyncio.CancelledError as error:
                _put_off(error)
        return reading.result()

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        loop = asyncio.get_running_loop()
        waiting = Waiting(Update(keys, change), loop)
        with self._lock:
            self._waiting.append(waiting)
            begins = not self._is_aside and (self._beginner is None or not self._beginner.is_running())
            if begins:
                self._beginner = loop
        if begins:
            loop.call_soon(self._begin, loop)
        found: R | Failed = await waiting.result()
        if isinstance(found, Failed):
            raise found.error
        return found

    async def unbroken(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:  # noqa: ARG002 - all is
        """Not broken off where it waits for this keeper; whoever is stopped elsewhere stops there."""
        block = Block()
        before = _block.set(block)
        try:
            return await work
        finally:
            _block.reset(before)
            if block.stopped is not None:
                raise block.stopped

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make what waits, or leave it to the thread."""
        group = self._group()
        try:
            if group:
                _tell(group, update(self._store, [one.update for one in group], waits=False), here=loop)
        except StoreError:
            self._leave_aside(group)
        except BaseException:
            failed = Failed(StoreError(f"the {self._store.name} store was interrupted"))
            _tell(group, [failed] * len(group), here=loop)
            raise
        finally:
            if self._goes_on():
                loop.call_soon(self._begin, loop)

    def _leave_aside(self, group: list[Waiting]) -> None:
        with self._lock:
            self._waiting[:0] = group
            self._is_aside = True
        try:
            self._thread.submit(self._work)
        except RuntimeError:  # no thread can be had: there are too many, or the program is about to end
            self._work()

    def _work(self) -> None:
        """In the thread."""
        while group := self._group():
            _tell(group, update(self._store, [one.update for one in group]))

    def _group(self) -> list[Waiting]:
        """What is to be made next."""
        with self._lock:
            group, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            self._is_aside = self._is_aside and bool(group)
        return group

    def _goes_on(self) -> bool:
        """Whether there is more to be made in the loop."""
        with self._lock:
            goes_on = bool(self._waiting) and not self._is_aside
            if not goes_on:
                self._beginner = None
        return goes_on


def _tell(
    group: Sequence[Waiting], results: Sequence[Any], here: asyncio.AbstractEventLoop | None = None
) -> None:
    """Each in its own event loop."""
    for loop in {one.loop for one in group}:
        told = [(one, result) for one, result in zip(group, results, strict=True) if one.loop is loop]
        if loop is here:
            _tell_here(told)
            continue
        with suppress(RuntimeError):  # it has ended, and with it whoever waited
            loop.call_soon_threadsafe(_tell_here, told)


def _tell_here(told: Sequence[tuple[Waiting, object]]) -> None:
    for one, result in told:
        one.tell(result)


def _put_off(stopped: asyncio.CancelledError) -> None:
    """Until the block is over, if there is one."""
    block = _block.get()
    if block is None:
        raise stopped
    block.stopped = stopped
