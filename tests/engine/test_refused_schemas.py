"""A schema that a target refuses is remembered as that schema, and asked for in the system prompt instead."""

import json

import pytest
from scripted_engine import ScriptedEngine, answer, error

from llmfail.core.request.expectation import Expectation
from llmfail.core.routing.failure import ExitCode

GOOD = {"type": "object", "properties": {"age": {"type": "integer"}}}
BOUND = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 3}}}
NOT_THIS = error(
    400,
    "invalid_request_error",
    "Invalid schema for response_format 'answer': In context=('age',), 'minimum' is not permitted.",
    param="response_format",
)
NONE_AT_ALL = error(
    400,
    "invalid_request_error",
    "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    param="response_format",
)
AGE = answer('{"age": 7}')


@pytest.fixture
def stage(tmp_path):
    def make(script, **more):
        return ScriptedEngine(tmp_path, script, **more)

    return make


def was_sent(call):
    """Whether a schema was sent as one, and whether the system prompt has it."""
    _host, _timeout, body = call
    system = [message["content"] for message in body["messages"] if message["role"] == "system"]
    return "response_format" in body, any("JSON Schema" in text for text in system)


def test_f1_a_schema_that_is_refused_goes_into_the_system_prompt_with_one_warning(stage):
    played = stage({"a": [NOT_THIS, AGE]})
    first = played.ask(schema=BOUND)
    assert first.answer == '{"age": 7}'
    assert [was_sent(call) for call in played.calls] == [(True, False), (False, True)]
    [warning] = first.warnings
    assert warning.startswith("a/one does not take this schema: it went into the system prompt")
    again = played.ask(schema=BOUND)
    assert was_sent(played.calls[-1]) == (False, True)
    assert again.warnings == ()
    assert again.trail[0].note == "its schema went into the system prompt"


def test_f1_another_schema_is_sent_to_the_target_that_refused_one(stage):
    played = stage({"a": [NOT_THIS, AGE]})
    played.ask(schema=BOUND)
    receipt = played.ask(schema=GOOD)
    assert was_sent(played.calls[-1]) == (True, False)
    assert receipt.answer == '{"age": 7}'


def test_f1_a_target_that_takes_no_schema_is_sent_none_any_more(stage):
    played = stage({"a": [NONE_AT_ALL, AGE]})
    [warning] = played.ask(schema=BOUND).warnings
    assert "does not take any schema" in warning
    played.ask(schema=GOOD)
    assert [was_sent(call) for call in played.calls] == [(True, False), (False, True), (False, True)]


def test_f1_what_is_refused_is_remembered_also_where_the_answer_is_no_json(stage):
    played = stage({"a": [NOT_THIS, answer("prose")], "b": [answer("prose")], "c": [answer("prose")]})
    assert played.ask(schema=BOUND).error.code == ExitCode.UNAVAILABLE
    played.calls.clear()
    played.ask(schema=BOUND)
    assert was_sent(played.calls[0]) == (False, True)


def test_f1_the_system_prompt_of_the_caller_stays_in_front(stage):
    played = stage({"a": [NOT_THIS, AGE]})
    played.ask(schema=BOUND, system="Be brief.")
    system = played.calls[-1][2]["messages"][0]["content"]
    assert system.startswith("Be brief.\n\nAnswer with JSON alone")
    assert json.loads(system.rpartition("\n")[2]) == BOUND


@pytest.mark.parametrize(
    ("message", "whole"),
    [
        ("output_config.format.schema: For 'integer' type, property 'minimum' is not supported", False),
        ("The specified schema produces a constraint that has too many states for serving.", False),
        ("Invalid schema for response_format 'x': schema must have type 'object'", False),
        ("This response_format type is unavailable now", True),
        ("Invalid JSON payload received. Unknown name \"responseJsonSchema\" at 'generation_config'", True),
        ("output_config: Extra inputs are not permitted", True),
        ("This model does not support structured outputs.", True),
        ("json_schema is not supported by this server", True),
    ],
)
def test_f1_what_the_refusal_says_tells_this_schema_from_every_schema(stage, message, whole):
    played = stage({"a": [error(400, "invalid_request_error", message), AGE]})
    assert played.ask(schema=BOUND).answer == '{"age": 7}'
    played.ask(schema=GOOD)
    assert was_sent(played.calls[-1]) == ((False, True) if whole else (True, False))


def test_f1_plan_tells_what_would_be_left_out(stage, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(BOUND))
    played = stage({"a": [NONE_AT_ALL, AGE]}, feature=", expect: {schema: s.json}")
    played.ask()
    assert played.plan().steps[0].note == "its schema went into the system prompt"


@pytest.mark.parametrize("stream", [False, True])
def test_f4_json_in_a_code_fence_is_the_answer(stage, stream):
    played = stage({"a": [answer('```json\n{"age": 7}\n```')]})
    receipt = played.ask(schema=BOUND, stream=stream)
    assert (receipt.answer, len(receipt.trail)) == ('{"age": 7}', 1)
    assert played.ask(expect=Expectation(json=True), stream=stream).answer == '{"age": 7}'
    assert played.ask(stream=stream).answer == '```json\n{"age": 7}\n```'
