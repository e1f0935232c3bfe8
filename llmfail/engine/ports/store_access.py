"""Stores as the engine reads and writes them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from llmfail.core.records.record import StoreChange, Values, settle_in_any_case
from llmfail.engine.ports.protocols import AsyncStore
from llmfail.engine.ports.stop_signals import block_signals
from llmfail.store.base import Change, Store

T = TypeVar("T")
R = TypeVar("R")


async def write(store: AsyncStore, step: StoreChange) -> None:
    """Make a change that has no result; it is made later when the store cannot be used now."""
    await store.update(step.keys, settle_in_any_case(step))


class InlineStore(Struct, frozen=True):
    store: Store

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return self.store.read(keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        return self.store.update(keys, change)

    async def run_shielded(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:
        if not writes:
            return await work
        with block_signals():
            return await work


class ReadOnlyStore(Struct, frozen=True):
    """The same results without the writes: for those who only want to know."""

    store: AsyncStore

    async def read(self, keys: Sequence[str]) -> tuple[Values, float]:
        return await self.store.read(keys)

    async def update(self, keys: Sequence[str], change: Change[R]) -> R:
        _, result = change(*await self.store.read(keys))
        return result

    async def run_shielded(self, work: Coroutine[Any, Any, T], *, writes: bool) -> T:  # noqa: ARG002
        return await work
