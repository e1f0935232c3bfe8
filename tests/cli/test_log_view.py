"""How a logged request looks: drawn in memory, for a pipe."""

from io import StringIO

from rich.console import Console

from llmfail.cli.render.log_view import render_entry, render_list
from llmfail.cli.render.tables import UNLIMITED_WIDTH
from llmfail.core.model import Target
from llmfail.core.receipt import Receipt, TrailEntry

CLAUDE, GPT = Target("anthropic", "claude"), Target("openai", "gpt")
FAILED = TrailEntry(CLAUDE, "called", "server_error", 503, 40)


def build_entry(**fields):
    receipt = Receipt("01KAB7Z3QX0000000000000000", "default", finish_reason="stop", latency_ms=6, **fields)
    return {"at": "2026-12-01T10:00:00Z", **receipt.to_json()}


def draw(render, what):
    screen = Console(file=StringIO(), width=UNLIMITED_WIDTH, highlight=False, markup=False)
    screen.print(render(screen, what))
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def test_i7_an_answer_from_the_cache_says_so_and_has_no_empty_trail():
    entry = build_entry(source="cache", tier=0, target=CLAUDE)
    _, result = draw(render_entry, entry)
    assert result.startswith("served from the cache (stored by anthropic/claude), tier 0, 6ms, $0.00")
    assert "anthropic/claude (cache)" in draw(render_list, [entry])[1]


def test_i7_behind_a_failed_primary_too():
    entry = build_entry(source="cache", tier=2, target=GPT, trail=(FAILED,))
    lines = draw(render_entry, entry)
    assert lines[1].startswith("served from the cache (stored by openai/gpt), tier 2")
    assert any(line.startswith("anthropic/claude") and "server_error" in line for line in lines)


def test_an_answer_that_no_model_gave_names_what_did():
    entry = build_entry(source="template", tier=4, trail=(FAILED,))
    assert draw(render_entry, entry)[1].startswith("no model answered; the feature's template did, tier 4")
