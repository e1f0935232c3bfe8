"""The client for asyncio."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, Unpack

from msgspec.structs import replace

from llmfail.client import shared
from llmfail.client.connections import AsyncLine
from llmfail.client.options import Options, ask_of, texts_of
from llmfail.client.resources import holdings, open_
from llmfail.client.streams import AsyncAnswering
from llmfail.core.model import Message
from llmfail.core.receipt import Receipt
from llmfail.engine.engine import Engine
from llmfail.engine.ports import ports
from llmfail.settings.schema.settings import Settings

if TYPE_CHECKING:
    from llmfail.core.pricing.usage_record import Entry
    from llmfail.core.pricing.usage_report import By, Days, Report
    from llmfail.core.reports.status import Status
    from llmfail.engine.bulk.batch import Batch, Limits


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
        self._opened = open_(config, state_dir, settings, warn)
        self.settings = self._opened.settings
        self._store = self._opened.state
        self._line = AsyncLine()
        self._ports = ports.aio(self._line, self._opened.stores, self._opened.catalogue, self._line.connected)
        self._engine = Engine(self.settings, self._ports)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._line.close()
        self._opened.close()

    async def ask(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> Receipt:
        """As ``Client.ask``."""
        return shared.checked(await self._engine.ask(ask_of(prompt, **options)))

    def stream(self, prompt: str | Sequence[Message], **options: Unpack[Options]) -> AsyncAnswering:
        """As ``Client.stream``."""
        ask = replace(ask_of(prompt, **options), stream=True)
        return AsyncAnswering(lambda show: self._engine.ask(ask, show=show))

    def batch(
        self,
        write: Callable[[Sequence[Receipt]], Awaitable[None]],
        limits: Limits,
        *,
        max_cost: int | None = None,
        spent: int = 0,
    ) -> Batch:
        """Asks many, within so many pico-dollars altogether, of which some are ``spent``."""
        from llmfail.engine.bulk.batch import Batch
        from llmfail.engine.bulk.batch_budget import Purse

        purse = None if max_cost is None else Purse(max_cost, spent, self._engine.plan)
        return Batch(self._engine.ask, write, limits, self._ports, purse)

    async def embed(self, *texts: str, **options: Unpack[Options]) -> Receipt:
        """As ``Client.embed``."""
        return shared.checked(await self._engine.embed(texts_of(texts, options)))

    async def status(self) -> Status:
        """As ``Client.status``."""
        return await shared.operator(self.settings, self._ports).status(self._store, holdings(self._opened))

    async def stats(self) -> dict[str, Any]:
        """As ``Client.stats``."""
        routing: dict[str, Any] = (await self.status()).to_json()["routing"]
        return routing

    async def reset(self, name: str | None = None) -> tuple[str, ...]:
        """As ``Client.reset``."""
        return shared.recorded(await shared.operator(self.settings, self._ports).reset(name), self._store)

    async def trip(self, name: str, seconds: float | None = None) -> tuple[str, ...]:
        """As ``Client.trip``."""
        return shared.recorded(
            await shared.operator(self.settings, self._ports).trip(name, seconds), self._store
        )

    async def usage(self, by: By = "feature", days: Days | None = None) -> Report:
        """As ``Client.usage``."""
        return await shared.usage(self.settings, self._ports, by, days)

    async def recorded(self, days: Days | None = None) -> list[Entry]:
        """As ``Client.recorded``."""
        return await shared.recorded_usage(self.settings, self._ports, days)
