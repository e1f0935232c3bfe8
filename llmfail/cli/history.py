"""How logged requests look to people: many as a table, one with every step that it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.text import Text

from llmfail.cli.output import printable
from llmfail.cli.tables import ROOMY, add_names, exact_usd, milliseconds, rough_usd, sections, span, table
from llmfail.core.note import one_line
from llmfail.core.receipt import PICO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

SHORTEST = 10
"""Characters of an id that tell its millisecond; as a rule they tell the request."""


def listed(screen: Console, found: Sequence[Mapping[str, Any]]) -> Table:
    """One row each. ``screen`` decides how much of the date and of the feature's name is shown."""
    roomy = screen.width >= ROOMY
    size = _telling([entry["id"] for entry in found])
    drawn = table(screen)
    drawn.add_column("id", no_wrap=True, style="cyan")
    drawn.add_column("time", no_wrap=True)
    drawn.add_column("feature", no_wrap=True, max_width=None if roomy else 11, overflow="ellipsis")
    add_names(drawn, "answered by", [entry["target"] or "" for entry in found])
    drawn.add_column("tier", justify="right", no_wrap=True)
    if roomy:
        drawn.add_column("outcome", no_wrap=True)
    drawn.add_column("took", justify="right", no_wrap=True)
    drawn.add_column("cost", justify="right", no_wrap=True)
    for entry in found:
        outcome = (_outcome(entry),) if roomy else ()
        drawn.add_row(
            entry["id"][:size],
            _time(entry["at"], whole=roomy),
            Text(entry["feature"]),
            _answered_by(entry, whole=not roomy),
            str(entry["tier"]),
            *outcome,
            milliseconds(entry["latency_ms"]),
            rough_usd(_pico(entry["cost_usd"])),
        )
    return drawn


def told(screen: Console, entry: Mapping[str, Any]) -> RenderableType:
    """What came of one request, its trail, and its texts where they were kept."""
    head = Text.assemble(
        (entry["id"], "bold cyan"), f"  {_time(entry['at'], whole=True)}  {entry['feature']}"
    )
    result = [Text(_sum(entry), "green" if entry["ok"] else "red")]
    if entry["retry_at"]:
        result.append(Text(f"worth another try from {_time(entry['retry_at'], whole=True)}"))
    kept = [name for name in ("prompt", "answer") if entry.get(name)]
    texts = [Text.assemble((f"{name}: ", "bold"), printable(entry[name])) for name in kept]
    return sections(screen, [head, *result], [_trail(screen, entry["trail"])], texts)


def _sum(entry: Mapping[str, Any]) -> str:
    took, cost = milliseconds(entry["latency_ms"]), exact_usd(_pico(entry["cost_usd"]))
    if entry["error"]:
        return (
            f"no answer (exit {entry['error']['code']}): {one_line(entry['error']['message'], longest=2000)}"
        )
    usage = entry["usage"]
    tokens = f", {usage['input_tokens']:,} + {usage['output_tokens']:,} tokens" if usage else ""
    who = entry["target"] or entry["source"]
    return f"{who} answered, tier {entry['tier']}, {took}{tokens}, {cost}, ended by {entry['finish_reason']}"


def _trail(screen: Console, trail: Sequence[Mapping[str, Any]]) -> Table:
    drawn = table(screen)
    add_names(drawn, "target", [step["target"] for step in trail])
    drawn.add_column("outcome", no_wrap=True)
    for heading in ("status", "took", "cost"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    drawn.add_column("note", overflow="fold")
    for step in trail:
        called = step["action"] == "called"
        style = "green" if step["outcome"] == "ok" else "red" if called else "yellow"
        drawn.add_row(
            Text(step["target"]),
            Text(step["outcome"], style),
            str(step["status"] or "-"),
            milliseconds(step["latency_ms"]),
            rough_usd(_pico(step["cost_usd"])) if called else "-",
            Text(_note(step)),
        )
    return drawn


def _note(step: Mapping[str, Any]) -> str:
    wait = step["retry_after"]
    hint = f"retry after {span(wait)}" if wait else ""
    skipped = "not called" if step["action"] == "skipped" else ""
    return "; ".join(part for part in (skipped, hint, step.get("note", "")) if part)


def _answered_by(entry: Mapping[str, Any], *, whole: bool) -> Text:
    """The target, else the source of the answer, else (``whole``) why there is none."""
    if entry["ok"]:
        return Text(entry["target"] or entry["source"], "green" if entry["tier"] == 0 else "yellow")
    return Text(f"no answer: {entry['error']['kind']}" if whole else "-", "red")


def _outcome(entry: Mapping[str, Any]) -> Text:
    return Text("ok", "green") if entry["ok"] else Text(entry["error"]["kind"], "red")


def _telling(ids: Sequence[str]) -> int:
    """How many characters tell these ids apart."""
    for size in range(SHORTEST, max(map(len, ids))):
        if len({one[:size] for one in ids}) == len(set(ids)):
            return size
    return max(map(len, ids))


def _time(text: str, *, whole: bool) -> str:
    """A moment in local time; not ``whole``: the clock for today, the date for other days."""
    moment = datetime.fromisoformat(text).astimezone()
    if whole:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if today else f"{moment:%b %d}"


def _pico(text: str | None) -> int | None:
    return None if text is None else int(Decimal(text) * PICO)
