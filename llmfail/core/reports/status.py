"""The state of everything as ``status`` shows it: computed from values, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from llmfail.core.admission.breaker import CircuitState
from llmfail.core.admission.budget import BudgetScope, Spending, share_of_limit
from llmfail.core.admission.gate import GateView
from llmfail.core.model import Target
from llmfail.core.receipt import format_time, format_usd
from llmfail.core.records.counters import (
    Alert,
    AskCounters,
    CallCounters,
    percentile,
    rate,
)

Health = Literal["healthy", "degraded", "unhealthy"]


class TargetStatus(Struct, frozen=True):
    """One target over the last 24 hours. ``missing_key`` says what to do when it has none."""

    target: Target
    gate_view: GateView
    failure_threshold: int
    counters: CallCounters
    spent_today: int | None
    missing_key: str | None

    @property
    def state(self) -> str:
        return "disabled" if self.missing_key else self.gate_view.state

    @property
    def last_error(self) -> str | None:
        if self.missing_key:
            return f"no key: {self.missing_key}"
        if self.gate_view.state == "disabled" and self.gate_view.refusal:
            return self.gate_view.refusal.note
        return self.counters.last_error

    @property
    def is_usable(self) -> bool:
        return not self.missing_key and self.gate_view.refusal is None

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "failures": self.gate_view.failures,
            "failure_threshold": self.failure_threshold,
            "fallback_count": self.counters.fallbacks,
            "retry_at": format_time(self.gate_view.retry_at),
            "last_error": self.last_error,
            "requests": self.counters.calls,
            "success_rate": rate(self.counters.ok, self.counters.calls) if self.counters.calls else None,
            "latency_p50_ms": percentile(self.counters.latencies, 0.5),
            "latency_p95_ms": percentile(self.counters.latencies, 0.95),
            "spent_today_usd": format_usd(self.spent_today),
        }


class BudgetStatus(Struct, frozen=True):
    """One budget, or one bucket of it, in the period of now."""

    scope: BudgetScope
    spending: Spending

    @property
    def fraction(self) -> float:
        """The share that is spent and held."""
        return share_of_limit(self.spending.spent_and_held, self.scope.limit)

    @property
    def is_alarming(self) -> bool:
        """A budget of nothing is there to let only free calls through, and does so quietly."""
        alert_at, limit = self.scope.alert_at, self.scope.limit
        return 0 < self.spending.spent >= (limit if alert_at is None else min(alert_at, limit))

    def to_json(self) -> dict[str, Any]:
        cover, spending = self.scope, self.spending
        shown = {
            "name": cover.name,
            "limit_usd": format_usd(cover.limit),
            "spent_usd": format_usd(spending.spent),
            "held_usd": format_usd(spending.held),
            "fraction": round(self.fraction, 4),
            "resets_at": format_time(cover.ends_at),
            "unsettled_calls": spending.unsettled.calls,
            "unsettled_usd": format_usd(spending.unsettled.amount),
        }
        return shown if cover.each is None else {**shown, "each": cover.each, "key": cover.bucket}


class StorageCounts(Struct, frozen=True):
    """What is kept besides the state: stored answers, their bytes, and requests for later."""

    entries: int = 0
    bytes: int = 0
    pending: int = 0


class Status(Struct, frozen=True):
    health: Health
    targets: tuple[TargetStatus, ...]
    counters: AskCounters
    alerts: tuple[Alert, ...]
    unanswerable: tuple[str, ...]
    """Features that no model can answer now."""
    store: str
    readable: bool = True
    budgets: tuple[BudgetStatus, ...] = ()
    prices_as_of: str | None = None
    storage: StorageCounts = StorageCounts()

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.health,
            "providers": {str(one.target): one.to_json() for one in self.targets},
            "routing": _counters_to_json(self.counters),
            "budgets": [budget.to_json() for budget in self.budgets],
            "alerts": [_alert_to_json(alert) for alert in self.alerts],
            "cache": self.cache,
            "queue": {"pending": self.storage.pending},
            "prices_as_of": self.prices_as_of,
            "store": self.store,
        }

    @property
    def cache(self) -> dict[str, int]:
        return {
            "entries": self.storage.entries,
            "hits": self.counters.hits,
            "misses": self.counters.misses,
            "bytes": self.storage.bytes,
        }


def find_budget_alerts(budgets: Sequence[BudgetStatus]) -> tuple[Alert, ...]:
    """A warning from the share that is set; critical when nothing is left."""
    return tuple(_make_budget_alert(one) for one in budgets if one.is_alarming)


def _make_budget_alert(budget: BudgetStatus) -> Alert:
    cover, spent = budget.scope, budget.spending.spent
    value = round(share_of_limit(spent, cover.limit), 4)
    return Alert(
        name=f"budget {cover.label}",
        level="critical" if spent >= cover.limit else "warning",
        value=value,
        threshold=round(
            share_of_limit(cover.limit if cover.alert_at is None else cover.alert_at, cover.limit), 4
        ),
        message=f"budget {cover.label}: ${format_usd(spent)} of ${format_usd(cover.limit)} are spent "
        f"({value:.0%})",
    )


def find_unanswerable(
    targets: Sequence[TargetStatus], features: Mapping[str, Sequence[Target]]
) -> tuple[str, ...]:
    """The features that no model can answer now; ``features`` names the chain of each."""
    usable = {one.target for one in targets if one.is_usable}
    return tuple(name for name, chain in features.items() if not usable & set(chain))


def health_of(
    targets: Sequence[TargetStatus], alerts: Sequence[Alert], unanswerable: Sequence[str], *, readable: bool
) -> Health:
    """A provider without a key was never meant to answer, so it makes nothing degraded; a feature that has
    nobody else is unhealthy all the same. A state that is not ``readable`` cannot be called healthy.
    """
    if unanswerable:
        return "unhealthy"
    closed = all(one.state == CircuitState.CLOSED for one in targets if not one.missing_key)
    critical = any(alert.level == "critical" for alert in alerts)
    return "healthy" if closed and readable and not critical else "degraded"


def _counters_to_json(counters: AskCounters) -> dict[str, Any]:
    asks = counters.asks
    return {
        "total_requests": asks,
        "fallback_rate": rate(counters.fallbacks, asks),
        "degraded_rate": rate(counters.degraded, asks),
        "error_rate": rate(counters.errors, asks),
        "avg_latency_ms": round(counters.latency_ms / asks) if asks else None,
        "p95_latency_ms": percentile(counters.latencies, 0.95),
        "circuit_open_rate": rate(counters.met_open, asks),
    }


def _alert_to_json(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "level": alert.level,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
    }
