"""Which budgets cover a call, and where their records are kept: from the settings and the calendar."""

from __future__ import annotations

from decimal import Decimal

from llmfail.core.admission.budget import Cover
from llmfail.core.model import Target
from llmfail.core.receipt import PICO
from llmfail.engine.planning.budget_period import period_of, zone_of
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.types import Budget

NOBODY = ""
"""The user of an ask that names none: they all share one budget."""


def covers_of(
    settings: Settings, feature: str, user: str | None, target: Target, moment: float
) -> tuple[Cover, ...]:
    """The budgets of a call at that moment."""
    if not settings.budgets:
        return ()
    buckets = {
        "user": user or NOBODY,
        "feature": feature,
        "provider": target.provider,
        "target": str(target),
    }
    return tuple(
        cover_of(settings, budget, "" if budget.each is None else buckets[budget.each], moment)
        for budget in settings.budgets
    )


def cover_of(settings: Settings, budget: Budget, bucket: str, moment: float) -> Cover:
    """One budget, or the share of one bucket of it, in the period of that moment."""
    period = period_of(budget.per, moment, zone_of(budget.timezone or settings.timezone))
    limit = _pico(budget.limit)
    return Cover(
        name=budget.name,
        key=_key(budget, period.name, bucket),
        limit=limit,
        before=None if period.before is None else _key(budget, period.before, bucket),
        alert_at=_share(limit, budget.alert_at),
        downgrade_at=_share(limit, budget.downgrade_at),
        ends_at=period.ends_at,
        each=budget.each,
        bucket=bucket,
        roll="" if budget.each is None else f"budget/{budget.name}/{period.name}#",
    )


def _key(budget: Budget, period: str, bucket: str) -> str:
    share = "" if budget.each is None else f"/{bucket}"
    return f"budget/{budget.name}/{period}{share}"


def _pico(usd: Decimal) -> int:
    return int(usd * PICO)


def _share(limit: int, share: float | None) -> int | None:
    return None if share is None else int(Decimal(str(share)) * limit)
