"""How logged requests look to people: many as a table, one with every step that it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from llmfail.cli.io.output import make_printable
from llmfail.cli.render.tables import ROOMY_WIDTH, Column, cell, draw_rows, stack_sections
from llmfail.core.reports.figures import milliseconds, rough_usd_column
from llmfail.core.reports.log_text import describe_result, describe_step, name_outcome, parse_pico

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MIN_ID_LENGTH = 10
"""Characters of an id that tell its millisecond; as a rule they tell the request."""


def render_list(screen: Console, found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """One row each."""
    roomy = screen.width >= ROOMY_WIDTH
    size = _find_id_length([entry["id"] for entry in found])
    costs = rough_usd_column([parse_pico(entry["cost_usd"]) for entry in found])
    answerers = [_render_answerer(entry, with_reason=not roomy) for entry in found]
    columns = (
        Column("id", [make_printable(entry["id"][:size]) for entry in found], style="cyan"),
        Column("time", [_format_time(entry["at"], with_date=roomy) for entry in found]),
        Column("feature", [cell(entry["feature"]) for entry in found], folds=True),
        Column("answered by", answerers),
        Column("tier", [str(entry["tier"]) for entry in found], right=True),
        Column("outcome", list(map(_render_outcome, found)), ROOMY_WIDTH),
        Column("took", [milliseconds(entry["latency_ms"]) for entry in found], right=True),
        Column("cost", costs, right=True),
    )
    return draw_rows(screen, columns)


def render_entry(screen: Console, entry: Mapping[str, Any]) -> RenderableType:
    """What came of one request, its trail, and its texts where they were kept."""
    moment = f"  {_format_time(entry['at'], with_date=True)}  "
    head = Text.assemble(cell(entry["id"], "bold cyan"), moment, cell(entry["feature"]))
    result = [cell(describe_result(entry), "green" if entry["ok"] else "red")]
    if entry.get("arm"):
        result.append(cell(f"arm {entry['arm']} of experiment {entry.get('experiment')}"))
    if entry.get("feedback") is not None:
        result.append(cell(f"feedback: {entry['feedback']:g}"))
    if entry["retry_at"]:
        result.append(Text(f"worth another try from {_format_time(entry['retry_at'], with_date=True)}"))
    kept = [name for name in ("prompt", "answer") if entry.get(name)]
    texts = [Text.assemble((f"{name}: ", "bold"), cell(entry[name])) for name in kept]
    trail = [_render_trail(screen, entry["trail"])] if entry["trail"] else []
    return stack_sections(screen, [head, *result], trail, texts)


def _render_trail(screen: Console, trail: Sequence[Mapping[str, Any]]) -> RenderableType:
    called = [step["action"] == "called" for step in trail]
    costs = [parse_pico(step["cost_usd"]) for step in trail]
    spent = [cost if asked else "-" for cost, asked in zip(rough_usd_column(costs), called, strict=True)]
    columns = (
        Column("target", [cell(step["target"]) for step in trail]),
        Column("outcome", list(map(_render_step_outcome, trail))),
        Column("status", [str(step["status"] or "-") for step in trail], right=True),
        Column("took", [milliseconds(step["latency_ms"]) for step in trail], right=True),
        Column("cost", spent, right=True),
        Column("note", [cell(describe_step(step)) for step in trail], folds=True),
    )
    return draw_rows(screen, columns)


def _render_step_outcome(step: Mapping[str, Any]) -> Text:
    failure = "red" if step["action"] == "called" else "yellow"
    return cell(name_outcome(step), "green" if step["outcome"] == "ok" else failure)


def _render_answerer(entry: Mapping[str, Any], *, with_reason: bool) -> Text:
    """The target, else the source of the answer, else (``with_reason``) why there is none."""
    if entry["ok"]:
        stored = " (cache)" if entry["source"] in {"cache", "stale_cache"} else ""
        who = f"{entry['target'] or entry['source']}{stored}"
        return cell(who, "green" if entry["tier"] == 0 else "yellow")
    return cell(f"no answer: {entry['error']['kind']}" if with_reason else "-", "red")


def _render_outcome(entry: Mapping[str, Any]) -> Text:
    return Text("ok", "green") if entry["ok"] else cell(entry["error"]["kind"], "red")


def _find_id_length(ids: Sequence[str]) -> int:
    """How many characters tell these ids apart."""
    for size in range(MIN_ID_LENGTH, max(map(len, ids))):
        if len({one[:size] for one in ids}) == len(set(ids)):
            return size
    return max(map(len, ids))


def _format_time(text: str, *, with_date: bool) -> str:
    """A moment in local time; not ``with_date``: the clock for today, the date for other days."""
    moment = datetime.fromisoformat(text).astimezone()
    if with_date:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if today else f"{moment:%b %d}"
