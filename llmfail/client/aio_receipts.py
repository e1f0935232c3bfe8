"""The client of the command line's bulk runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from llmfail.client.aio import AsyncClient
from llmfail.core.receipt import Receipt
from llmfail.core.request.ask import Ask
from llmfail.core.routing.repeat import RepeatRules
from llmfail.engine.bulk.batch import Batch, BatchLimits
from llmfail.engine.bulk.batch_budget import BatchBudget
from llmfail.engine.bulk.run_pauses import RunPause
from llmfail.engine.bulk.text_arrays import TEXTS_OF_A_CALL, TextArrays

WriteReceipts = Callable[[Sequence[Receipt]], Awaitable[None]]
"""Takes some receipts at a time, and returns when they are safe."""


class AsyncReceiptClient(AsyncClient):
    """Runs batches of Asks, whose receipts somebody writes."""

    def begin_batch(
        self,
        write: WriteReceipts,
        limits: BatchLimits,
        *,
        max_cost: int | None = None,
        spent: int = 0,
        on_pause: Callable[[RunPause], None],
        vectors: bool = False,
    ) -> Batch:
        """Asks many, within so many pico-dollars altogether, of which some are ``spent``; ``vectors``: their
        texts are embedded, several in a call, and ``limits.concurrency`` is of calls.
        """
        engine = self._engine
        budget = None if max_cost is None else BatchBudget(max_cost, spent, engine.plan)

        if vectors:
            arrays = TextArrays(engine, limits.concurrency)
            limits = replace(limits, concurrency=limits.concurrency * TEXTS_OF_A_CALL)
            return Batch(arrays.embed, write, limits, self._ports, budget, on_pause)

        async def ask(one: Ask, repeats: RepeatRules) -> Receipt:
            return await engine.ask(one, repeats=repeats)

        return Batch(ask, write, limits, self._ports, budget, on_pause)

    def check(self, ask: Ask, *, vectors: bool = False) -> None:
        """Raises UsageError for what would be wrong with every ask like this one, whatever its text;
        ``vectors``: with every text that is embedded.
        """
        self._engine.check(ask, vectors=vectors)

    def describe_asked(self, ask: Ask, *, vectors: bool = False) -> str:
        """What the receipt of this ask would have as ``request``. Raises UsageError."""
        return self._engine.describe_asked(ask, vectors=vectors)
