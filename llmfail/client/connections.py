"""The connections of a client, opened when the first call needs them: importing what makes them takes longer
than a stored answer. A call that breaks off because its client was closed is nobody's failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from llmfail.core.errors import UsageError, WireError
from llmfail.core.model import Call, Reply

if TYPE_CHECKING:
    from llmfail.engine.ports.protocols import AsyncReply, BlockingReply
    from llmfail.wire import aio, blocking


class _Openness:
    """Whether the connections may be used."""

    def __init__(self) -> None:
        self.is_closed = False

    def require_open(self) -> None:
        """Raises UsageError for a call that comes after they were closed."""
        if self.is_closed:
            raise UsageError("this client is closed")

    def attribute(self, error: WireError) -> WireError:
        """What breaks off because they were closed; any other error as it is."""
        if not self.is_closed:
            return error
        return WireError("closed", "the client was closed before the call had ended")

    @contextmanager
    def attribute_errors(self) -> Iterator[None]:
        """The same around a call."""
        self.require_open()
        try:
            yield
        except WireError as error:
            raise self.attribute(error) from error


class LazyWire:
    """Of this process. One that forked makes its own."""

    def __init__(self) -> None:
        self._wire: blocking.HttpcoreWire | None = None
        self._process = os.getpid()
        self._lock = Lock()
        self._openness = _Openness()

    def send(self, call: Call, timeout: float) -> Reply:
        with self._openness.attribute_errors():
            return self.connect().send(call, timeout)

    def open(self, call: Call, timeout: float) -> BlockingReply:
        with self._openness.attribute_errors():
            return _Reply(self.connect().open(call, timeout), self._openness)

    def connect(self) -> blocking.HttpcoreWire:
        if self._process != os.getpid():
            self._process, self._wire, self._lock = os.getpid(), None, Lock()
        if self._wire is None:
            from llmfail.wire.blocking import HttpcoreWire

            with self._lock:
                self._wire = self._wire or HttpcoreWire()
        return self._wire

    def close(self) -> None:
        self._openness.is_closed = True
        if self._wire is not None:
            self._wire.close()


class LazyAsyncWire:
    """Of one event loop."""

    def __init__(self) -> None:
        self._wire: aio.AiohttpWire | None = None
        self._openness = _Openness()

    @property
    def is_closed(self) -> bool:
        return self._openness.is_closed

    async def send(self, call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        self._openness.require_open()
        try:
            return await self.connect().send(call, timeout)
        except WireError as error:
            raise self._openness.attribute(error) from error

    async def open(self, call: Call, timeout: float) -> AsyncReply:  # noqa: ASYNC109 - until its head is here
        self._openness.require_open()
        try:
            return _AsyncReply(await self.connect().open(call, timeout), self._openness)
        except WireError as error:
            raise self._openness.attribute(error) from error

    def connect(self) -> aio.AiohttpWire:
        if self._wire is None:
            from llmfail.wire.aio import AiohttpWire

            self._wire = AiohttpWire()
        return self._wire

    async def close(self) -> None:
        self._openness.is_closed = True
        if self._wire is not None:
            await self._wire.close()


class _Reply:
    """A reply whose client may be closed while it is read."""

    def __init__(self, reply: BlockingReply, openness: _Openness) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._reply = reply
        self._openness = openness

    def read(self, timeout: float) -> bytes:
        with self._openness.attribute_errors():
            return self._reply.read(timeout)

    def close(self) -> None:
        self._reply.close()


class _AsyncReply:
    """The same for asyncio."""

    def __init__(self, reply: AsyncReply, openness: _Openness) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.waited = reply.waited
        self._reply = reply
        self._openness = openness

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the wire keeps to it
        self._openness.require_open()
        try:
            return await self._reply.read(timeout)
        except WireError as error:
            raise self._openness.attribute(error) from error

    async def close(self) -> None:
        await self._reply.close()
