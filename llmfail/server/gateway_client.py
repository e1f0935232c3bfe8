"""The client of a gateway: what it does besides answering, on the same store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llmfail.core.admission.program_limit import LimitReached, admit_request, charge_tokens
from llmfail.core.admission.rate_limit import RateLimit
from llmfail.core.receipt import Receipt
from llmfail.core.records.record import StoreChange
from llmfail.core.request.ask import Ask
from llmfail.engine.bulk.text_list import embed_texts
from llmfail.engine.ports.protocols import AsyncStore
from llmfail.engine.ports.store_access import write
from llmfail.watch.watch_client import WatchClient


class GatewayClient(WatchClient):
    """Answers, judges alerts, and counts what keys use."""

    @property
    def store(self) -> AsyncStore:
        """The state, for what keeps something beside the asks."""
        return self._ports.store

    async def admit_program(self, limits: Sequence[RateLimit]) -> LimitReached | None:
        """None when a request may go on; exact over all processes."""
        if not limits:
            return None
        return await self.store.update([one.key for one in limits], partial(admit_request, limits))

    async def embed_ask(self, ask: Ask) -> Receipt:
        """A failure is in the receipt. Raises UsageError."""
        return await embed_texts(self._engine, ask)

    async def count_tokens(self, ask: Ask) -> int:
        """How many tokens its request is on the first target of its chain. Raises UsageError."""
        return await self._engine.count_tokens(ask)

    async def charge_program(self, limits: Sequence[RateLimit], tokens: int) -> None:
        counted = [one for one in limits if one.unit == "tokens"]
        if counted and tokens:
            change = partial(charge_tokens, counted, tokens)
            await write(self.store, StoreChange([one.key for one in counted], change))
