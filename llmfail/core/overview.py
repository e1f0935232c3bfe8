"""The state of everything as ``status`` shows it: computed from values, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from llmfail.core.breaker import State
from llmfail.core.gate import Look
from llmfail.core.model import Target
from llmfail.core.receipt import iso, usd
from llmfail.core.stats import Alert, Routing, Tally, percentile, rate

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


class Status(Struct, frozen=True):
    health: Health
    targets: tuple[TargetStatus, ...]
    routing: Routing
    alerts: tuple[Alert, ...]
    without_target: tuple[str, ...]
    """Features that no model can answer now."""
    store: str

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.health,
            "providers": {str(one.target): one.to_json() for one in self.targets},
            "routing": _routing(self.routing),
            "budgets": [],
            "alerts": [_alert(alert) for alert in self.alerts],
            "cache": {"entries": 0, "hits": 0, "misses": 0, "bytes": 0},
            "queue": {"pending": 0},
            "prices_as_of": None,
            "store": self.store,
        }


def status_of(
    targets: Sequence[TargetStatus],
    features: Mapping[str, Sequence[Target]],
    routing: Routing,
    alerts: tuple[Alert, ...],
    store: str,
    *,
    readable: bool,
) -> Status:
    """``features`` names the chain of each. A provider without a key was never meant to answer, so it makes
    nothing degraded; a feature that has nobody else is unhealthy all the same. A state that is not
    ``readable`` cannot be called healthy.
    """
    usable = {one.target for one in targets if one.usable}
    without = tuple(name for name, chain in features.items() if not usable & set(chain))
    return Status(
        _health(targets, alerts, without, readable=readable), tuple(targets), routing, alerts, without, store
    )


def _health(
    targets: Sequence[TargetStatus], alerts: Sequence[Alert], without: Sequence[str], *, readable: bool
) -> Health:
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
