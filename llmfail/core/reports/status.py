"""The state of everything as ``status`` shows it: computed from values, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal

from msgspec import Struct, field

from llmfail.core.admission.budget import BudgetScope, Spending, share_of_limit
from llmfail.core.admission.budget_unit import format_amount
from llmfail.core.admission.circuit import CircuitState
from llmfail.core.admission.gate import GateView
from llmfail.core.admission.refusal import OpenReason
from llmfail.core.model import Target
from llmfail.core.receipt import format_time, format_usd
from llmfail.core.records.counters import (
    AskCounters,
    CallCounters,
    percentile,
    rate,
)
from llmfail.core.reports.alert import Alert
from llmfail.core.reports.store_places import StorePlaces
from llmfail.core.reports.store_server import StoreServer
from llmfail.core.store_url import LOCAL_STORES

Health = Literal["healthy", "degraded", "unhealthy"]
CONFIGURED_OF_BUDGETS = frozenset({"name", "unit", "limit", "limit_usd", "resets_at", "each", "key"})
NEARLY_SPENT = 0.8
"""From this share of its limit on a budget without ``alert_at`` that refuses calls counts as spent."""


class TargetStatus(Struct, frozen=True):
    """One target over the last 24 hours. ``missing_key`` tells how to set a missing key."""

    target: Target
    gate_view: GateView
    failure_threshold: int
    counters: CallCounters
    spent_today: int | None
    missing_key: str | None

    @property
    def state(self) -> str:
        """What an operator has done is told of targets without a key as well."""
        if self.gate_view.state == CircuitState.FORCED_OPEN:
            return CircuitState.FORCED_OPEN
        return "disabled" if self.missing_key else self.gate_view.state

    @property
    def open_reason(self) -> OpenReason | None:
        """Why it is open: because of failures, or of a pause."""
        return self.gate_view.open_reason if self.state == CircuitState.OPEN else None

    @property
    def shown_state(self) -> str:
        """The state as people read it, which tells a pause from an opening by failures."""
        return "paused" if self.open_reason is OpenReason.PAUSE else self.state

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

    @property
    def is_on_trial(self) -> bool:
        """Whether its next calls tell if it answers again."""
        return self.state == CircuitState.HALF_OPEN

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "reason": self.open_reason,
            "share": round(self.gate_view.share, 4),
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
    """One budget, or one bucket of it, in the current period."""

    scope: BudgetScope
    spending: Spending

    @property
    def fraction(self) -> float:
        """The share that is spent and held."""
        return share_of_limit(self.spending.spent_and_held, self.scope.limit)

    @property
    def is_refusing(self) -> bool:
        """A budget of 0 lets only free calls through, which is no cause for an alert."""
        return self.scope.limit > 0 and self.spending.refuses(self.scope.limit)

    @property
    def alert_at(self) -> int:
        """From what on an alert is raised: its limit, where nothing is configured."""
        alert_at, limit = self.scope.alert_at, self.scope.limit
        return limit if alert_at is None else min(alert_at, limit)

    @property
    def is_alarming(self) -> bool:
        return 0 < self.spending.spent >= self.alert_at or self.is_refusing

    @property
    def is_spent(self) -> bool:
        """Nothing is left, or too little for calls that come, and its warning is due as well."""
        near = self.scope.limit * NEARLY_SPENT if self.scope.alert_at is None else self.alert_at
        return self.spending.spent >= self.scope.limit or (self.is_refusing and self.spending.spent >= near)

    def to_json(self) -> dict[str, Any]:
        scope, spending = self.scope, self.spending
        mark = "_usd" if scope.unit == "usd" else ""
        amounts = {
            "limit": scope.limit,
            "spent": spending.spent,
            "held": spending.held,
            "unsettled": spending.unsettled.amount,
        }
        shown = {
            "name": scope.name,
            "unit": scope.unit,
            **{f"{name}{mark}": format_usd(one) if mark else one for name, one in amounts.items()},
            "fraction": round(self.fraction, 4),
            "resets_at": format_time(scope.ends_at),
            "unsettled_calls": spending.unsettled.calls,
            "refusing": self.is_refusing,
        }
        return shown if scope.each is None else {**shown, "each": scope.each, "key": scope.bucket}


class StorageCounts(Struct, frozen=True):
    """Stored answers, their bytes, and queued requests; None for what cannot be read, or is not counted on a
    server. ``server`` has the state of many hosts.
    """

    entries: int | None = 0
    bytes: int | None = 0
    pending: int | None = 0
    server: StoreServer | None = None
    places: StorePlaces = StorePlaces()

    @property
    def unknown_answers(self) -> str:
        """Why the number of stored answers is not known."""
        if self.places.answers in LOCAL_STORES:
            return "the stored answers cannot be read"
        return f"stored answers are on {self.places.answers} and not counted"


class Status(Struct, frozen=True):
    health: Health
    targets: tuple[TargetStatus, ...]
    counters: AskCounters
    alerts: tuple[Alert, ...]
    unanswerable: tuple[str, ...]
    """Features that no model can answer now."""
    store: str
    undecided: tuple[str, ...] = ()
    """Features of which only targets on trial may answer."""
    readable: bool = True
    forced_open: Mapping[str, float | None] = field(default_factory=dict)
    """Providers without any known target that an operator has forced open: until when, or None."""
    budgets: tuple[BudgetStatus, ...] = ()
    prices_as_of: str | None = None
    storage: StorageCounts = StorageCounts()

    @property
    def store_name(self) -> str:
        """With its server, where it has one."""
        server = self.storage.server
        return (
            self.store
            if server is None
            else f"{self.store} {server.address} ({server.role or 'no role told'})"
        )

    def to_json(self) -> dict[str, Any]:
        """What cannot be read is null, not nothing."""
        return self._read_json() if self.readable else _leave_out_figures(self._read_json())

    def _read_json(self) -> dict[str, Any]:
        return {
            "status": self.health,
            "providers": {str(target.target): target.to_json() for target in self.targets},
            "routing": _counters_to_json(self.counters),
            "budgets": [budget.to_json() for budget in self.budgets],
            "alerts": [_alert_to_json(alert) for alert in self.alerts],
            "cache": self.cache,
            "queue": {"pending": self.storage.pending},
            "prices_as_of": self.prices_as_of,
            "store": self.store,
            "stores": self.storage.places.to_json(),
            **({} if self.storage.server is None else {"store_server": self.storage.server.to_json()}),
        }

    @property
    def cache(self) -> dict[str, int | None]:
        return {
            "entries": self.storage.entries,
            "hits": self.counters.hits,
            "misses": self.counters.misses,
            "bytes": self.storage.bytes,
        }


def find_budget_alerts(budgets: Sequence[BudgetStatus]) -> tuple[Alert, ...]:
    """A warning from the configured share on, or once a call was refused; critical when all is spent."""
    return tuple(_make_budget_alert(budget) for budget in budgets if budget.is_alarming)


def _make_budget_alert(budget: BudgetStatus) -> Alert:
    scope, spent = budget.scope, budget.spending.spent
    value = round(share_of_limit(spent, scope.limit), 4)
    amounts = f"{format_amount(scope.unit, spent)} of {format_amount(scope.unit, scope.limit)}"
    refusing = ", and calls are refused" if budget.is_refusing else ""
    return Alert(
        name=f"budget {scope.label}",
        level="critical" if budget.is_spent else "warning",
        value=value,
        threshold=round(share_of_limit(budget.alert_at, scope.limit), 4),
        message=f"budget {scope.label}: {amounts} are spent ({value:.0%}){refusing}",
    )


def _leave_out_figures(shown: dict[str, Any]) -> dict[str, Any]:
    """Of a state that cannot be read: what the configuration says of it is known all the same."""

    def keep(figures: Mapping[str, Any], known: AbstractSet[str]) -> dict[str, Any]:
        return {name: value if name in known else None for name, value in figures.items()}

    return {
        **shown,
        "providers": {
            name: keep(figures, {"failure_threshold"}) for name, figures in shown["providers"].items()
        },
        "routing": keep(shown["routing"], frozenset()),
        "budgets": [keep(budget, CONFIGURED_OF_BUDGETS) for budget in shown["budgets"]],
        "cache": keep(shown["cache"], {"entries", "bytes"}),
    }


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
        "without_credential": counters.without_credential,
        "over_budget": counters.over_budget,
        "requests_at_fault": counters.requests_at_fault,
    }


def _alert_to_json(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "level": alert.level,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
    }
