"""How every budget stands: for those who look, not for those who ask."""

from __future__ import annotations

from llmfail.core.admission.budget_holds import load_spending
from llmfail.core.records import name_list
from llmfail.core.reports.status import BudgetStatus
from llmfail.engine.planning.budget_scope import NO_NAME, budget_scope_of
from llmfail.engine.ports.protocols import AsyncStore
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Budget

MAX_BUCKETS = 10_000
"""How many users, features, providers or targets of one budget are looked at, the first of the period."""


async def load_budget_statuses(
    settings: Settings, store: AsyncStore, moment: float
) -> tuple[BudgetStatus, ...]:
    """Every budget in the period of that moment, in the order of the configuration; one that is kept for each
    of something as its buckets, the most taken first.
    """
    found: list[BudgetStatus] = []
    for budget in settings.budgets:
        covers = [
            budget_scope_of(settings, budget, bucket, moment)
            for bucket in await _list_buckets(settings, budget, store, moment)
        ]
        values, now = await store.read([key for cover in covers for key in cover.keys])
        standings = [BudgetStatus(cover, load_spending(cover, values, now)) for cover in covers]
        found += sorted(standings, key=lambda one: one.fraction, reverse=True)
    return tuple(found)


async def _list_buckets(
    settings: Settings, budget: Budget, store: AsyncStore, moment: float
) -> tuple[str, ...]:
    """Those that have had a call in this period."""
    listed = budget_scope_of(settings, budget, NO_NAME, moment).bucket_index_key
    if not listed:
        return (NO_NAME,)
    values, _ = await store.read([listed])
    lines = name_list.row_keys(listed, values)[:MAX_BUCKETS]
    values, _ = await store.read(lines)
    return tuple(name for name in (name_list.read_name(values[line]) for line in lines) if name is not None)
