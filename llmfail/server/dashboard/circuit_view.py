"""Targets as the pages show them: the state of each circuit, why it is so, and what it has done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from llmfail.core.receipt import format_time
from llmfail.core.reports.activity import BARS, TargetBar, describe_bars
from llmfail.core.reports.figures import milliseconds, percent, rough_usd
from llmfail.core.reports.status import BudgetStatus, Status, TargetStatus
from llmfail.core.reports.status_text import name_state

Tone = Literal["good", "warn", "bad", "held", "off"]
"""How something is to be taken. It has a colour and a sign; the words beside it say the same."""
TONES: Mapping[str, Tone] = {
    "closed": "good",
    "failing": "warn",
    "half open": "warn",
    "ramping": "warn",
    "paused": "warn",
    "open": "bad",
    "over budget": "bad",
    "disabled": "bad",
    "forced open": "held",
    "no key": "off",
    "healthy": "good",
    "degraded": "warn",
    "unhealthy": "bad",
    "warning": "warn",
    "critical": "bad",
}
WHY = {
    "open": "calls failed",
    "half open": "it was open, and trials are under way",
    "paused": "the provider asked for it, with a Retry-After",
    "forced open": "an operator has forced it open",
}
BAR_HEIGHT = 20
"""Of the highest bar, in units of the drawing."""


class BarView(Struct, frozen=True):
    """One bar of a small chart: where it stands, and how high it and its failed part are."""

    x: int
    height: int
    failed: int


class CircuitRow(Struct, frozen=True):
    """``until`` is the moment from which it is tried again, as ISO 8601; ``can_reset``: an operator may close
    or re-enable it.
    """

    name: str
    slug: str
    state: str
    tone: Tone
    why: str
    until: str | None
    failures: str
    calls: int
    ok: str
    fallbacks: int
    latency_p50: str
    latency_p95: str
    spent_today: str
    can_reset: bool
    bars: tuple[BarView, ...]
    bars_text: str


def build_circuit_rows(
    status: Status, bars: Mapping[str, Sequence[TargetBar]]
) -> tuple[tuple[CircuitRow, ...], tuple[str, ...]]:
    """The rows, what is wrong first; and the names of targets without a key that nobody has called."""
    idle = [one for one in status.targets if _is_idle(one)]
    rows = [
        _build_row(one, status.budgets, bars.get(str(one.target), ()))
        for one in status.targets
        if one not in idle
    ]
    order: Sequence[Tone] = ("bad", "held", "warn", "good", "off")
    rows.sort(key=lambda row: order.index(row.tone))
    return tuple(rows), tuple(str(one.target) for one in idle)


def find_blocking_budget(budgets: Sequence[BudgetStatus], target: TargetStatus) -> BudgetStatus | None:
    """A budget that has nothing left, or too little, and in which every call to this target counts."""
    own = {None: "", "provider": target.target.provider, "target": str(target.target)}
    return next(
        (
            one
            for one in budgets
            if one.scope.each in own
            and own[one.scope.each] == one.scope.bucket
            and (one.fraction >= 1 or one.is_refusing)
        ),
        None,
    )


def make_slug(name: str) -> str:
    """A name as a part of an id of HTML."""
    return "".join(char if char.isalnum() else "-" for char in name)


def _is_idle(one: TargetStatus) -> bool:
    return one.state == "disabled" and one.missing_key is not None and one.counters.calls == 0


def _build_row(one: TargetStatus, budgets: Sequence[BudgetStatus], bars: Sequence[TargetBar]) -> CircuitRow:
    figures = one.to_json()
    state, why = _judge(one, budgets)
    return CircuitRow(
        name=str(one.target),
        slug=make_slug(str(one.target)),
        state=state,
        tone=TONES[state],
        why=why,
        until=None if one.missing_key else format_time(one.gate_view.retry_at),
        failures=f"{one.gate_view.failures} of {one.failure_threshold}",
        calls=one.counters.calls,
        ok=percent(figures["success_rate"]),
        fallbacks=one.counters.fallbacks,
        latency_p50=milliseconds(figures["latency_p50_ms"]),
        latency_p95=milliseconds(figures["latency_p95_ms"]),
        spent_today=rough_usd(one.spent_today),
        can_reset=not one.missing_key and (one.state != "closed" or one.gate_view.failures > 0),
        bars=_scale_bars(bars or (TargetBar(),) * BARS),
        bars_text=describe_bars(bars),
    )


def _judge(one: TargetStatus, budgets: Sequence[BudgetStatus]) -> tuple[str, str]:
    """The state by its name, and why it is so."""
    state, error = name_state(one), one.counters.last_error
    last = f"; last error: {error}" if error else ""
    if state == "disabled":
        return ("no key", one.missing_key) if one.missing_key else (state, one.last_error or "")
    if state in WHY:
        return state, WHY[state] + (last if state in {"open", "half open"} else "")
    budget = find_blocking_budget(budgets, one)
    if budget is not None:
        left = "is spent" if budget.fraction >= 1 else "has too little left for the calls that come"
        return "over budget", f"budget {budget.scope.label} {left}"
    if one.gate_view.failures:
        return "failing", f"{one.gate_view.failures} failed in a row{last}"
    if one.gate_view.share < 1:
        return "ramping", f"it is back, and takes {percent(one.gate_view.share)} of the asks"
    return state, ""


def _scale_bars(bars: Sequence[TargetBar]) -> tuple[BarView, ...]:
    most = max((one.calls for one in bars), default=0) or 1
    return tuple(
        BarView(
            x=place * 4,
            height=max(round(one.calls / most * BAR_HEIGHT), 2) if one.calls else 0,
            failed=max(round(one.failed / most * BAR_HEIGHT), 2) if one.failed else 0,
        )
        for place, one in enumerate(bars)
    )
