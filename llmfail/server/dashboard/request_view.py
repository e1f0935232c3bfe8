"""Logged requests as the pages show them: what came of each, and every step that it took. Prompts and answers
are not shown, also where they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from llmfail.core.one_line import one_line
from llmfail.core.reports.activity import UNBLAMED, Entry
from llmfail.core.reports.figures import milliseconds, rough_usd
from llmfail.core.reports.log_text import describe_result, describe_step, name_outcome, parse_pico
from llmfail.server.dashboard.circuit_view import Tone

MAX_SHOWN = 100
STORED = frozenset({"cache", "stale_cache"})


class TrailRow(Struct, frozen=True):
    target: str
    outcome: str
    tone: Tone
    status: str
    took: str
    cost: str
    note: str


class RequestRow(Struct, frozen=True):
    """``at`` is ISO 8601."""

    id: str
    at: str
    feature: str
    answered_by: str
    source: str
    """What answered in place of a model, or why nothing did; empty for a model."""
    tone: Tone
    took: str
    cost: str
    result: str
    trail: tuple[TrailRow, ...]


def build_request_rows(entries: Sequence[Entry]) -> tuple[RequestRow, ...]:
    """The newest first."""
    return tuple(map(_build_row, entries[:MAX_SHOWN]))


def _build_row(entry: Entry) -> RequestRow:
    answered_by, source = _name_answerer(entry)
    return RequestRow(
        id=entry["id"],
        at=entry["at"],
        feature=entry["feature"],
        answered_by=answered_by,
        source=source,
        tone="bad" if not entry["ok"] else "good" if entry["tier"] == 0 else "warn",
        took=milliseconds(entry["latency_ms"]),
        cost=rough_usd(parse_pico(entry["cost_usd"])),
        result=describe_result(entry),
        trail=tuple(
            TrailRow(
                target=step["target"],
                outcome=name_outcome(step).replace("_", " "),
                tone=_judge_step(step),
                status=str(step["status"] or "-"),
                took=milliseconds(step["latency_ms"]),
                cost=rough_usd(parse_pico(step["cost_usd"])) if step["action"] == "called" else "-",
                note=one_line(describe_step(step)),
            )
            for step in entry["trail"]
        ),
    )


def _name_answerer(entry: Entry) -> tuple[str, str]:
    if not entry["ok"]:
        return "no answer", entry["error"]["kind"].replace("_", " ")
    if entry["source"] in STORED:
        return entry["target"] or "cache", entry["source"].replace("_", " ")
    if entry["source"] == "model":
        return entry["target"], "" if entry["tier"] == 0 else "fallback"
    return entry["target"] or entry["source"], "degraded"


def _judge_step(step: Entry) -> Tone:
    if step["action"] == "skipped":
        return "off"
    return "good" if step["outcome"] == "ok" else "off" if step["outcome"] in UNBLAMED else "bad"
