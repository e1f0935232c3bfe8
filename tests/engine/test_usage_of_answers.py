"""What an answer counts as used and costs: by one rule, whatever the shape of its reply."""

import json

import pytest
from scripted_engine import DONE, ScriptedEngine, ScriptedReply, answer, chunk, embedding_reply

from llmfail.core.model import Reply
from llmfail.core.receipt import format_usd
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.reports.budget_status import load_budget_statuses

PRICED = """\
models: {a/one: {price: {input: 1, output: 10}}}
budgets: [{name: daily, limit: 5, per: day}]
"""
REPORTING = """\
  p: {api: openai, base_url: "https://api.perplexity.ai", api_key: key-of-p-0123}
  x: {api: openai, base_url: "https://api.x.ai/v1", api_key: key-of-x-0123}
  z: {api: openai, base_url: "https://models.azure.example/v1", api_key: key-of-z-0123}
"""


def with_usage(usage, **message):
    document = json.loads(answer(**message).body) | {"usage": usage}
    return Reply(200, {}, json.dumps(document).encode())


def as_stream(usage):
    return ScriptedReply(chunk("hello"), chunk(finish="stop", usage=usage), DONE)


SHAPES = {
    "whole": lambda usage: (with_usage(usage), False),
    "stream": lambda usage: (as_stream(usage), True),
    "json to a stream": lambda usage: (with_usage(usage), True),
    "stream to no stream": lambda usage: (
        Reply(200, {}, b"".join((chunk("hello"), chunk(finish="stop", usage=usage), DONE))),
        False,
    ),
}


@pytest.fixture
def stage(tmp_path):
    def make(script, **more):
        return ScriptedEngine(tmp_path, script, **more)

    return make


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 5},
        {"prompt_tokens": "many", "completion_tokens": -3},
    ],
    ids=["none", "empty", "zeros", "half", "no numbers"],
)
def test_h5_a_missing_count_is_estimated_whatever_the_shape_of_the_reply(stage, shape, usage):
    reply, stream = SHAPES[shape](usage)
    receipt = stage({"a": [reply]}, more=PRICED).ask(stream=stream)
    assert receipt.usage.estimated
    assert receipt.usage.input_tokens > 0 < receipt.usage.output_tokens
    assert 0 < receipt.cost_pico_usd < 1_000_000_000
    assert receipt.warnings == ()


def test_h5_a_blocked_prompt_costs_the_same_whole_and_as_a_stream(tmp_path):
    blocked = json.dumps({"promptFeedback": {"blockReason": "SAFETY"}}).encode()
    costs = set()
    for stream, reply in (
        (False, Reply(200, {}, blocked)),
        (True, ScriptedReply(b"data: " + blocked + b"\n\n")),
    ):
        more = (
            '  g: {api: gemini, base_url: "http://g.invalid", api_key: key-of-g-0123}\n'
            "models: {g/one: {price: {input: 1, output: 10}}}\n"
        )
        played = ScriptedEngine(tmp_path, {"g": [reply]}, more=more)
        receipt = played.ask(targets=("g/one",), stream=stream)
        costs.add(receipt.trail[0].cost_pico_usd)
    assert len(costs) == 1
    assert costs != {None}


def test_h5_vectors_without_a_count_are_estimated(stage):
    vectors = json.loads(embedding_reply(1).body) | {"usage": None}
    played = stage({"a": [Reply(200, {}, json.dumps(vectors).encode())]}, more=PRICED)
    receipt = run_sync(played.engine.embed(Ask(to_messages("some words to embed"))))
    assert receipt.usage.estimated
    assert receipt.usage.input_tokens > 0
    assert receipt.cost_pico_usd > 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10**9, "completion_tokens": 10**9},
        {"prompt_tokens": 5, "completion_tokens": 10**6},
        {"prompt_tokens": 10**6, "completion_tokens": 5},
    ],
    ids=["both", "output", "input"],
)
def test_h4_an_impossible_count_is_not_believed_and_the_worst_case_is_booked(stage, shape, usage):
    reply, stream = SHAPES[shape](usage)
    played = stage({"a": [reply]}, more=PRICED)
    worst = played.plan().steps[0].max_cost
    receipt = played.ask(stream=stream)
    assert receipt.answer == "hello"
    assert (receipt.usage, receipt.cost_pico_usd) == (None, None)
    [warning] = receipt.warnings
    assert "not believed" in warning
    [budget] = run_sync(load_budget_statuses(played.settings, played.ports.store, played.now))
    assert (budget.spending.spent, budget.spending.held) == (worst, 0)


def test_h4_a_large_count_that_is_possible_is_believed(stage):
    usage = {"prompt_tokens": 150_000, "completion_tokens": 90_000}
    receipt = stage({"a": [with_usage(usage)]}, more=PRICED).ask()
    assert (receipt.usage.input_tokens, receipt.usage.output_tokens) == (150_000, 90_000)
    assert receipt.warnings == ()


@pytest.mark.parametrize(
    ("target", "usage", "cost"),
    [
        ("p/sonar", {"cost": {"request_cost": 0.005, "total_cost": 0.005024}}, "0.005024"),
        ("p/sonar-deep-research", {"cost": {"total_cost": 0.5}}, "0.5"),
        ("x/grok-4.7", {"cost_in_usd_ticks": 37_756_000}, "0.0037756"),
        ("z/grok-4.7", {"cost_in_usd_ticks": 0}, None),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_h3_what_a_provider_says_that_it_charges_is_what_it_costs(stage, target, usage, cost, shape):
    """Azure reports ticks of its own, which are always zero: the host tells whose word counts."""
    reply, stream = SHAPES[shape]({"prompt_tokens": 14, "completion_tokens": 10, **usage})
    script = {"api": [reply], "models": [reply]}
    receipt = stage(script, more=REPORTING).ask(targets=(target,), stream=stream)
    assert format_usd(receipt.cost_pico_usd) == cost
