"""Ports for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from llmfail.engine.ports.google_token import GoogleTokens
from llmfail.engine.ports.protocols import AsyncStore, AsyncTransport, Ports, Stores
from llmfail.engine.ports.store_access import InlineStore
from llmfail.engine.ports.threaded_store import GroupCommitStore
from llmfail.prices import Catalogue
from llmfail.store.base import Store

T = TypeVar("T")


def build_asyncio_ports(
    wire: AsyncTransport, stores: Stores, catalogue: Catalogue, prepare: Callable[[], object] = lambda: None
) -> Ports:
    """Ports for asyncio."""

    async def run_in_a_thread(work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    return Ports(
        send=wire.send,
        open=wire.open,
        google_tokens=GoogleTokens(wire.send, run_in_a_thread, asyncio.Lock()),
        store=_async_store_of(stores.state),
        catalogue=catalogue,
        sleep=asyncio.sleep,
        prepare=prepare,
        is_down=stores.is_down,
        wall=stores.wall,
        listener=stores.listener,
        answers=None if stores.answers is None else _async_store_of(stores.answers),
        are_flights_in_state=stores.are_flights_in_state,
        enqueue=stores.enqueue,
        run_blocking=run_in_a_thread,
        concurrent=True,
        lock=asyncio.Lock,
    )


def _async_store_of(store: Store) -> AsyncStore:
    """For asyncio: what is in memory is at hand, unless it only stands in for a store that will be back."""
    is_at_hand = store.name == "memory" and not getattr(store, "is_down", False)
    return InlineStore(store) if is_at_hand else GroupCommitStore(store)
