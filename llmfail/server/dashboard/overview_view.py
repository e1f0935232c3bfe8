"""What stands at the top of the overview: verdict, alerts, the figures of a day, and the last hour."""

from __future__ import annotations

from msgspec import Struct

from llmfail.core.records.counters import percentile
from llmfail.core.reports.activity import count_minutes
from llmfail.core.reports.figures import count_of, milliseconds, percent, rough_usd
from llmfail.core.reports.status import Status
from llmfail.core.reports.status_text import join_some, name_state
from llmfail.server.dashboard.circuit_view import TONES, Tone
from llmfail.server.dashboard.page_data import PageData


class AlertRow(Struct, frozen=True):
    level: str
    tone: Tone
    message: str


class HealthView(Struct, frozen=True):
    """``not_closed``: targets and their states. ``missing_keys``: how to set one, where no target has any."""

    health: str
    tone: Tone
    not_closed: tuple[str, ...]
    alerts: tuple[AlertRow, ...]
    notes: tuple[str, ...]
    missing_keys: tuple[str, ...]


class FigureView(Struct, frozen=True):
    """One figure with its name and what it is made of."""

    name: str
    value: str
    note: str
    tone: Tone = "off"


class MinuteRow(Struct, frozen=True):
    """``at`` in epoch seconds; the latencies in milliseconds, None where nothing was answered."""

    at: int
    first_choice: int
    fallback: int
    degraded: int
    failed: int
    p50: int | None
    p95: int | None


def build_health(data: PageData) -> HealthView:
    status = data.status
    alerts = [AlertRow(one.level, TONES[one.level], one.message) for one in status.alerts]
    if status.unanswerable:
        named = join_some(status.unanswerable)
        alerts.insert(0, AlertRow("critical", "bad", f"no target can answer {named} now"))
    has_key = any(not one.missing_key for one in status.targets)
    hints = dict.fromkeys(one.missing_key for one in status.targets if one.missing_key)
    return HealthView(
        health=status.health,
        tone=TONES[status.health],
        not_closed=tuple(
            f"{one.target} ({name_state(one)})"
            for one in status.targets
            if one.state != "closed" and not one.missing_key
        ),
        alerts=tuple(alerts),
        notes=tuple(filter(None, (data.banner, *data.problems))),
        missing_keys=() if has_key else tuple(hints),
    )


def build_figures(data: PageData) -> tuple[FigureView, ...]:
    status, asks = data.status, data.status.counters
    routing = status.to_json()["routing"]
    costs = [one.spent_today for one in status.targets if one.spent_today is not None]
    looked = asks.hits + asks.misses
    pending = status.storage.pending
    return (
        FigureView("Asked", f"{asks.asks:,}", "in the last 24 hours"),
        FigureView(
            "By a fallback",
            percent(routing["fallback_rate"]),
            count_of(asks.fallbacks, "ask"),
            "warn" if asks.fallbacks else "off",
        ),
        FigureView(
            "Without an answer",
            percent(routing["error_rate"]),
            f"{count_of(asks.errors, 'ask')}, {asks.degraded:,} degraded",
            "bad" if asks.errors else "off",
        ),
        FigureView("Half are answered in", *_describe_latency(status)),
        FigureView(
            "Spent today", rough_usd(sum(costs)), count_of(len(status.budgets), "budget") + " watched"
        ),
        FigureView(
            "From the cache",
            percent(asks.hits / looked) if looked else "-",
            f"{asks.hits:,} of {looked:,} asks",
        ),
        FigureView("Queued", "?" if pending is None else f"{pending:,}", "requests kept for later"),
    )


def build_minutes(data: PageData) -> tuple[MinuteRow, ...]:
    return tuple(
        MinuteRow(
            at=int(one.at),
            first_choice=one.first_choice,
            fallback=one.fallback,
            degraded=one.degraded,
            failed=one.failed,
            p50=one.percentile(0.5),
            p95=one.percentile(0.95),
        )
        for one in count_minutes(data.requests, data.now)
    )


def _describe_latency(status: Status) -> tuple[str, str]:
    latencies = status.counters.latencies
    p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
    return milliseconds(p50), f"95 % in {milliseconds(p95)}"
