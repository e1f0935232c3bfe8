"""Asks that need an event loop, for callers that block: the loop runs in a thread of its own, so that it does
not matter which thread the caller is in and whether a loop runs there.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread

from llmfail.client.connections import LazyAsyncWire
from llmfail.client.resources import Resources
from llmfail.client.streams import MAX_PIECES_AHEAD, Pieces
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.engine.engine import Engine
from llmfail.engine.ports.aio import build_asyncio_ports


def run_in_loop_thread(resources: Resources, ask: Ask, *, shown: bool) -> Pieces:
    """The pieces of an answer, of which there are some only where it is to be ``shown``. Whoever is stopped
    while waiting for one stops the ask, and waits until it is settled.
    """
    loop = _LoopThread(resources, ask, shown=shown)
    # A caller that ends without closing what it began is not kept from ending.
    thread = Thread(target=loop.run, name="llmfail-loop", daemon=True)
    try:
        thread.start()
        while (piece := loop.pieces.get()) is not None:
            yield piece
            loop.free_slot()
    finally:
        if thread.ident is not None:
            loop.stop()
            thread.join()
    return loop.result()


class _LoopThread:
    """The event loop of one ask, in its own thread. ``pieces`` gets the text of the answer, then None."""

    def __init__(self, resources: Resources, ask: Ask, *, shown: bool) -> None:
        self.pieces: SimpleQueue[str | None] = SimpleQueue()
        self._task: asyncio.Task[Receipt] | None = None
        self._error: BaseException | None = None
        self._resources = resources
        self._ask = ask
        self._shown = shown
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
            self.pieces.put(None)

    def stop(self) -> None:
        self._started.wait()
        if self._task is not None:
            with suppress(RuntimeError):  # it is over
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def result(self) -> Receipt:
        """Once it is over. Raises what the ask raised, or why there is no event loop."""
        if self._error is not None:
            raise self._error
        assert self._task is not None, "the loop has run"
        return self._task.result()

    def free_slot(self) -> None:
        """There is room for another piece."""
        assert self._task is not None, "it has said something"
        with suppress(RuntimeError):  # it is over
            self._task.get_loop().call_soon_threadsafe(self._slots.release)

    async def _main(self) -> None:
        self._task = asyncio.ensure_future(self._run_ask())
        self._started.set()
        await asyncio.wait({self._task})

    async def _run_ask(self) -> Receipt:
        line, opened = LazyAsyncWire(), self._resources
        try:
            engine = Engine(
                opened.settings,
                build_asyncio_ports(line, opened.stores, opened.catalogue, line.connect),
            )
            return await engine.ask(self._ask, on_text=self._put_piece if self._shown else None)
        finally:
            await line.close()

    async def _put_piece(self, piece: str) -> None:
        await self._slots.acquire()
        self.pieces.put(piece)
