"""The five pages: of which fragments each is made, and what each fragment shows.

A fragment is a part of a page that is sent again when it has changed. Most are one piece of HTML; the
requests are rows, of which only new ones are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from llmfail.core.reports.activity import count_calls
from llmfail.server.dashboard import overview_view
from llmfail.server.dashboard.circuit_view import build_circuit_rows
from llmfail.server.dashboard.feature_view import build_feature_rows
from llmfail.server.dashboard.money_view import build_budget_rows, build_cost_rows, build_day_rows
from llmfail.server.dashboard.page_data import MAX_QUEUED, PageData, Topic
from llmfail.server.dashboard.page_template import render_template
from llmfail.server.dashboard.queue_view import build_queue_rows, describe_cache
from llmfail.server.dashboard.request_view import MAX_SHOWN, RequestRow, build_request_rows

Shown = Mapping[str, Any]
"""What a template is given."""


class Fragment(Struct, frozen=True):
    """``build`` makes of the data what the template of this name shows."""

    name: str
    build: Callable[[PageData], Shown]


class Page(Struct, frozen=True):
    """``refresh`` in seconds, for browsers without JavaScript."""

    name: str
    path: str
    title: str
    topics: frozenset[Topic]
    fragments: tuple[Fragment, ...]
    refresh: int = 10


class RowPiece(Struct, frozen=True):
    """The HTML of one row."""

    id: str
    html: str


class RenderedPage(Struct, frozen=True):
    """The HTML of each fragment, and of each row of a fragment that is made of rows."""

    fragments: Mapping[str, str]
    rows: Mapping[str, tuple[RowPiece, ...]]


def render_fragments(page: Page, data: PageData) -> RenderedPage:
    fragments = {one.name: render_template(f"{one.name}.html", **one.build(data)) for one in page.fragments}
    rows = {"requests": _render_requests(data)} if page.name == "live" else {}
    return RenderedPage(fragments, rows)


def _render_requests(data: PageData) -> tuple[RowPiece, ...]:
    return tuple(RowPiece(row.id, _render_row(row)) for row in build_request_rows(data.requests))


@lru_cache(maxsize=2 * MAX_SHOWN)
def _render_row(row: RequestRow) -> str:
    """A row of a page is the same at the next look."""
    return render_template("request_row.html", row=row)


def _show_circuits(data: PageData) -> Shown:
    rows, idle = build_circuit_rows(data.status, count_calls(data.requests, data.now))
    return {"rows": rows, "idle": idle, "forced": tuple(data.status.forced_open), "store": data.status.store}


def _show_features(data: PageData) -> Shown:
    return {"rows": build_feature_rows(data.plans)}


def _show_budgets(data: PageData) -> Shown:
    budgets = data.status.budgets
    rows = build_budget_rows(budgets)
    return {"rows": rows, "more": len(budgets) - len(rows)}


def _show_queue(data: PageData) -> Shown:
    return {
        "rows": build_queue_rows(data.queue, data.now),
        "pending": data.status.storage.pending,
        "most": MAX_QUEUED,
    }


HEALTH = Fragment("health", lambda data: {"view": overview_view.build_health(data)})
CIRCUITS = Fragment("circuits", _show_circuits)
BUDGETS = Fragment("budgets", _show_budgets)
PAGES = (
    Page(
        "overview",
        "/",
        "Overview",
        frozenset({"requests", "plans"}),
        (
            HEALTH,
            Fragment("figures", lambda data: {"figures": overview_view.build_figures(data)}),
            Fragment("activity", lambda data: {"rows": overview_view.build_minutes(data)}),
            CIRCUITS,
            Fragment("answerers", _show_features),
            BUDGETS,
        ),
        refresh=5,
    ),
    Page(
        "live",
        "/live",
        "Live",
        frozenset({"requests"}),
        (HEALTH, Fragment("live", lambda data: {"count": min(len(data.requests), MAX_SHOWN)})),
        refresh=5,
    ),
    Page(
        "features",
        "/features",
        "Features",
        frozenset({"plans"}),
        (HEALTH, Fragment("features", _show_features)),
    ),
    Page(
        "money",
        "/money",
        "Money",
        frozenset({"usage"}),
        (
            HEALTH,
            BUDGETS,
            Fragment("days", lambda data: {"rows": build_day_rows(data.by_day)}),
            Fragment(
                "costs",
                lambda data: {
                    "features": build_cost_rows(data.by_feature),
                    "targets": build_cost_rows(data.by_target),
                },
            ),
        ),
    ),
    Page(
        "queue",
        "/queue",
        "Queue",
        frozenset({"queue"}),
        (
            HEALTH,
            Fragment("queue", _show_queue),
            Fragment("cache", lambda data: {"text": describe_cache(data.status)}),
        ),
    ),
)
BY_PATH = {page.path: page for page in PAGES}
BY_NAME = {page.name: page for page in PAGES}
