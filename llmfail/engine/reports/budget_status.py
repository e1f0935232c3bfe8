"""How every budget stands: for those who look, not for those who ask."""

from __future__ import annotations

from llmfail.core.admission.reservation import spending_of
from llmfail.core.records import name_list
from llmfail.core.reports.status import BudgetStatus
from llmfail.engine.planning.budget_scope import NOBODY, cover_of
from llmfail.engine.ports.ports import Keeper
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Budget

MOST_BUCKETS = 10_000
"""How many users, features, providers or targets of one budget are looked at, the first of the period."""


async def standing(settings: Settings, keeper: Keeper, moment: float) -> tuple[BudgetStatus, ...]:
    """Every budget in the period of that moment, in the order of the configuration; one that is kept for each
    of something as its buckets, the most taken first.
    """
    found: list[BudgetStatus] = []
    for budget in settings.budgets:
        covers = [
            cover_of(settings, budget, bucket, moment)
            for bucket in await _buckets(settings, budget, keeper, moment)
        ]
        values, now = await keeper.read([key for cover in covers for key in cover.keys])
        standings = [BudgetStatus(cover, spending_of(cover, values, now)) for cover in covers]
        found += sorted(standings, key=lambda one: one.fraction, reverse=True)
    return tuple(found)


async def _buckets(settings: Settings, budget: Budget, keeper: Keeper, moment: float) -> tuple[str, ...]:
    """Those that have had a call in this period."""
    listed = cover_of(settings, budget, NOBODY, moment).roll
    if not listed:
        return (NOBODY,)
    values, _ = await keeper.read([listed])
    lines = name_list.lines(listed, values)[:MOST_BUCKETS]
    values, _ = await keeper.read(lines)
    return tuple(name for name in (name_list.name(values[line]) for line in lines) if name is not None)
