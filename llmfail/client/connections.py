"""The connections of a client, opened when the first call needs them: importing what makes them takes longer
than a stored answer.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from llmfail.core.model import Call, Reply

if TYPE_CHECKING:
    from llmfail.engine.ports.ports import BlockingReply, LiveReply
    from llmfail.wire import aio, blocking


class Line:
    """Of this process. One that forked makes its own."""

    def __init__(self) -> None:
        self._wire: blocking.Wire | None = None
        self._process = os.getpid()
        self._opening = Lock()

    def send(self, call: Call, timeout: float) -> Reply:
        return self.connected().send(call, timeout)

    def open(self, call: Call, timeout: float) -> BlockingReply:
        return self.connected().open(call, timeout)

    def connected(self) -> blocking.Wire:
        if self._process != os.getpid():
            self._process, self._wire, self._opening = os.getpid(), None, Lock()
        if self._wire is None:
            from llmfail.wire.blocking import Wire

            with self._opening:
                self._wire = self._wire or Wire()
        return self._wire

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()


class AsyncLine:
    """Of one event loop."""

    def __init__(self) -> None:
        self._wire: aio.AsyncWire | None = None

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        return await self.connected().send(call, timeout)

    async def open(self, call: Call, timeout: float) -> LiveReply:  # noqa: ASYNC109 - until its head is here
        return await self.connected().open(call, timeout)

    def connected(self) -> aio.AsyncWire:
        if self._wire is None:
            from llmfail.wire.aio import AsyncWire

            self._wire = AsyncWire()
        return self._wire

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
