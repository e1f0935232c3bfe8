"""The money of a whole batch: what is spent and what is held for asks under way never exceed its limit.

An ask takes what its whole chain may cost at worst, or what is left. While that is not even enough for its
dearest call, it waits for those that hold money; when nobody does, it gets what is left, and the engine
decides by it, as by any ``max_cost``: there may be a cheaper target. Assumes that one ask at a time comes for
money. Amounts are in pico-dollars.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from llmfail.core.errors import UsageError
from llmfail.core.receipt import SkipReason
from llmfail.core.request.ask import Ask
from llmfail.core.routing.plan import Plan

NEVER_CALLED = frozenset(
    {
        SkipReason.NO_KEY,
        SkipReason.DISABLED,
        SkipReason.FORCED_OPEN,
        SkipReason.TOO_SMALL,
        SkipReason.UNKNOWN_PRICE,
    }
)
"""Why a target will not be called a moment later either."""


class WorstCase(Struct, frozen=True):
    """What the dearest call of an ask may cost, and what one call of each target."""

    dearest_call: int
    whole_chain: int


class BatchBudget:
    """``plan`` tells what an ask would do. Raises UsageError for one that is not configured."""

    def __init__(self, limit: int, spent: int, plan: Callable[[Ask], Awaitable[Plan]]) -> None:
        self._limit = limit
        self._plan = plan
        self._changed = asyncio.Event()
        self.spent = spent
        self.reserved = 0

    @property
    def left(self) -> int:
        return max(self._limit - self.spent - self.reserved, 0)

    async def reserve(self, ask: Ask) -> Ask:
        """The ask with the money that it may spend, which ``settle`` gives back."""
        try:
            worst = worst_case_of(await self._plan(ask))
        except UsageError:
            worst = WorstCase(0, 0)
        while self.reserved and self.left < worst.dearest_call:
            self._changed.clear()
            await self._changed.wait()
        amount = min(self.left, worst.whole_chain)
        if ask.max_cost is not None:
            amount = min(amount, ask.max_cost)
        self.reserved += amount
        return replace(ask, max_cost=amount)

    def settle(self, ask: Ask, paid: int) -> None:
        """``paid``: at most, where nobody knows."""
        self.reserved -= ask.max_cost or 0
        self.spent += paid
        self._changed.set()


def worst_case_of(preview: Plan) -> WorstCase:
    """Of the targets that may be called soon. What has no price costs nothing: with a limit it is refused."""
    costs = [step.max_cost or 0 for step in preview.steps if step.reason not in NEVER_CALLED]
    return WorstCase(max(costs, default=0), sum(costs))
