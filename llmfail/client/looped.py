"""Asks that need an event loop, for callers that block: the loop runs in a thread of its own, so that it does
not matter which thread the caller is in and whether a loop runs there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread

from llmfail.client.lines import AsyncLine
from llmfail.client.opened import Opened
from llmfail.client.streams import Pieces
from llmfail.core.ask import Ask
from llmfail.core.receipt import Receipt
from llmfail.engine import ports
from llmfail.engine.engine import Engine


def looped(opened: Opened, ask: Ask, *, shown: bool) -> Pieces:
    """The pieces of an answer, of which there are some only where it is to be ``shown``. Whoever is stopped
    while waiting for one stops the ask, and waits until it is settled.
    """
    loop = _Loop(opened, ask, shown=shown)
    thread = Thread(target=loop.run, name="llmfail-loop")
    thread.start()
    try:
        while (piece := loop.said.get()) is not None:
            yield piece
    finally:
        loop.stop()
        thread.join()
    return loop.task.result()


class _Loop:
    """``said`` ends with None."""

    def __init__(self, opened: Opened, ask: Ask, *, shown: bool) -> None:
        self.said: SimpleQueue[str | None] = SimpleQueue()
        self.task: asyncio.Task[Receipt]
        self._opened = opened
        self._ask = ask
        self._shown = shown
        self._running = Event()

    def run(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._running.set()
            self.said.put(None)

    def stop(self) -> None:
        self._running.wait()
        with suppress(RuntimeError):  # it is over
            self.task.get_loop().call_soon_threadsafe(self.task.cancel)

    async def _main(self) -> None:
        self.task = asyncio.ensure_future(self._asked())
        self._running.set()
        await asyncio.wait({self.task})

    async def _asked(self) -> Receipt:
        line, opened = AsyncLine(), self._opened
        try:
            engine = Engine(opened.settings, ports.aio(line, opened.stores, opened.catalogue, line.connected))
            return await engine.ask(self._ask, show=self._show if self._shown else None)
        finally:
            await line.close()

    async def _show(self, piece: str) -> None:
        self.said.put(piece)
