"""Draw docs/status.svg: `llmfail status` of a morning on which one provider is down.

    python scripts/make_status_picture.py [FILE]

Nothing is asked: the values are made up, what they look like is what a terminal shows.
"""

from __future__ import annotations

import math
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

from llmfail.cli.render.status_view import render
from llmfail.core.admission.budget import BudgetScope, HoldSum, Spending
from llmfail.core.admission.gate import GateView
from llmfail.core.admission.refusal import OpenReason, Refusal
from llmfail.core.model import Target
from llmfail.core.receipt import SkipReason
from llmfail.core.records.counters import AskCounters, CallCounters, add_latencies
from llmfail.core.reports.activity import BARS, TargetBar
from llmfail.core.reports.status import BudgetStatus, Status, StorageCounts, TargetStatus

NOW = 1_800_000_000.0
DOLLAR = 10**12
CLAUDE, TERRA, FLASH = (
    Target("anthropic", "claude-sonnet-5-5"),
    Target("openai", "gpt-6.1-terra"),
    Target("google", "gemini-3.5-flash"),
)


def main() -> int:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/status.svg")
    screen = Console(record=True, width=118, file=StringIO(), force_terminal=True, highlight=False)
    screen.print(render(screen, make_status(), NOW, make_bars(), verbose=False))
    drawn = screen.export_svg(title="llmfail status --watch")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # of another host
    return 0


def make_status() -> Status:
    latencies = add_latencies({}, (600 + 9 * number for number in range(200)))
    opened = Refusal(SkipReason.CIRCUIT_OPEN, NOW + 47, "", open_reason=OpenReason.FAILURES)
    return Status(
        health="degraded",
        targets=(
            TargetStatus(
                CLAUDE,
                GateView("open", 5, NOW + 47, opened),
                5,
                CallCounters(calls=412, ok=396, latencies=latencies, last_error="server_error: Overloaded"),
                4 * DOLLAR,
                None,
            ),
            TargetStatus(
                TERRA,
                GateView("closed", 0, None, None),
                5,
                CallCounters(calls=61, ok=61, fallbacks=58, latencies=latencies),
                DOLLAR // 2,
                None,
            ),
            TargetStatus(
                FLASH,
                GateView("closed", 0, None, None, 0.4),
                5,
                CallCounters(calls=150, ok=149, latencies=latencies),
                DOLLAR // 9,
                None,
            ),
        ),
        counters=AskCounters(
            asks=560, fallbacks=58, latency_ms=560 * 910, latencies=latencies, hits=40, misses=520
        ),
        alerts=(),
        unanswerable=(),
        store="disk",
        budgets=(make_budget("day", 10, 4.61, 0.2), make_budget("month", 80, 66.9, 0.2)),
        storage=StorageCounts(40, 61_000, 0),
    )


def make_budget(name: str, limit: int, spent: float, held: float) -> BudgetStatus:
    scope = BudgetScope(name, name, limit * DOLLAR, alert_at=limit * DOLLAR * 8 // 10, ends_at=NOW + 30_000)
    holds = {int(NOW) + 60: HoldSum(round(held * DOLLAR), 2)}
    return BudgetStatus(scope, Spending(spent=round(spent * DOLLAR), holds=holds))


def make_bars() -> dict[str, tuple[TargetBar, ...]]:
    wave = [round(14 + 9 * math.sin(number / 2.1)) for number in range(BARS)]
    outage = BARS - 4
    return {
        str(CLAUDE): tuple(
            TargetBar(calls) if at < outage else TargetBar(5, 5) if at == outage else TargetBar()
            for at, calls in enumerate(wave)
        ),
        str(TERRA): tuple(TargetBar(calls if at >= outage else at % 3 // 2) for at, calls in enumerate(wave)),
        str(FLASH): tuple(TargetBar(calls // 3) for calls in wave),
    }


if __name__ == "__main__":
    sys.exit(main())
