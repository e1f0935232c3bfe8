"""Work that needs an event loop, for callers that block: the loop runs in a thread of its own, so that it
does not matter which thread the caller is in and whether a loop runs there.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from llmfail.client.aio_streams import Put
from llmfail.client.streams import MAX_PIECES_AHEAD

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Put[T]], Coroutine[Any, Any, R]]
"""What puts items out, and comes to a result."""


def run_in_loop_thread(work: Work[T, R]) -> Generator[T, None, R]:
    """The items that ``work`` puts out, and what it comes to. Whoever is stopped while waiting for one stops
    the work, and waits until it has ended.
    """
    loop = _LoopThread(work)
    # A caller that ends without closing what it began is not kept from ending.
    thread = Thread(target=loop.run, name="llmfail-loop", daemon=True)
    try:
        thread.start()
        while (item := loop.items.get()) is not None:
            yield item
            loop.free_slot()
    finally:
        if thread.ident is not None:
            loop.stop()
            thread.join()
    return loop.result()


class _LoopThread(Generic[T, R]):
    """The event loop of one piece of work, in its own thread. ``items`` gets what it puts out, then None."""

    def __init__(self, work: Work[T, R]) -> None:
        self.items: SimpleQueue[T | None] = SimpleQueue()
        self._work = work
        self._task: asyncio.Task[R] | None = None
        self._error: BaseException | None = None
        self._started = Event()
        self._slots = asyncio.Semaphore(MAX_PIECES_AHEAD)

    def run(self) -> None:
        # While an answer is being printed, a broken pipe ends the program; a provider's connection must not.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        try:
            with asyncio.Runner() as runner:
                runner.get_loop()
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - raised where the result is wanted
            self._error = error
        finally:
            self._started.set()
            self.items.put(None)

    def stop(self) -> None:
        self._started.wait()
        if self._task is not None:
            with suppress(RuntimeError):  # it is over
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def result(self) -> R:
        """Once it is over. Raises what the work raised, or why there is no event loop."""
        if self._error is not None:
            raise self._error
        assert self._task is not None, "the loop has run"
        return self._task.result()

    def free_slot(self) -> None:
        """There is room for another item."""
        assert self._task is not None, "it has put something out"
        with suppress(RuntimeError):  # it is over
            self._task.get_loop().call_soon_threadsafe(self._slots.release)

    async def _main(self) -> None:
        self._task = asyncio.ensure_future(self._work(self._put))
        self._started.set()
        await asyncio.wait({self._task})

    async def _put(self, item: T) -> None:
        await self._slots.acquire()
        self.items.put(item)
