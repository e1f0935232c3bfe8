"""The client for asyncio."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

from msgspec.structs import replace

from llmfail.client import shared
from llmfail.client.connections import LazyAsyncWire
from llmfail.client.options import ask_of, embed_ask_of
from llmfail.client.resources import count_storage, open_resources
from llmfail.client.streams import AsyncAnswerStream, cancel_tasks
from llmfail.core.model import Message
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask_options import Options
from llmfail.engine.engine import Engine
from llmfail.engine.ports.aio import build_asyncio_ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    import asyncio

    from llmfail.core.pricing.usage_record import UsageEntry
    from llmfail.core.pricing.usage_report import DayRange, GroupBy, UsageReport
    from llmfail.core.reports.status import Status
    from llmfail.engine.bulk.batch import Batch, BatchLimits


class AsyncClient:
    """The same for asyncio: any number of calls at once. Use it within one event loop."""

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._resources = open_resources(config, state_dir, settings, warn)
        self.settings = self._resources.settings
        self._store = self._resources.state
        self._wire = LazyAsyncWire()
        self._ports = build_asyncio_ports(
            self._wire, self._resources.stores, self._resources.catalogue, self._wire.connect
        )
        self._engine = Engine(self.settings, self._ports)
        self._running: set[asyncio.Task[Receipt]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """The end of its streams, whoever has left them, and of its connections."""
        await cancel_tasks(self._running)
        await self._wire.close()
        self._resources.close()

    async def ask(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> Receipt:
        """As ``Client.ask``."""
        return shared.raise_for_error(await self._engine.ask(ask_of(prompt, **options)))

    def stream(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> AsyncAnswerStream:
        """As ``Client.stream``."""
        ask = replace(ask_of(prompt, **options), stream=True)
        return AsyncAnswerStream(lambda show: self._engine.ask(ask, on_text=show), self._running)

    def batch(
        self,
        write: Callable[[Sequence[Receipt]], Awaitable[None]],
        limits: BatchLimits,
        *,
        max_cost: int | None = None,
        spent: int = 0,
    ) -> Batch:
        """Asks many, within so many pico-dollars altogether, of which some are ``spent``."""
        from llmfail.engine.bulk.batch import Batch
        from llmfail.engine.bulk.batch_budget import BatchBudget

        purse = None if max_cost is None else BatchBudget(max_cost, spent, self._engine.plan)
        return Batch(self._engine.ask, write, limits, self._ports, purse)

    def embed_batch(
        self, write: Callable[[Sequence[Receipt]], Awaitable[None]], limits: BatchLimits
    ) -> Batch:
        """Embeds the texts of many asks."""
        from llmfail.engine.bulk.batch import Batch

        return Batch(self._engine.embed, write, limits, self._ports)

    async def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """As ``Client.embed``."""
        return shared.raise_for_error(await self._engine.embed(embed_ask_of(texts, options)))

    async def status(self) -> Status:
        """As ``Client.status``."""
        return await shared.operator_of(self.settings, self._ports).status(
            self._store, count_storage(self._resources)
        )

    async def routing_stats(self) -> dict[str, Any]:
        """As ``Client.stats``."""
        routing: dict[str, Any] = (await self.status()).to_json()["routing"]
        return routing

    async def reset(self, name: str | None = None) -> tuple[str, ...]:
        """As ``Client.reset``."""
        return shared.require_recorded(
            await shared.operator_of(self.settings, self._ports).reset(name), self._store
        )

    async def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """As ``Client.trip``."""
        return shared.require_recorded(
            await shared.operator_of(self.settings, self._ports).trip(name, seconds), self._store
        )

    async def usage(self, by: GroupBy = "feature", days: DayRange | None = None) -> UsageReport:
        """As ``Client.usage``."""
        return await shared.load_usage_report(self.settings, self._ports, by, days)

    async def usage_records(self, days: DayRange | None = None) -> list[UsageEntry]:
        """As ``Client.recorded``."""
        return await shared.load_usage_records(self.settings, self._ports, days)
