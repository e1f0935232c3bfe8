"""The connections of a client, opened when the first call needs them: importing what makes them takes longer
than a stored answer.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from llmfail.core.model import Call, Reply

if TYPE_CHECKING:
    from llmfail.engine.ports.protocols import AsyncReply, BlockingReply
    from llmfail.wire import aio, blocking


class LazyWire:
    """Of this process. One that forked makes its own."""

    def __init__(self) -> None:
        self._wire: blocking.HttpcoreWire | None = None
        self._process = os.getpid()
        self._lock = Lock()

    def send(self, call: Call, timeout: float) -> Reply:
        return self.connect().send(call, timeout)

    def open(self, call: Call, timeout: float) -> BlockingReply:
        return self.connect().open(call, timeout)

    def connect(self) -> blocking.HttpcoreWire:
        if self._process != os.getpid():
            self._process, self._wire, self._lock = os.getpid(), None, Lock()
        if self._wire is None:
            from llmfail.wire.blocking import HttpcoreWire

            with self._lock:
                self._wire = self._wire or HttpcoreWire()
        return self._wire

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()


class LazyAsyncWire:
    """Of one event loop."""

    def __init__(self) -> None:
        self._wire: aio.AiohttpWire | None = None

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        return await self.connect().send(call, timeout)

    async def open(self, call: Call, timeout: float) -> AsyncReply:  # noqa: ASYNC109 - until its head is here
        return await self.connect().open(call, timeout)

    def connect(self) -> aio.AiohttpWire:
        if self._wire is None:
            from llmfail.wire.aio import AiohttpWire

            self._wire = AiohttpWire()
        return self._wire

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
