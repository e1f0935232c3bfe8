"""How a Status looks to people: the verdict in one line, and the whole of it as one drawing.

A target has one row. What a narrow screen has no column for stands below the table; a pipe has columns for
everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

from rich.text import Text

from llmfail.cli.render.tables import (
    ROOMY_WIDTH,
    STATE_STYLES,
    WIDE_WIDTH,
    Column,
    cell,
    draw_rows,
    is_screen,
    stack_sections,
)
from llmfail.cli.render.usage_view import render_bar
from llmfail.core.one_line import one_line
from llmfail.core.reports.activity import TargetBar
from llmfail.core.reports.figures import (
    align_decimals,
    count_of,
    duration,
    format_bytes,
    milliseconds,
    percent,
    rough_usd_column,
)
from llmfail.core.reports.status import BudgetStatus, Status, TargetStatus
from llmfail.core.reports.status_text import (
    describe_health,
    describe_state,
    describe_unsettled,
    format_budget_amount,
    format_budget_limit,
    format_wait,
    join_some,
    name_state,
)
from llmfail.core.reports.store_server import find_server_warnings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MAX_SHOWN_BUDGETS = 12
"""Budgets that people are shown; the JSON has them all."""
SPARK_BLOCKS = "·▁▂▃▄▅▆▇█"
BAR_WIDTH = 20
"""Characters of a full bar."""


def render(
    screen: Console, status: Status, now: float, bars: Mapping[str, Sequence[TargetBar]], *, verbose: bool
) -> RenderableType:
    """Verdict, targets, how many are hidden, totals, alerts. ``bars``: the calls to each target in the last
    hour; ``verbose`` hides nothing.
    """
    hidden = [] if verbose else [one for one in status.targets if _is_idle(one)]
    shown = [one for one in status.targets if one not in hidden]
    about = [
        *(
            Text(line, "dim")
            for line in (
                *_describe_forced_open(status, now),
                *_describe_hidden(hidden),
                *_describe_totals(status),
                *_describe_storage(status),
            )
        )
    ]
    verdict = describe_health(status, now)
    alerts = [
        Text(f"{alert.level}: {alert.message}", STATE_STYLES[alert.level])
        for alert in status.alerts
        if alert.message not in verdict
    ]
    return stack_sections(
        screen,
        [Text(verdict, f"bold {STATE_STYLES[status.health]}")],
        [_render_targets(screen, shown, bars, now)] if shown else [],
        _render_troubles(screen, shown, now),
        _render_budgets(screen, status.budgets, now),
        [*about, *alerts],
    )


def _is_idle(one: TargetStatus) -> bool:
    """It has no key, and nobody has done anything with it lately."""
    return one.state == "disabled" and one.missing_key is not None and one.counters.calls == 0


def _describe_forced_open(status: Status, now: float) -> Iterator[str]:
    for provider, until in status.forced_open.items():
        end = f"for {duration(until - now)}" if until is not None else f"until `llmfail reset {provider}`"
        yield f"{provider} is forced open {end}"


def _describe_hidden(targets: Sequence[TargetStatus]) -> Iterator[str]:
    if targets:
        providers = tuple(dict.fromkeys(one.target.provider for one in targets))
        noun = "target" if len(targets) == 1 else "targets"
        yield f"{len(targets)} {noun} without a key ({join_some(providers)}): llmfail -v status lists them"


def _describe_totals(status: Status) -> Iterator[str]:
    figures = status.to_json()["routing"]
    if not figures["total_requests"]:
        yield f"nothing was asked in the last 24 hours; store: {status.store_name}"
        return
    shares = ", ".join(
        f"{percent(figures[name])} {words}"
        for name, words in (
            ("fallback_rate", "by a fallback"),
            ("degraded_rate", "degraded"),
            ("error_rate", "without an answer"),
        )
    )
    yield f"{figures['total_requests']} asked in the last 24 hours: {shares}"
    apart = ", ".join(
        f"{figures[name]:,} {words}"
        for name, words in (
            ("without_credential", "without a usable credential"),
            ("over_budget", "refused by a budget"),
            ("requests_at_fault", "refused as a request"),
        )
        if figures[name]
    )
    if apart:
        yield f"apart from that: {apart}"
    latencies = milliseconds(figures["avg_latency_ms"]), milliseconds(figures["p95_latency_ms"])
    yield f"{latencies[0]} on average, p95 {latencies[1]}; store: {status.store_name}"


def _describe_storage(status: Status) -> Iterator[str]:
    """Stored answers and requests for later, where there are any."""
    storage, counters = status.storage, status.counters
    if storage.entries is None or storage.bytes is None:
        yield f"cache: {storage.unknown_answers}"
    elif storage.entries or counters.hits:
        served = f"{counters.hits} of {counters.hits + counters.misses} asks"
        stored = f"{count_of(storage.entries, 'answer')} in {format_bytes(storage.bytes)}"
        yield f"cache: {stored}, which served {served}"
    pending = storage.pending
    if pending is None:
        yield "queue: it cannot be read"
    elif pending:
        yield f"queue: {pending} waiting for `llmfail queue run`"
    if storage.server is not None:
        for warning in find_server_warnings(storage.server, has_budgets=bool(status.budgets)):
            yield f"store: {warning}"
    if not storage.places.are_local:
        yield storage.places.description


def _render_targets(
    screen: Console, targets: Sequence[TargetStatus], bars: Mapping[str, Sequence[TargetBar]], now: float
) -> RenderableType:
    figures = [one.to_json() for one in targets]
    latencies = [_format_latencies(one["latency_p50_ms"], one["latency_p95_ms"]) for one in figures]
    columns = (
        Column("target", [cell(one.target) for one in targets]),
        Column("state", [Text(describe_state(one), _choose_style(one)) for one in targets]),
        Column("failures", [_format_failures(one) for one in targets], WIDE_WIDTH, right=True),
        Column("again in", [format_wait(one, now) or "-" for one in targets], WIDE_WIDTH, right=True),
        *_list_sparklines(screen, targets, bars),
        Column("calls", [str(one.counters.calls) for one in targets], right=True),
        Column("ok", [percent(one["success_rate"]) for one in figures], right=True),
        Column("fallbacks", [str(one.counters.fallbacks) for one in targets], right=True),
        Column("p50/p95", latencies, right=True),
        Column("today", rough_usd_column([one.spent_today for one in targets]), right=True),
        Column("last error", [cell(one.last_error or "-") for one in targets], WIDE_WIDTH, folds=True),
    )
    return draw_rows(screen, columns, ["dim" if one.missing_key else None for one in targets])


def _list_sparklines(
    screen: Console, targets: Sequence[TargetStatus], bars: Mapping[str, Sequence[TargetBar]]
) -> list[Column]:
    """A column for a screen, where anything was called. It is a picture: a pipe has the figures."""
    if not bars or not is_screen(screen):
        return []
    cells = [render_sparkline(bars.get(str(one.target), ())) for one in targets]
    return [Column("last hour", cells, ROOMY_WIDTH)]


def render_sparkline(bars: Sequence[TargetBar]) -> Text:
    """A character for each bar, as high as its share of the highest; red where calls failed."""
    most = max((one.calls for one in bars), default=0)
    line = Text(no_wrap=True)
    for one in bars:
        height = ceil(one.calls / most * (len(SPARK_BLOCKS) - 1)) if most else 0
        line.append(SPARK_BLOCKS[height], "red" if one.failed else "green" if one.calls else "dim")
    return line


def _render_troubles(screen: Console, targets: Sequence[TargetStatus], now: float) -> list[RenderableType]:
    """What only a wide screen has columns for, of the targets that it is about."""
    if screen.width >= WIDE_WIDTH:
        return []
    return [
        Text.assemble(cell(one.target, _choose_style(one)), "  ", cell(text))
        for one in targets
        if (text := _describe_trouble(one, now))
    ]


def _render_budgets(screen: Console, budgets: Sequence[BudgetStatus], now: float) -> list[RenderableType]:
    """Limits with what is spent and held of them, and what calls that nobody settled may have cost."""
    if not budgets:
        return []
    shown = budgets[:MAX_SHOWN_BUDGETS]
    columns = (
        Column("budget", [cell(one_line(one.scope.label)) for one in shown], folds=True),
        Column("used", [percent(one.fraction) for one in shown], right=True),
        Column("", [_render_budget_bar(one) for one in shown], ROOMY_WIDTH),
        Column(
            "spent",
            align_decimals([format_budget_amount(one, one.spending.spent) for one in shown]),
            right=True,
        ),
        Column(
            "held",
            align_decimals([format_budget_amount(one, one.spending.held) for one in shown]),
            right=True,
        ),
        Column("limit", align_decimals([format_budget_limit(one) for one in shown]), right=True),
        Column("resets in", [_format_reset(one, now) for one in shown], right=True),
    )
    more = [f"and {len(budgets) - len(shown)} more"] if len(budgets) > len(shown) else []
    lost = [_render_unsettled(one) for one in shown if one.spending.unsettled.calls]
    return [draw_rows(screen, columns), *(Text(line, "dim") for line in more), *lost]


def _render_budget_bar(one: BudgetStatus) -> Text:
    """What is spent solid, what is held lighter."""
    solid = render_bar(min(one.spending.spent / one.scope.limit if one.scope.limit else 1.0, 1.0), BAR_WIDTH)
    held = min(round(one.fraction * BAR_WIDTH), BAR_WIDTH) - len(solid)
    style = "red" if one.fraction >= 1 else "yellow" if one.is_alarming else "green"
    return Text.assemble((solid, style), ("░" * max(held, 0), style))


def _format_reset(one: BudgetStatus, now: float) -> str:
    return "-" if one.scope.ends_at is None else duration(one.scope.ends_at - now)


def _render_unsettled(one: BudgetStatus) -> Text:
    return cell(f"{one_line(one.scope.label)}: {describe_unsettled(one)}", "yellow")


def _format_latencies(p50: int | None, p95: int | None) -> str:
    """Two in one cell; a unit that both have stands once."""
    if p50 is None:
        return "-"
    left, right = milliseconds(p50), milliseconds(p95)
    unit = right.lstrip("0123456789.")
    return f"{left.removesuffix(unit) if left.lstrip('0123456789.') == unit else left}/{right}"


def _describe_trouble(one: TargetStatus, now: float) -> str:
    """What is or was wrong with it."""
    wait = format_wait(one, now)
    parts = (
        f"failures {_format_failures(one)}" if one.gate_view.failures and not one.missing_key else "",
        f"again in {wait}" if wait else "",
        one.last_error or "",
    )
    return "; ".join(filter(None, parts))


def _format_failures(one: TargetStatus) -> str:
    return f"{one.gate_view.failures}/{one.failure_threshold}"


def _choose_style(one: TargetStatus) -> str:
    """Of a closed circuit too, whose last calls failed."""
    is_failing = one.state == "closed" and one.gate_view.failures > 0
    return STATE_STYLES["failing" if is_failing else name_state(one)]
