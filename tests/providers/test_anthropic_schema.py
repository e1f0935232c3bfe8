"""A JSON Schema as Anthropic takes one."""

import json

from llmfail.core.conversation import message_of
from llmfail.core.model import Endpoint, Request
from llmfail.providers import load_wire_format
from llmfail.providers.dialects.anthropic_schema import adapt_schema


def test_f1_bounds_are_told_in_words_and_objects_are_closed():
    schema = {
        "type": "object",
        "properties": {
            "age": {"type": "integer", "minimum": 0, "description": "In years."},
            "minimum": {"type": "string", "maxLength": 9},
            "tags": {"type": "array", "minItems": 2, "items": {"type": "number", "multipleOf": 0.5}},
            "one": {"type": "array", "minItems": 1},
            "who": {"anyOf": [{"$ref": "#/$defs/who"}, {"type": "null"}]},
        },
        "$defs": {"who": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}}},
    }
    assert adapt_schema(schema) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "age": {"type": "integer", "description": "In years. (minimum: 0)"},
            "minimum": {"type": "string", "description": "maxLength: 9"},
            "tags": {
                "type": "array",
                "description": "minItems: 2",
                "items": {"type": "number", "description": "multipleOf: 0.5"},
            },
            "one": {"type": "array", "minItems": 1},
            "who": {"anyOf": [{"$ref": "#/$defs/who"}, {"type": "null"}]},
        },
        "$defs": {
            "who": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"name": {"type": "string", "description": "minLength: 1"}},
            }
        },
    }


def test_f1_what_is_taken_stays_as_it_is():
    for schema in (True, {}, {"enum": [{"minimum": 3}]}, {"type": "string", "pattern": "a", "default": 1}):
        assert adapt_schema(schema) == schema
    assert adapt_schema({"type": "object", "additionalProperties": {"maximum": 1}}) == {
        "type": "object",
        "additionalProperties": {"description": "maximum: 1"},
    }


def test_f1_claude_is_sent_the_adapted_schema_and_others_the_whole():
    request = Request((message_of("user", "hi"),), schema={"type": "integer", "maximum": 9})
    sent = {}
    for api in ("anthropic", "openai"):
        endpoint = Endpoint(api, "https://x.example", "m", None)
        sent[api] = json.loads(load_wire_format(api).encode(request, endpoint).body)
    assert "maximum" not in sent["anthropic"]["output_config"]["format"]["schema"]
    assert sent["openai"]["response_format"]["json_schema"]["schema"]["maximum"] == 9
