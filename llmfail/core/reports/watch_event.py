"""What a service that uses llmfail is told while it works: a handful of frozen events. They are made of what
stands in the trail of an ask and in its settlement, so they say nothing that receipt and store do not.

``id`` is that of the ask, ``at`` a moment in epoch seconds; targets are written ``provider/model``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict

from llmfail.core.admission.budget_unit import BudgetUnit
from llmfail.core.receipt import format_time

BudgetMark = Literal["alert", "downgrade", "limit", "refused"]
AlertLevel = Literal["warning", "critical"]
Severity = Literal["debug", "info", "warning", "error"]


class AskBegun(Struct, frozen=True):
    """What traces are told first; no event. ``traceparent`` names the span that it belongs to."""

    id: str
    feature: str
    operation: Literal["chat", "embeddings"]
    max_tokens: int
    stream: bool = False
    session: str | None = None
    traceparent: str | None = None


class AttemptEnded(Struct, frozen=True):
    """One call has ended; ``outcome`` is ``ok`` or why it failed."""

    at: float
    id: str
    feature: str
    target: str
    outcome: str
    status: int | None = None
    latency_ms: int | None = None
    cost_usd: Decimal | None = None
    request_id: str | None = None
    note: str = ""


class TargetSkipped(Struct, frozen=True):
    """A target was not called; ``reason`` is that of the trail."""

    at: float
    id: str
    feature: str
    target: str
    reason: str
    note: str = ""


class FellBack(Struct, frozen=True):
    """``target`` has answered instead of ``primary``, whose call or skip ended in ``outcome``."""

    at: float
    id: str
    feature: str
    target: str
    primary: str
    outcome: str
    tier: int


class Degraded(Struct, frozen=True):
    """No target has answered the request as it was; ``source`` has."""

    at: float
    id: str
    feature: str
    source: str


class CircuitChanged(Struct, frozen=True):
    """Told once in the whole fleet, by the process whose update made the change. ``target`` may be a whole
    provider that an operator forces open. ``until``: when an open one may be tried again.
    """

    at: float
    id: str
    target: str
    old: str
    new: str
    why: str
    until: float | None = None


class CredentialDisabled(Struct, frozen=True):
    """Calls with one credential are held back, for ``target`` alone or (``scope`` is ``credential``) for
    every model. ``until``: when one may go again; None: when the key changes, or after a reset.
    """

    at: float
    id: str
    target: str
    scope: Literal["credential", "target"]
    why: str
    until: float | None = None


class BudgetCrossed(Struct, frozen=True):
    """What was spent of a budget has come to a mark (``alert_at``, ``downgrade_at`` or its limit), or it has
    refused a call for the first time in its period. Amounts are in its ``unit``.
    """

    at: float
    id: str
    budget: str
    mark: BudgetMark
    unit: BudgetUnit
    spent: Decimal | int
    limit: Decimal | int


class AlertRaised(Struct, frozen=True):
    """Told once, by one process of the fleet."""

    at: float
    id: str
    alert: str
    level: AlertLevel
    value: float
    threshold: float
    message: str


class AlertResolved(Struct, frozen=True):
    """The same when it is over."""

    at: float
    id: str
    alert: str
    level: AlertLevel
    value: float
    threshold: float
    message: str


WatchEvent = (
    AttemptEnded
    | TargetSkipped
    | FellBack
    | Degraded
    | CircuitChanged
    | CredentialDisabled
    | BudgetCrossed
    | AlertRaised
    | AlertResolved
)
OnEvent = Callable[[WatchEvent], None]
"""A listener."""


def event_to_json(event: WatchEvent) -> dict[str, Any]:
    """The fields of the event, behind its name in snake case."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    shown = {field: _to_json(field, value) for field, value in asdict(event).items()}
    return {"event": name, **{field: value for field, value in shown.items() if value != ""}}


def severity_of(event: WatchEvent) -> Severity:
    """How loud a log says it."""
    match event:
        case AttemptEnded(outcome="ok"):
            return "debug"
        case AttemptEnded() | TargetSkipped() | AlertResolved() | CircuitChanged(new="closed"):
            return "info"
        case CredentialDisabled() | AlertRaised(level="critical") | BudgetCrossed(mark="limit" | "refused"):
            return "error"
        case _:
            return "warning"


def describe_event(event: WatchEvent) -> str:  # noqa: PLR0911 - a line an event
    """One line for people."""
    match event:
        case AttemptEnded():
            took = "" if event.latency_ms is None else f" in {event.latency_ms} ms"
            status = "" if event.status is None else f" {event.status}"
            return f"{event.target}: {event.outcome}{status}{took}{_behind(event.note)}"
        case TargetSkipped():
            return f"{event.target}: skipped, {event.reason}{_behind(event.note)}"
        case FellBack():
            return f"{event.target} answered instead of {event.primary} ({event.outcome})"
        case Degraded():
            return f"{event.feature}: no target answered, {event.source} did"
        case CircuitChanged():
            until = "" if event.until is None else f" until {format_time(event.until)}"
            return f"{event.target}: circuit {event.old} -> {event.new}{until}: {event.why}"
        case CredentialDisabled():
            whose = "its credential" if event.scope == "credential" else "its credential for this model"
            return f"{event.target}: {whose} is disabled: {event.why}"
        case BudgetCrossed():
            amounts = f"{_format_amount(event.spent)} of {_format_amount(event.limit)} {event.unit}"
            return f"budget {event.budget}: {amounts} are spent ({event.mark})"
        case AlertRaised():
            return f"alert {event.alert} ({event.level}): {event.message}"
        case AlertResolved():
            return f"alert {event.alert} is over: {event.message}"


def _format_amount(amount: Decimal | int) -> str:
    return f"{amount:f}" if isinstance(amount, Decimal) else f"{amount:,}"


def _behind(note: str) -> str:
    return f": {note}" if note else ""


def _to_json(field: str, value: object) -> object:
    if field in {"at", "until"} and isinstance(value, float | int):
        return format_time(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value
