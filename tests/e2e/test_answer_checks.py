"""What an answer must be: another one was paid for, is told, and the next target is asked."""

import json

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI, build_config

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "person.schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.fixture
def said(simulator):
    """What each provider says."""
    said = {"openai": "hello", "anthropic": "hello", "google": "hello"}
    simulator.set_answer(lambda seen: said[seen.provider])
    return said


def test_an_answer_that_is_not_valid_goes_to_the_next_and_is_accounted_for(llmfail, said, schema):
    said |= {"openai": '{"name": 3}', "anthropic": '{"name": "Ann"}'}
    asked = llmfail.ask("--schema", str(schema))
    assert asked.code == 0
    assert asked.trail == [(OPENAI, "called", "rejected_answer"), (ANTHROPIC, "called", "ok")]
    rejected = asked.document["trail"][0]
    assert float(rejected["cost_usd"]) > 0
    assert "/name" in rejected["note"]
    assert float(asked.document["cost_usd"]) > float(rejected["cost_usd"])
    assert json.loads(asked.document["answer"]) == {"name": "Ann"}


def test_the_schema_of_a_feature_holds_and_goes_out_on_the_wire(simulator, configure, said, schema):
    document = build_config(simulator, OPENAI, ANTHROPIC, GOOGLE)
    document["features"]["default"]["expect"] = {"schema": schema.name}
    llmfail = configure(document)
    said |= {"google": '{"name": "Ann"}'}
    assert llmfail.ask().document["target"] == GOOGLE
    sent = {seen.provider: json.dumps(seen.document) for seen in simulator.requests}
    assert all("additionalProperties" in text for text in sent.values())
    assert set(sent) == {"openai", "anthropic", "google"}


@pytest.mark.parametrize(
    ("expect", "bad", "good"),
    [
        ("json", "Sure! {}", " [1, 2]\n"),
        ("json", "```json\n{}", "```json\n{}\n```"),
        ("regex:^yes|no$", "maybe", "yes"),
        ("nonempty", " \n", "x"),
    ],
)
def test_each_expectation_rejects_and_accepts(llmfail, said, expect, bad, good):
    said |= {"openai": bad, "anthropic": good}
    asked = llmfail.ask("--expect", expect)
    assert asked.trail == [(OPENAI, "called", "rejected_answer"), (ANTHROPIC, "called", "ok")]


def test_a_cut_answer_is_none_where_it_must_be_complete(llmfail, said):
    said |= {"openai": "many words " * 100}
    asked = llmfail.ask("--max-tokens", "20", "--expect", "complete")
    assert asked.trail == [(OPENAI, "called", "rejected_answer"), (ANTHROPIC, "called", "ok")]
    plain = llmfail.ask("--max-tokens", "20")
    assert (plain.code, plain.document["finish_reason"]) == (0, "length")


def test_when_every_answer_is_rejected_there_is_none_and_it_cost_something(llmfail, said):
    asked = llmfail.ask("--expect", "json")
    assert (asked.code, asked.document["answer"]) == (3, None)
    assert [outcome for _, _, outcome in asked.trail] == ["rejected_answer"] * 3
    assert float(asked.document["cost_usd"]) > 0


def test_a_rejected_answer_says_nothing_bad_of_the_provider(llmfail, said):
    for _ in range(6):
        llmfail.ask("--expect", "json")
    assert {one["state"] for one in llmfail.status()["providers"].values()} == {"closed"}


def test_a_feature_may_want_no_text_at_all(simulator, configure, said):
    document = build_config(simulator, OPENAI)
    document["features"]["default"]["expect"] = {"nonempty": False}
    said |= {"openai": ""}
    asked = configure(document).ask()
    assert (asked.code, asked.document["answer"]) == (0, "")


@pytest.mark.parametrize("wanted", ["xml", "regex:(", "regex", ""])
def test_what_nobody_can_expect_is_a_usage_error(llmfail, simulator, wanted):
    asked = llmfail.ask("--expect", wanted)
    assert (asked.code, len(asked.lines)) == (2, 1)
    assert simulator.count() == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "strng"}', '{"$ref": "http://127.0.0.1:9/x"}', "NaN"])
def test_what_is_no_schema_is_a_usage_error(llmfail, simulator, schema, text):
    schema.write_text(text)
    asked = llmfail.ask("--schema", str(schema))
    assert (asked.code, len(asked.lines)) == (2, 1)
    assert str(schema) in asked.err
    assert simulator.count() == 0
