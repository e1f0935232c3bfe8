"""How logged requests look to people: many as a table, one with every step that it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.text import Text

from llmfail.cli.io.output import printable
from llmfail.cli.render.tables import (
    ROOMY,
    Column,
    exact_usd,
    fitted,
    milliseconds,
    rough_usd,
    sections,
    span,
    words,
)
from llmfail.core.one_line import one_line
from llmfail.core.receipt import PICO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

SHORTEST = 10
"""Characters of an id that tell its millisecond; as a rule they tell the request."""
FEATURE = 11
"""Characters of a feature's name where there is little room."""


def listed(screen: Console, found: Sequence[Mapping[str, Any]]) -> Table:
    """One row each: who answered always, of the rest as much as there is room for."""
    roomy = screen.width >= ROOMY
    size = _telling([entry["id"] for entry in found])
    features = [words(entry["feature"]) for entry in found]
    columns = [
        Column("id", [printable(entry["id"][:size]) for entry in found], rank=1, style="cyan"),
        Column("time", [_time(entry["at"], whole=roomy) for entry in found], rank=2),
        Column("feature", features if roomy else list(map(_shortened, features)), rank=4),
        Column("answered by", [_answered_by(entry, whole=not roomy) for entry in found], name=True),
        Column("tier", [str(entry["tier"]) for entry in found], rank=3, right=True),
    ]
    if roomy:
        columns.append(Column("outcome", list(map(_outcome, found)), rank=3))
    return fitted(
        screen,
        [
            *columns,
            Column("took", [milliseconds(entry["latency_ms"]) for entry in found], rank=5, right=True),
            Column("cost", [rough_usd(_pico(entry["cost_usd"])) for entry in found], rank=6, right=True),
        ],
    )


def _shortened(name: Text) -> Text:
    shown = name.copy()
    shown.truncate(FEATURE, overflow="ellipsis")
    return shown


def told(screen: Console, entry: Mapping[str, Any]) -> RenderableType:
    """What came of one request, its trail, and its texts where they were kept."""
    moment = f"  {_time(entry['at'], whole=True)}  "
    head = Text.assemble(words(entry["id"], "bold cyan"), moment, words(entry["feature"]))
    result = [words(_sum(entry), "green" if entry["ok"] else "red")]
    if entry["retry_at"]:
        result.append(Text(f"worth another try from {_time(entry['retry_at'], whole=True)}"))
    kept = [name for name in ("prompt", "answer") if entry.get(name)]
    texts = [Text.assemble((f"{name}: ", "bold"), words(entry[name])) for name in kept]
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
    called = [step["action"] == "called" for step in trail]
    costs = [_pico(step["cost_usd"]) for step in trail]
    spent = [rough_usd(cost) if asked else "-" for cost, asked in zip(costs, called, strict=True)]
    columns = (
        Column("target", [words(step["target"]) for step in trail], name=True),
        Column("outcome", list(map(_ending, trail))),
        Column("status", [str(step["status"] or "-") for step in trail], rank=2, right=True),
        Column("took", [milliseconds(step["latency_ms"]) for step in trail], rank=3, right=True),
        Column("cost", spent, rank=4, right=True),
        Column("note", [words(_note(step)) for step in trail], rank=1, wraps=True),
    )
    return fitted(screen, columns)


def _ending(step: Mapping[str, Any]) -> Text:
    failure = "red" if step["action"] == "called" else "yellow"
    return words(step["outcome"], "green" if step["outcome"] == "ok" else failure)


def _note(step: Mapping[str, Any]) -> str:
    wait = step["retry_after"]
    hint = f"retry after {span(wait)}" if wait else ""
    skipped = "not called" if step["action"] == "skipped" else ""
    return "; ".join(part for part in (skipped, hint, step.get("note", "")) if part)


def _answered_by(entry: Mapping[str, Any], *, whole: bool) -> Text:
    """The target, else the source of the answer, else (``whole``) why there is none."""
    if entry["ok"]:
        return words(entry["target"] or entry["source"], "green" if entry["tier"] == 0 else "yellow")
    return words(f"no answer: {entry['error']['kind']}" if whole else "-", "red")


def _outcome(entry: Mapping[str, Any]) -> Text:
    return Text("ok", "green") if entry["ok"] else words(entry["error"]["kind"], "red")


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
