"""The state of everything as ``status`` shows it: computed from values, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from llmfail.core.admission.breaker import State
from llmfail.core.admission.budget import Cover, Spending, fraction
from llmfail.core.admission.gate import Look
from llmfail.core.model import Target
from llmfail.core.receipt import iso, usd
from llmfail.core.records.counters import (
    Alert,
    Routing,
    Tally,
    percentile,
    rate,
)

Health = Literal["healthy", "degraded", "unhealthy"]


class TargetStatus(Struct, frozen=True):
    """One target over the last 24 hours. ``missing_key`` says what to do when it has none."""

    target: Target
    look: Look
    failure_threshold: int
    tally: Tally
    spent_today: int | None
    missing_key: str | None

    @property
    def state(self) -> str:
        return "disabled" if self.missing_key else self.look.state

    @property
    def last_error(self) -> str | None:
        if self.missing_key:
            return f"no key: {self.missing_key}"
        if self.look.state == "disabled" and self.look.refusal:
            return self.look.refusal.note
        return self.tally.last_error

    @property
    def usable(self) -> bool:
        return not self.missing_key and self.look.refusal is None

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "failures": self.look.failures,
            "failure_threshold": self.failure_threshold,
            "fallback_count": self.tally.fallbacks,
            "retry_at": iso(self.look.retry_at),
            "last_error": self.last_error,
            "requests": self.tally.calls,
            "success_rate": rate(self.tally.ok, self.tally.calls) if self.tally.calls else None,
            "latency_p50_ms": percentile(self.tally.latencies, 0.5),
            "latency_p95_ms": percentile(self.tally.latencies, 0.95),
            "spent_today_usd": usd(self.spent_today),
        }


class BudgetStatus(Struct, frozen=True):
    """One budget, or one bucket of it, in the period of now."""

    cover: Cover
    spending: Spending

    @property
    def fraction(self) -> float:
        """The share that is spent and held."""
        return fraction(self.spending.taken, self.cover.limit)

    @property
    def is_alarming(self) -> bool:
        """A budget of nothing is there to let only free calls through, and does so quietly."""
        alert_at, limit = self.cover.alert_at, self.cover.limit
        return 0 < self.spending.spent >= (limit if alert_at is None else min(alert_at, limit))

    def to_json(self) -> dict[str, Any]:
        cover, spending = self.cover, self.spending
        shown = {
            "name": cover.name,
            "limit_usd": usd(cover.limit),
            "spent_usd": usd(spending.spent),
            "held_usd": usd(spending.held),
            "fraction": round(self.fraction, 4),
            "resets_at": iso(cover.ends_at),
            "unsettled_calls": spending.unsettled.calls,
            "unsettled_usd": usd(spending.unsettled.amount),
        }
        return shown if cover.each is None else {**shown, "each": cover.each, "key": cover.bucket}


class Holdings(Struct, frozen=True):
    """What is kept besides the state: stored answers, their bytes, and requests for later."""

    entries: int = 0
    bytes: int = 0
    pending: int = 0


class Status(Struct, frozen=True):
    health: Health
    targets: tuple[TargetStatus, ...]
    routing: Routing
    alerts: tuple[Alert, ...]
    without_target: tuple[str, ...]
    """Features that no model can answer now."""
    store: str
    readable: bool = True
    budgets: tuple[BudgetStatus, ...] = ()
    prices_as_of: str | None = None
    holdings: Holdings = Holdings()

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.health,
            "providers": {str(one.target): one.to_json() for one in self.targets},
            "routing": _routing(self.routing),
            "budgets": [budget.to_json() for budget in self.budgets],
            "alerts": [_alert(alert) for alert in self.alerts],
            "cache": self.cache,
            "queue": {"pending": self.holdings.pending},
            "prices_as_of": self.prices_as_of,
            "store": self.store,
        }

    @property
    def cache(self) -> dict[str, int]:
        return {
            "entries": self.holdings.entries,
            "hits": self.routing.hits,
            "misses": self.routing.misses,
            "bytes": self.holdings.bytes,
        }


def budget_alerts(budgets: Sequence[BudgetStatus]) -> tuple[Alert, ...]:
    """A warning from the share that is set; critical when nothing is left."""
    return tuple(_budget_alert(one) for one in budgets if one.is_alarming)


def _budget_alert(one: BudgetStatus) -> Alert:
    cover, spent = one.cover, one.spending.spent
    value = round(fraction(spent, cover.limit), 4)
    return Alert(
        name=f"budget {cover.label}",
        level="critical" if spent >= cover.limit else "warning",
        value=value,
        threshold=round(fraction(cover.limit if cover.alert_at is None else cover.alert_at, cover.limit), 4),
        message=f"budget {cover.label}: ${usd(spent)} of ${usd(cover.limit)} are spent ({value:.0%})",
    )


def unanswerable(
    targets: Sequence[TargetStatus], features: Mapping[str, Sequence[Target]]
) -> tuple[str, ...]:
    """The features that no model can answer now; ``features`` names the chain of each."""
    usable = {one.target for one in targets if one.usable}
    return tuple(name for name, chain in features.items() if not usable & set(chain))


def health_of(
    targets: Sequence[TargetStatus], alerts: Sequence[Alert], without: Sequence[str], *, readable: bool
) -> Health:
    """A provider without a key was never meant to answer, so it makes nothing degraded; a feature that has
    nobody else is unhealthy all the same. A state that is not ``readable`` cannot be called healthy.
    """
    if without:
        return "unhealthy"
    closed = all(one.state == State.CLOSED for one in targets if not one.missing_key)
    critical = any(alert.level == "critical" for alert in alerts)
    return "healthy" if closed and readable and not critical else "degraded"


def _routing(routing: Routing) -> dict[str, Any]:
    asks = routing.asks
    return {
        "total_requests": asks,
        "fallback_rate": rate(routing.fallbacks, asks),
        "degraded_rate": rate(routing.degraded, asks),
        "error_rate": rate(routing.errors, asks),
        "avg_latency_ms": round(routing.latency_ms / asks) if asks else None,
        "p95_latency_ms": percentile(routing.latencies, 0.95),
        "circuit_open_rate": rate(routing.met_open, asks),
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "level": alert.level,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
    }
