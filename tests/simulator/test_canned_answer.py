"""A request that wants JSON gets JSON that fits, so that a drill of a strict feature can be healthy."""

import json

import jsonschema
import pytest
import simulator_calls

from llmfail.simulator.canned_answer import build_sample

SCHEMAS = [
    {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}}},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}, "b": {"type": "string"}}},
    {"type": "object", "required": ["unmentioned"]},
    {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 3},
    {"type": "array", "items": {"type": "string"}, "minItems": 0},
    {"type": "string", "minLength": 20, "maxLength": 25},
    {"type": "string", "maxLength": 3},
    {"type": "integer", "exclusiveMinimum": 4},
    {"type": "integer", "maximum": -3},
    {"type": "number", "exclusiveMaximum": -3},
    {"type": ["null", "boolean"]},
    {"type": "null"},
    {"const": {"fixed": [1]}},
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    {"allOf": [{"type": "object"}, {"required": ["a"]}]},
    {"$ref": "#/$defs/point", "$defs": {"point": {"type": "object", "required": ["x"]}}},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_sample_fits_its_schema(schema):
    jsonschema.validate(build_sample(schema, schema), schema)


def test_a_schema_that_contains_itself_has_an_end():
    node = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}}
    assert build_sample(node, node)["next"]["next"]


@pytest.mark.parametrize(
    "broken", ["nonsense", None, {"$ref": "elsewhere#/x"}, {"$ref": "#/no/such"}, {"type": 7}]
)
def test_a_schema_that_is_none_does_no_harm(broken):
    json.dumps(build_sample(broken, {}))


SCHEMA = {"type": "object", "required": ["verdict"], "properties": {"verdict": {"enum": ["allow"]}}}
WANTED = {
    "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "openai": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "google": {"generationConfig": {"responseJsonSchema": SCHEMA}},
    "vertex": {"generationConfig": {"responseSchema": SCHEMA}},
}


@pytest.mark.parametrize("provider", simulator_calls.PROVIDERS)
def test_a_schema_is_honoured_in_every_format(simulator, provider):
    path, document = simulator_calls.build_request(provider)
    heard = simulator_calls.post(simulator.base_url(provider), path, document | WANTED[provider])
    assert b'{\\"verdict\\": \\"allow\\"}' in heard.body


@pytest.mark.parametrize(
    ("provider", "wanted"),
    [
        ("openai", {"response_format": {"type": "json_object"}}),
        ("google", {"generationConfig": {"responseMimeType": "application/json"}}),
    ],
)
def test_any_json_is_an_empty_object(simulator, provider, wanted):
    path, document = simulator_calls.build_request(provider)
    assert b'"{}"' in simulator_calls.post(simulator.base_url(provider), path, document | wanted).body


def test_a_long_prompt_is_echoed_only_in_part(simulator):
    heard = simulator_calls.ask(simulator, "openai", "word\n" * 100)
    text = heard.document["choices"][0]["message"]["content"]
    assert text.endswith(f"You said: {'word ' * 12}…")


def test_no_prompt_is_not_echoed(simulator):
    heard = simulator_calls.ask(simulator, "openai", "")
    assert (
        heard.document["choices"][0]["message"]["content"] == "Hello from openai/gpt-6.1-terra (simulated)."
    )
