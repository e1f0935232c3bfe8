"""Ports that block their thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmfail.core.model import Call, Reply
from llmfail.engine.ports.execution import run_inline
from llmfail.engine.ports.google_token import GoogleTokens
from llmfail.engine.ports.protocols import AsyncReply, BlockingReply, BlockingTransport, Ports, Stores
from llmfail.engine.ports.store_access import InlineStore
from llmfail.prices import Catalogue


class _InlineReply:
    """The reply of a wire that blocks, as the engine reads it."""

    waited = 0.0

    def __init__(self, reply: BlockingReply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._reply = reply

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - the wire keeps to it
        return self._reply.read(timeout)

    async def close(self) -> None:
        self._reply.close()


def build_blocking_ports(
    wire: BlockingTransport,
    stores: Stores,
    catalogue: Catalogue,
    prepare: Callable[[], object] = lambda: None,
    pause: Callable[[float], None] = time.sleep,
) -> Ports:
    """Ports that block: for one ask at a time per thread, with ``run_sync``."""

    async def send(call: Call, timeout: float) -> Reply:  # noqa: ASYNC109 - covers the whole call
        return wire.send(call, timeout)

    async def open_(call: Call, timeout: float) -> AsyncReply:  # noqa: ASYNC109 - until its head is here
        return _InlineReply(wire.open(call, timeout))

    async def sleep(seconds: float) -> None:
        pause(seconds)

    return Ports(
        send=send,
        open=open_,
        google_tokens=GoogleTokens(send, run_inline),
        store=InlineStore(stores.state),
        catalogue=catalogue,
        sleep=sleep,
        prepare=prepare,
        is_down=stores.is_down,
        wall=stores.wall,
        listener=stores.listener,
        answers=None if stores.answers is None else InlineStore(stores.answers),
        are_flights_in_state=stores.are_flights_in_state,
        enqueue=stores.enqueue,
    )
