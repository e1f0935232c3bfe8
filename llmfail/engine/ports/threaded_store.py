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
from llmfail.store.group_commit import FailedUpdate, StoreUpdate, update_together

T = TypeVar("T")

MAX_GROUP = 32
"""Updates in one transaction, so that other processes wait some milliseconds at most."""


class CancellationShield:
    """Work that must not be broken off, and what tried to."""

    cancellation: asyncio.CancelledError | None = None


_shield: ContextVar[CancellationShield | None] = ContextVar("_block", default=None)


class PendingUpdate:
    """An update that somebody waits for, who may be stopped meanwhile: the update is made all the same."""

    def __init__(self, update: StoreUpdate, loop: asyncio.AbstractEventLoop) -> None:
        self.update = update
        self.loop = loop
        self.done: asyncio.Future[None] = loop.create_future()
        self.results: list[Any] = []

    async def wait(self) -> Any:  # noqa: ANN401 - the change knows
        while not self.results:
            try:
                await self.done
            except asyncio.CancelledError as error:
                _defer_cancellation(error)
                if self.done.cancelled():
                    self.done = self.loop.create_future()
        return self.results[0]

    def resolve(self, result: object) -> None:
        self.results.append(result)
        if not self.done.done():
            self.done.set_result(None)


class GroupCommitStore:
    """The thread is its own, because those of the event loop may all be waiting for a name server. Several
    event loops may ask, at once or one after another.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmfail-store")
        self._pending: list[PendingUpdate] = []
        self._lock = Lock()
        self._committing_loop: asyncio.AbstractEventLoop | None = None
        self._is_in_thread = False

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        reading = asyncio.get_running_loop().run_in_executor(self._thread, self._store.read, keys)
        while not reading.done():
            try:
                await asyncio.shield(reading)
            except asyncio.CancelledError as error:
                _defer_cancellation(error)
        return reading.result()

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        loop = asyncio.get_running_loop()
        waiting = PendingUpdate(StoreUpdate(keys, change), loop)
        with self._lock:
            self._pending.append(waiting)
            begins = not self._is_in_thread and (
                self._committing_loop is None or not self._committing_loop.is_running()
            )
            if begins:
                self._committing_loop = loop
        if begins:
            loop.call_soon(self._commit_in_loop, loop)
        found: R | FailedUpdate = await waiting.wait()
        if isinstance(found, FailedUpdate):
            raise found.error
        return found

    async def run_shielded(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:  # noqa: ARG002 - all is
        """Not broken off where it waits for this keeper; whoever is stopped elsewhere stops there."""
        block = CancellationShield()
        before = _shield.set(block)
        try:
            return await work
        finally:
            _shield.reset(before)
            if block.cancellation is not None:
                raise block.cancellation

    def _commit_in_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make what waits, or leave it to the thread."""
        group = self._take_group()
        try:
            if group and not self._store.is_local:
                self._move_to_thread(group)
            elif group:
                _deliver(
                    group, update_together(self._store, [one.update for one in group], waits=False), here=loop
                )
        except StoreError:
            self._move_to_thread(group)
        except BaseException:
            failed = FailedUpdate(StoreError(f"the {self._store.name} store was interrupted"))
            _deliver(group, [failed] * len(group), here=loop)
            raise
        finally:
            self._continue_in_loop(loop)

    def _move_to_thread(self, group: list[PendingUpdate]) -> None:
        with self._lock:
            self._pending[:0] = group
            self._is_in_thread = True
        try:
            self._thread.submit(self._commit_in_thread)
        except RuntimeError:  # no thread can be had: there are too many, or the program is about to end
            self._commit_in_thread()

    def _commit_in_thread(self) -> None:
        """In the thread."""
        while group := self._take_group():
            _deliver(group, update_together(self._store, [one.update for one in group]))

    def _take_group(self) -> list[PendingUpdate]:
        """What is to be made next."""
        with self._lock:
            group, self._pending = self._pending[:MAX_GROUP], self._pending[MAX_GROUP:]
            self._is_in_thread = self._is_in_thread and bool(group)
        return group

    def _continue_in_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """What is left is made in a loop that waits for it: this one may be about to end."""
        with self._lock:
            left = [] if self._is_in_thread else [one.loop for one in self._pending]
            following = loop if loop in left else next(iter(left), None)
            self._committing_loop = following
        if following is loop:
            loop.call_soon(self._commit_in_loop, loop)
        elif following is not None:
            try:
                following.call_soon_threadsafe(self._commit_in_loop, following)
            except RuntimeError:  # it has ended, and its updates are made all the same
                self._commit_in_loop(loop)


def _deliver(
    group: Sequence[PendingUpdate], results: Sequence[Any], here: asyncio.AbstractEventLoop | None = None
) -> None:
    """Each in its own event loop."""
    for loop in {one.loop for one in group}:
        told = [(one, result) for one, result in zip(group, results, strict=True) if one.loop is loop]
        if loop is here:
            _deliver_here(told)
            continue
        with suppress(RuntimeError):  # it has ended, and with it whoever waited
            loop.call_soon_threadsafe(_deliver_here, told)


def _deliver_here(results: Sequence[tuple[PendingUpdate, object]]) -> None:
    for one, result in results:
        one.resolve(result)


def _defer_cancellation(cancellation: asyncio.CancelledError) -> None:
    """Until the block is over, if there is one."""
    block = _shield.get()
    if block is None:
        raise cancellation
    block.cancellation = cancellation
