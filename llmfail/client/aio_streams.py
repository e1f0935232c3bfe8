"""What tasks put out, for whoever loops over it: answers piece by piece, receipts of a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, Self, TypeVar

from llmfail.client.shared import raise_for_error
from llmfail.client.streams import MAX_PIECES_AHEAD, RunAsk
from llmfail.core.receipt import Receipt

T = TypeVar("T")
Put = Callable[[T], Awaitable[None]]
"""Hands one item over; it waits while too many of them lie there."""
RunningTasks = set[asyncio.Task[Any]]


class TaskOutput(Generic[T]):
    """What ``work`` puts out, in order; read it once. While its task runs, it is in ``running``."""

    def __init__(self, work: Callable[[Put[T]], Coroutine[Any, Any, None]], running: RunningTasks) -> None:
        self._work = work
        self._running = running
        self._task: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[T]:
        if self._task is not None:
            return
        items: asyncio.Queue[T | None] = asyncio.Queue()
        room = asyncio.Semaphore(MAX_PIECES_AHEAD)

        async def put(item: T) -> None:
            await room.acquire()
            items.put_nowait(item)

        self._task = asyncio.ensure_future(self._work(put))
        self._running.add(self._task)
        self._task.add_done_callback(self._running.discard)
        self._task.add_done_callback(lambda _task: items.put_nowait(None))
        try:
            while (item := await items.get()) is not None:
                yield item
                room.release()
            self._task.result()
        finally:
            await self.close()

    async def close(self) -> None:
        """The end of the task, if it is still under way."""
        if self._task is not None:
            await cancel_tasks([self._task])


class AsyncAnswerStream:
    """As ``AnswerStream``, for asyncio."""

    def __init__(self, run_ask: RunAsk, running: RunningTasks) -> None:
        self.receipt: Receipt | None = None
        self._run_ask = run_ask
        self._output: TaskOutput[str] = TaskOutput(self._ask, running)

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            async for piece in self._output:
                yield piece
        finally:
            await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """As ``AnswerStream.close``."""
        await self._output.close()

    async def _ask(self, put: Put[str]) -> None:
        """An answer that was not shown in pieces is shown as one."""
        shown = False

        async def show(piece: str) -> None:
            nonlocal shown
            shown = True
            await put(piece)

        self.receipt = await self._run_ask(show)
        if self.receipt.answer and not shown:
            await put(self.receipt.answer)
        raise_for_error(self.receipt)


async def cancel_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel those that are not done, and wait for their ends, whatever they are."""
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
