"""Which budgets cover a call, and where their records are kept: from the settings and the calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from llmfail.core.admission.budget import BudgetScope
from llmfail.core.model import Target
from llmfail.core.receipt import PICO_PER_DOLLAR
from llmfail.core.records.state_keys import bucket_index_key, budget_key
from llmfail.engine.planning.budget_period import period_of, zone_of
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Budget

NO_NAME = ""
"""The user, and the key, of an ask that names none: they all share one budget."""


class Caller(Struct, frozen=True):
    """Who asks, as far as budgets tell callers apart."""

    user: str | None
    key: str | None


def budget_scopes_of(
    settings: Settings, feature: str, caller: Caller, target: Target, moment: float
) -> tuple[BudgetScope, ...]:
    """The budgets of a call at that moment."""
    buckets = {
        "user": caller.user or NO_NAME,
        "key": caller.key or NO_NAME,
        "feature": feature,
        "provider": target.provider,
        "target": str(target),
    }
    return tuple(
        budget_scope_of(settings, budget, "" if budget.each is None else buckets[budget.each], moment)
        for budget in settings.budgets
    )


def budget_scope_of(settings: Settings, budget: Budget, bucket: str, moment: float) -> BudgetScope:
    """One budget, or the share of one bucket of it, in the period of that moment."""
    period = period_of(budget.per, moment, zone_of(budget.timezone or settings.timezone))
    limit = _pico(budget.limit) if budget.unit == "usd" else int(budget.limit)
    return BudgetScope(
        name=budget.name,
        key=_record_key(settings, budget, period.name, bucket),
        limit=limit,
        previous_key=None
        if period.previous is None
        else _record_key(settings, budget, period.previous, bucket),
        alert_at=_share(limit, budget.alert_at),
        downgrade_at=_share(limit, budget.downgrade_at),
        ends_at=period.ends_at,
        each=budget.each,
        bucket=bucket,
        bucket_index_key=""
        if budget.each is None
        else bucket_index_key(_stored_name(budget), period.name, settings.namespace),
        unit=budget.unit,
    )


def find_renamed_periods(settings: Settings, moment: float) -> dict[str, str]:
    """The keys of the running periods of budgets without a time zone as version 0.1 had them, which took that
    of the process, and as they are now, where the two differ.
    """
    local = datetime.fromtimestamp(moment, UTC).astimezone().tzinfo or UTC
    renamed = {}
    for budget in settings.budgets:
        if budget.timezone or settings.timezone or budget.unit != "usd":
            continue
        old, new = (
            budget_key(budget.name, period_of(budget.per, moment, zone).name, None, settings.namespace)
            for zone in (local, UTC)
        )
        if old != new:
            renamed[old] = new
    return renamed


def _record_key(settings: Settings, budget: Budget, period: str, bucket: str) -> str:
    """Configurations that the user has chosen or trusted share a budget by its name."""
    return budget_key(
        _stored_name(budget), period, None if budget.each is None else bucket, settings.namespace
    )


def _stored_name(budget: Budget) -> str:
    """What is counted in dollars is no count of anything else. No name contains this sign."""
    return budget.name if budget.unit == "usd" else f"{budget.name}:{budget.unit}"


def _pico(usd: Decimal) -> int:
    return int(usd * PICO_PER_DOLLAR)


def _share(limit: int, share: float | None) -> int | None:
    return None if share is None else int(Decimal(str(share)) * limit)
