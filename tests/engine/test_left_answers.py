"""A stream that is left once its answer has begun counts as what was heard of it, not as its worst case."""

import json

import pytest
from msgspec.structs import replace
from scripted_engine import ScriptedEngine, ScriptedReply, chunk

from llmfail.core.admission.budget import Spending
from llmfail.core.answer_piece import OriginalRequest
from llmfail.core.records.record import load_or_default
from llmfail.core.request.ask import Ask, to_messages
from llmfail.core.tokens.heard_answer import OUTPUT_MARGIN_TOKENS, SILENT_TOKENS_PER_SECOND
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.reports.usage_query import load_usage_records

MORE = """\
models:
  a/one: {price: {input: 1, output: 10}}
budgets: [{name: all, limit: 100, per: total}]
"""
MAX_TOKENS = 32_000
OUTPUT, INPUT = 10 * 10**6, 10**6
"""Pico-dollars for a token."""
ROLE = chunk(delta={"role": "assistant"})


class Gone(BaseException):
    """The client is."""


@pytest.fixture
def stage(tmp_path):
    return lambda *script: ScriptedEngine(tmp_path, {"a": [ScriptedReply(*script, Gone())]}, more=MORE)


def leave(scripted, run):
    """What stands in the budget, once the client of ``run`` has left."""
    with pytest.raises(Gone):
        run_sync(run(scripted, Ask(to_messages("Say hello in one word."), max_tokens=MAX_TOKENS)))
    values, _ = scripted.store.read(["budget/all/total"])
    spending = load_or_default(values["budget/all/total"], Spending)
    assert not any(spending.holds.values())
    return spending.spent


def stream_to_people(scripted, ask):
    async def show(_text):
        pass

    return scripted.engine.ask(replace(ask, stream=True), on_text=show)


def ask_over_a_stream(scripted, ask):
    return scripted.engine.ask(replace(ask, stream=True))


def serve(scripted, ask):
    async def show(_piece):
        pass

    return scripted.engine.serve(ask, None, show)


def relay(scripted, ask):
    async def show(_piece):
        pass

    body = json.dumps({"messages": [{"role": "user", "content": ask.prompt}], "max_tokens": MAX_TOKENS})
    return scripted.engine.serve(ask, OriginalRequest("chat", body.encode()), show)


WAYS = pytest.mark.parametrize("way", [stream_to_people, ask_over_a_stream, serve, relay])


@WAYS
def test_what_was_heard_counts_with_a_margin(stage, way):
    spent = leave(stage(ROLE, chunk("Hel"), chunk("lo")), way)
    assert OUTPUT * OUTPUT_MARGIN_TOKENS < spent < OUTPUT * (OUTPUT_MARGIN_TOKENS + 10) + INPUT * 50
    assert spent < OUTPUT * MAX_TOKENS / 100


@WAYS
def test_an_answer_that_has_begun_without_a_word_counts_as_its_input(stage, way):
    assert leave(stage(ROLE), way) < OUTPUT * (OUTPUT_MARGIN_TOKENS + 1) + INPUT * 50


@WAYS
@pytest.mark.parametrize("heard", [[], [b": alive\n\n"]], ids=["nothing", "a keep-alive"])
def test_where_nothing_was_heard_the_worst_case_counts(stage, way, heard):
    assert leave(stage(*heard), way) >= OUTPUT * MAX_TOKENS


@WAYS
def test_silence_before_the_first_token_may_have_been_thought(stage, way):
    quick, slow = leave(stage(ROLE, chunk("x")), way), leave(stage(ROLE, 8.0, chunk("x")), way)
    assert slow - quick == OUTPUT * 8 * SILENT_TOKENS_PER_SECOND


@WAYS
def test_no_more_than_the_worst_case_counts(stage, way):
    said = [chunk("word " * 1000) for _ in range(60)]
    assert leave(stage(ROLE, *said), way) <= OUTPUT * 60_000 + INPUT * 50


def test_an_own_count_of_the_provider_is_believed(stage):
    usage = {"prompt_tokens": 700, "completion_tokens": 500}
    spent = leave(stage(chunk("x", usage=usage)), serve)
    assert spent == INPUT * 700 + OUTPUT * (500 * 5 // 4 + OUTPUT_MARGIN_TOKENS)


def test_what_was_left_is_in_the_records_of_use(stage):
    scripted = stage(ROLE, chunk("Hel"))
    spent = leave(scripted, serve)
    [entry] = run_sync(load_usage_records(scripted.settings, scripted.ports))
    assert (entry.totals.requests, entry.totals.cost) == (1, spent)
    assert entry.totals.tokens.output > OUTPUT_MARGIN_TOKENS
