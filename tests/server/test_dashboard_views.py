"""What the pages say of values that exist: pure, without a server and without a browser."""

from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from llmfail.core.admission.budget import BudgetScope, HoldSum, Spending
from llmfail.core.admission.gate import GateView
from llmfail.core.admission.refusal import OpenReason, Refusal
from llmfail.core.degrade.queue_item import QueueItem
from llmfail.core.errors import ExitCode
from llmfail.core.model import Target, Usage
from llmfail.core.pricing.usage_record import UsageTotals
from llmfail.core.pricing.usage_report import UsageReport, UsageRow
from llmfail.core.receipt import Failure, Receipt, SkipReason, TrailEntry
from llmfail.core.records.counters import AskCounters, CallCounters
from llmfail.core.reports.activity import PORTION, TargetBar, merge_requests
from llmfail.core.reports.alert import Alert
from llmfail.core.reports.status import BudgetStatus, Status, StorageCounts, TargetStatus
from llmfail.core.routing.plan import Plan, PlanStep
from llmfail.server.dashboard.circuit_view import build_circuit_rows
from llmfail.server.dashboard.feature_view import build_feature_rows
from llmfail.server.dashboard.live_updates import find_new_rows
from llmfail.server.dashboard.money_view import build_budget_rows, build_cost_rows, build_day_rows
from llmfail.server.dashboard.overview_view import build_figures, build_health
from llmfail.server.dashboard.page_data import PageData
from llmfail.server.dashboard.pages import PAGES, RowPiece, render_fragments
from llmfail.server.dashboard.queue_view import build_queue_rows, describe_cache
from llmfail.server.dashboard.request_view import build_request_rows

NOW = 1_800_000_000.0
TERRA, CLAUDE = Target("openai", "gpt-6.1-terra"), Target("anthropic", "claude-sonnet-5-5")
DOLLAR = 10**12
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def target(
    one=TERRA, state="closed", failures=0, refusal=None, retry_at=None, missing=None, share=1.0, **counters
):
    view = GateView(state, failures, retry_at, refusal, share)
    return TargetStatus(one, view, 5, CallCounters(**counters), None, missing)


def status(*targets, **more):
    return Status(
        health=more.pop("health", "healthy"),
        targets=targets,
        counters=more.pop("counters", AskCounters()),
        alerts=more.pop("alerts", ()),
        unanswerable=more.pop("unanswerable", ()),
        store="disk",
        **more,
    )


def budget(spent=0, held=0, each=None, bucket="", limit=10 * DOLLAR):
    scope = BudgetScope(
        "daily", "key", limit, alert_at=limit // 2, each=each, bucket=bucket, ends_at=NOW + 60
    )
    return BudgetStatus(scope, Spending(spent=spent, holds={int(NOW) + 5: HoldSum(held, 1)} if held else {}))


def logged(number=0, at=NOW, **fields):
    receipt = Receipt(f"id-{number}", "chat", source="model", tier=0, target=TERRA, latency_ms=1234)
    moment = datetime.fromtimestamp(at, UTC).isoformat()
    return {"at": moment, **replace(receipt, **fields).to_json()}


PAUSE = Refusal(SkipReason.CIRCUIT_OPEN, NOW + 9, "", open_reason=OpenReason.PAUSE)
OPEN = Refusal(SkipReason.CIRCUIT_OPEN, NOW + 9, "", open_reason=OpenReason.FAILURES)
BAD_KEY = Refusal(SkipReason.DISABLED, None, "bad_key: it was revoked")


@pytest.mark.parametrize(
    ("one", "budgets", "state", "tone", "why", "can_reset"),
    [
        (target(), (), "closed", "good", "", False),
        (
            target(failures=2, last_error="timeout"),
            (),
            "failing",
            "warn",
            "2 failed in a row; last error: timeout",
            True,
        ),
        (
            target(state="open", failures=5, refusal=OPEN, last_error="server_error: oh"),
            (),
            "open",
            "bad",
            "calls failed; last error: server_error: oh",
            True,
        ),
        (
            target(state="open", refusal=PAUSE, last_error="rate_limited"),
            (),
            "paused",
            "warn",
            "the provider asked for it, with a Retry-After",
            True,
        ),
        (target(share=0.25), (), "ramping", "warn", "it is back, and takes 25% of the asks", False),
        (target(state="half_open"), (), "half open", "warn", "it was open, and trials are under way", True),
        (target(state="forced_open"), (), "forced open", "held", "an operator has forced it open", True),
        (target(state="disabled", refusal=BAD_KEY), (), "disabled", "bad", "bad_key: it was revoked", True),
        (target(missing="set KEY", calls=1), (), "no key", "off", "set KEY", False),
        (target(), (budget(10 * DOLLAR),), "over budget", "bad", "budget daily is spent", False),
        (target(), (budget(9 * DOLLAR, DOLLAR),), "over budget", "bad", "budget daily is spent", False),
        (target(), (budget(9 * DOLLAR),), "closed", "good", "", False),
        (
            target(),
            (budget(10 * DOLLAR, each="provider", bucket="openai"),),
            "over budget",
            "bad",
            "budget daily of openai is spent",
            False,
        ),
        (target(), (budget(10 * DOLLAR, each="provider", bucket="google"),), "closed", "good", "", False),
        (target(), (budget(10 * DOLLAR, each="user", bucket="openai"),), "closed", "good", "", False),
    ],
)
def test_a_circuit_says_its_state_and_why(one, budgets, state, tone, why, can_reset):
    (row,), idle = build_circuit_rows(status(one, budgets=budgets), {})
    assert (row.state, row.tone, row.why, row.can_reset, idle) == (state, tone, why, can_reset, ())


def test_what_is_wrong_comes_first_and_idle_targets_without_a_key_are_only_named():
    idle = target(Target("x", "y"), missing="set X")
    opened = target(state="open", refusal=OPEN, retry_at=NOW + 9)
    rows, names = build_circuit_rows(status(target(CLAUDE), idle, opened), {})
    assert ([row.name for row in rows], names) == ([str(TERRA), str(CLAUDE)], ("x/y",))
    assert [row.until for row in rows] == ["2027-01-15T08:00:09Z", None]


def test_bars_are_as_high_as_their_share_and_a_single_call_can_be_seen():
    (row,), _ = build_circuit_rows(
        status(target()), {str(TERRA): (TargetBar(100, 50), TargetBar(1, 0), TargetBar())}
    )
    assert [(bar.height, bar.failed) for bar in row.bars] == [(20, 10), (2, 0), (0, 0)]
    assert row.bars_text == "101 calls in the last hour, 50 failed"


def step(one, reason=None, open_reason=None):
    decision = "call" if reason is None else "skip"
    return PlanStep(one, decision, reason, DOLLAR, 2 * DOLLAR, "", open_reason)


@pytest.mark.parametrize(
    ("steps", "degrade", "now", "then", "tone"),
    [
        ([step(TERRA), step(CLAUDE)], (), str(TERRA), str(CLAUDE), "good"),
        ([step(TERRA), step(CLAUDE, "circuit_open")], ("cached",), str(TERRA), "cached", "good"),
        ([step(TERRA, "circuit_open"), step(CLAUDE)], (), str(CLAUDE), "nobody", "warn"),
        ([step(TERRA, "no_key"), step(CLAUDE)], (), str(CLAUDE), "nobody", "good"),
        ([step(TERRA, "over_budget")], ("template", "queue"), "template", "queue", "bad"),
        ([step(TERRA, "held")], (), "nobody", "nobody", "bad"),
        ([], (), "nobody", "nobody", "bad"),
    ],
)
def test_a_feature_says_who_answers_now_and_who_would_next(steps, degrade, now, then, tone):
    (row,) = build_feature_rows([Plan("chat", tuple(steps), degrade, "off")])
    assert (row.answers_now, row.then, row.tone) == (now, then, tone)


def test_a_step_of_a_chain_says_why_it_is_skipped():
    plan = Plan("chat", (step(TERRA, "circuit_open", "pause"), step(CLAUDE, "rate_limited_here")), (), "miss")
    (row,) = build_feature_rows([plan])
    assert [(one.place, one.decision, one.tone) for one in row.steps] == [
        (1, "skipped: paused", "bad"),
        (2, "skipped: own rate limit", "bad"),
    ]
    assert (row.steps[0].about, row.steps[0].at_most) == ("$1.00", "$2.00")


TRAIL = (
    TrailEntry(CLAUDE, "skipped", "circuit_open", open_reason="pause", note="its Retry-After holds"),
    TrailEntry(TERRA, "called", "server_error", status=503, latency_ms=40, retry_after=9, note="oh"),
    TrailEntry(TERRA, "called", "ok", status=200, latency_ms=1200, cost_pico_usd=DOLLAR),
)


def test_a_request_says_what_came_of_it_step_by_step():
    usage = Usage(1000, output_tokens=20)
    (row,) = build_request_rows([logged(tier=2, trail=TRAIL, cost_pico_usd=DOLLAR, usage=usage)])
    assert (row.answered_by, row.source, row.tone, row.took, row.cost) == (
        str(TERRA),
        "fallback",
        "warn",
        "1.2s",
        "$1.00",
    )
    assert row.result.startswith(f"{TERRA} answered, tier 2, 1.2s, 1,000 + 20 tokens, $1.00")
    assert [(one.outcome, one.tone, one.status, one.note) for one in row.trail] == [
        ("paused", "off", "-", "not called; its Retry-After holds"),
        ("server error", "bad", "503", "retry after 9s; oh"),
        ("ok", "good", "200", ""),
    ]


@pytest.mark.parametrize(
    ("fields", "answered_by", "source", "tone"),
    [
        ({}, str(TERRA), "", "good"),
        ({"source": "cache"}, str(TERRA), "cache", "good"),
        ({"source": "stale_cache", "tier": 4}, str(TERRA), "stale cache", "warn"),
        ({"source": "template", "tier": 4, "target": None}, "template", "degraded", "warn"),
        (
            {
                "source": "none",
                "tier": 5,
                "target": None,
                "error": Failure(ExitCode.UNAVAILABLE, "unavailable", "x"),
            },
            "no answer",
            "unavailable",
            "bad",
        ),
    ],
)
def test_a_request_says_who_answered(fields, answered_by, source, tone):
    (row,) = build_request_rows([logged(**fields)])
    assert (row.answered_by, row.source, row.tone) == (answered_by, source, tone)


def test_budgets_have_bars_of_what_is_spent_and_held():
    rows = build_budget_rows(
        [budget(), budget(DOLLAR, 4 * DOLLAR), budget(5 * DOLLAR), budget(11 * DOLLAR), budget(limit=0)]
    )
    assert [(one.state, one.spent_part, one.held_part, one.used) for one in rows] == [
        ("within its limit", 0, 0, "0%"),
        ("within its limit", 100, 400, "50%"),
        ("nearly spent", 500, 0, "50%"),
        ("spent", 1000, 0, "110%"),
        ("spent", 1000, 0, "100%"),
    ]


def test_days_without_an_ask_are_in_the_chart_too():
    totals = UsageTotals(requests=2, cost=DOLLAR)
    report = UsageReport(date(2026, 12, 1), date(2026, 12, 3), "day", (UsageRow("2026-12-02", totals),))
    assert [(one.key, one.cost, one.dollars, one.part) for one in build_day_rows(report)] == [
        ("2026-12-01", "$0.00", "0", 0),
        ("2026-12-02", "$1.00", "1", 1000),
        ("2026-12-03", "$0.00", "0", 0),
    ]
    assert build_day_rows(None) == build_cost_rows(None) == ()


def test_queued_requests_say_when_they_are_asked_again():
    items = [
        QueueItem("1", "chat", NOW - 60, NOW + 60),
        QueueItem("2", "chat", NOW - 60, NOW + 60, retry_at=NOW + 5, error="no target\ncould answer"),
        QueueItem("3", "chat", NOW - 60, NOW + 60, receipt="{}"),
        QueueItem("4", "chat", NOW - 60, NOW - 1),
    ]
    assert [(one.id, one.state, one.error) for one in build_queue_rows(items, NOW)] == [
        ("1", "due", ""),
        ("2", "waits", "no target could answer"),
        ("3", "answered, not yet printed", ""),
    ]


def test_the_verdict_has_alerts_what_is_not_closed_and_what_to_do_without_a_key():
    alert = Alert("error_rate", "critical", 0.5, 0.01, "error_rate is 50%")
    data = PageData(
        NOW,
        status(
            target(state="open", refusal=OPEN), health="unhealthy", alerts=(alert,), unanswerable=("chat",)
        ),
    )
    view = build_health(replace(data, banner="config: stale", problems=("the queue cannot be read",)))
    assert [one.message for one in view.alerts] == ["no target can answer chat now", "error_rate is 50%"]
    assert view.not_closed == (f"{TERRA} (open)",)
    assert view.notes == ("config: stale", "the queue cannot be read")
    assert (view.tone, view.missing_keys) == ("bad", ())
    keyless = build_health(PageData(NOW, status(target(missing="set A"), target(CLAUDE, missing="set B"))))
    assert keyless.missing_keys == ("set A", "set B")


def test_the_figures_are_those_of_status():
    counters = AskCounters(asks=4, fallbacks=1, errors=1, hits=1, misses=3, latencies={0: 4})
    figures = build_figures(PageData(NOW, status(counters=counters, storage=StorageCounts(0, 0, None))))
    assert {one.name: (one.value, one.note, one.tone) for one in figures} == {
        "Asked": ("4", "in the last 24 hours", "off"),
        "By a fallback": ("25%", "1 ask", "warn"),
        "Without an answer": ("25%", "1 ask, 0 degraded", "bad"),
        "Half are answered in": ("1ms", "95 % in 1ms", "off"),
        "Spent today": ("$0.00", "0 budgets watched", "off"),
        "From the cache": ("25%", "1 of 4 asks", "off"),
        "Queued": ("?", "requests kept for later", "off"),
    }
    assert describe_cache(status(storage=StorageCounts(None, None, 0))) == "the stored answers cannot be read"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.found |= {name for name, _ in attrs if name.startswith("on") or name == "style"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_others_have_written_is_text_on_every_page(page):
    one = Target(HOSTILE.replace("/", ""), HOSTILE)
    trail = (TrailEntry(one, "called", HOSTILE, note=HOSTILE),)
    failure = Failure(ExitCode.UNAVAILABLE, HOSTILE, HOSTILE)
    totals = UsageTotals(requests=1, cost=1)
    report = UsageReport(date(2026, 12, 1), date(2026, 12, 1), "feature", (UsageRow(HOSTILE, totals),))
    data = PageData(
        NOW,
        status(
            target(one, state="open", refusal=OPEN, last_error=HOSTILE),
            alerts=(Alert(HOSTILE, "warning", 1, 1, HOSTILE),),
            unanswerable=(HOSTILE,),
            budgets=(budget(each="user", bucket=HOSTILE),),
            forced_open={HOSTILE: None},
        ),
        requests=(logged(feature=HOSTILE, trail=trail, error=failure, source="none", target=None),),
        plans=(Plan(HOSTILE, (replace(step(one, "disabled"), note=HOSTILE),), (HOSTILE,), "off"),),
        by_day=replace(report, rows=()),
        by_feature=report,
        by_target=report,
        queue=(QueueItem(HOSTILE, HOSTILE, NOW, NOW + 9, error=HOSTILE),),
        problems=(HOSTILE,),
        banner=HOSTILE,
    )
    rendered = render_fragments(page, data)
    html = "".join(
        [*rendered.fragments.values(), *(row.html for rows in rendered.rows.values() for row in rows)]
    )
    tags = Tags()
    tags.feed(html)
    assert not tags.found & {"script", "img", "onerror", "style", "iframe"}
    assert "&lt;script&gt;" in html


def test_only_rows_that_are_new_are_sent_again():
    rows = tuple(RowPiece(name, "") for name in "cba")
    assert find_new_rows(rows, None) == (rows, True)
    assert find_new_rows(rows, "a") == (rows[:2], False)
    assert find_new_rows(rows, "c") == ((), False)
    assert find_new_rows(rows, "") == (rows, False)
    assert find_new_rows(rows, "gone") == (rows, True)


def entries(*numbers, at=NOW):
    return [logged(number, at) for number in numbers]


def ids(found):
    return None if found is None else [int(one["id"].removeprefix("id-")) for one in found]


def test_the_log_is_read_until_it_meets_what_is_known():
    known = entries(3, 2, 1)
    assert ids(merge_requests(known, entries(5, 4, 3), 3, NOW - 3600)) == [5, 4, 3, 2, 1]
    assert ids(merge_requests(known, entries(3, 2, 1), 3, NOW - 3600)) == [3, 2, 1]
    assert ids(merge_requests(known, entries(6, 5, 4), 3, NOW - 3600)) is None  # there may be more between
    assert ids(merge_requests(known, entries(6, 5, 4, 3, 2, 1), 12, NOW - 3600)) == [6, 5, 4, 3, 2, 1]
    assert ids(merge_requests([], entries(2, 1), 2, NOW - 3600)) is None
    assert ids(merge_requests([], entries(2, 1), 50, NOW - 3600)) == [2, 1]
    assert ids(merge_requests(known, [], 50, NOW - 3600)) == []  # somebody has begun anew


def test_old_requests_are_forgotten_but_for_as_many_as_a_page_shows():
    old = entries(*range(200, 0, -1), at=NOW - 7200)
    assert len(merge_requests([], old, 50, NOW - 3600)) == PORTION
    assert len(merge_requests([], entries(*range(200, 0, -1)), 2000, NOW - 3600)) == 200
