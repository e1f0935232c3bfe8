"""The client of the command line's bulk runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from llmfail.client.aio import AsyncClient
from llmfail.core.receipt import Receipt
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.bulk.batch_budget import BatchBudget

WriteReceipts = Callable[[Sequence[Receipt]], Awaitable[None]]
"""Takes some receipts at a time, and returns when they are safe."""


class AsyncReceiptClient(AsyncClient):
    """Runs batches of Asks, whose receipts somebody writes."""

    def begin_batch(
        self, write: WriteReceipts, limits: BatchLimits, *, max_cost: int | None = None, spent: int = 0
    ) -> Batch:
        """Asks many, within so many pico-dollars altogether, of which some are ``spent``."""
        budget = None if max_cost is None else BatchBudget(max_cost, spent, self._engine.plan)
        return Batch(self._engine.ask, write, limits, self._ports, budget)

    def begin_embed_batch(self, write: WriteReceipts, limits: BatchLimits) -> Batch:
        """Embeds the texts of many asks."""
        return Batch(self._engine.embed, write, limits, self._ports)
