"""A JSON Schema is complete in itself; every value is judged by it in little time, with a short reason."""

from __future__ import annotations

import json
import socket
import threading

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.request.answer_schema import find_schema_problem, find_schema_violation, is_deeper_than

# id: (schema, the flaw or its beginning)
FLAWS = {
    "a type that there is not": ({"type": "strin"}, 'is not a JSON Schema at /type: "strin" is not what is'),
    "inside": (
        {"properties": {"a/b": {"minimum": "x"}}},
        "is not a JSON Schema at /properties/a~1b/minimum: ",
    ),
    "a pattern that is none": ({"pattern": "(a"}, "is not a JSON Schema at /pattern: "),
    "a pattern that is too large": ({"pattern": "(a{1000}){1000}"}, "is not a JSON Schema at /pattern: "),
    "a reference to nothing": ({"$ref": "#/$defs/a"}, "is not complete in itself, and nothing is fetched: "),
    "a reference to no name": ({"$ref": "#a"}, "is not complete in itself, "),
    "a reference to a file beside it": ({"$ref": "x.json"}, "is not complete in itself, "),
    "a reference to a file": ({"$ref": "file:///etc/passwd"}, "is not complete in itself, "),
    "a reference that nobody follows": ({"$defs": {"a": {"$ref": "x.json"}}}, "is not complete in itself, "),
    "a reference to a relative of its id": (
        {"$id": "http://127.0.0.1:9/a.json", "items": {"$ref": "x.json"}},
        "is not complete in itself, ",
    ),
    "a dialect of one's own": ({"$schema": "http://127.0.0.1:9/mine"}, "is not complete in itself, "),
    "a dialect of the past": (
        {"$schema": "http://json-schema.org/draft-03/schema#"},
        "is not complete in itself, ",
    ),
    "what JSON cannot hold": ({"const": object()}, "is not a JSON Schema: "),
    "half a character": ({"const": "\ud800"}, "is not a JSON Schema: "),
}
DRAFTS = ["2020-12/schema", "2019-09/schema"]
SOUND = {
    "everything": {},
    "itself": {"$ref": "#"},
    "each other": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "all of itself": {"allOf": [{"$ref": "#"}]},
    "none of itself": {"not": {"$ref": "#"}},
    "the schema of schemas": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    "an id within": {"$id": "http://a.example/a", "$defs": {"x": {"$id": "x"}}, "$ref": "x"},
    **{draft: {"$schema": f"https://json-schema.org/draft/{draft}"} for draft in DRAFTS},
    **{str(n): {"$schema": f"http://json-schema.org/draft-0{n}/schema#"} for n in (4, 6, 7)},
}


@pytest.mark.parametrize(("schema", "reason"), FLAWS.values(), ids=FLAWS)
def test_what_is_no_schema_to_judge_by_is_one_line(schema, reason):
    found = find_schema_problem(schema)
    assert found
    assert found.startswith(reason)
    assert found.isprintable()
    assert len(found) <= 200


@pytest.mark.parametrize("schema", SOUND.values(), ids=SOUND)
def test_a_schema_that_refers_to_nothing_but_itself_has_no_flaw(schema):
    assert find_schema_problem(schema) is None
    find_schema_violation(schema, {"a": [1]})


def test_a_schema_has_a_hundred_levels_at_most():
    assert find_schema_problem(nested({}, 99, "not")) is None
    assert find_schema_problem(nested({}, 100, "not")) == "is not a JSON Schema: it is nested too deeply"


def test_nothing_is_fetched():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.json"
        for schema in ({"$ref": address}, {"$schema": address}, {"$id": address, "$ref": "y.json"}):
            assert "nothing is fetched" in str(find_schema_problem(schema))
            with pytest.raises(ValueError, match=r"not present|Unknown"):
                find_schema_violation(schema, {})
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


# id: (schema, value, what is said behind "not valid for the schema")
COMPLAINTS = {
    "at the top": ({"type": "object"}, [1], ': an array is not of type "object"'),
    "inside": (
        {"properties": {"items": {"items": {"properties": {"name": {"type": "string"}}}}}},
        {"items": [{"name": 3}]},
        ' at /items/0/name: 3 is not of type "string"',
    ),
    "keys with slashes": (
        {"properties": {"a/b~": {"type": "null"}}},
        {"a/b~": {}},
        " at /a~1b~0: an object is",
    ),
    "none of several": (
        {"anyOf": [{"type": "string"}, {"minimum": 5}]},
        3,
        ": 3 is not what is allowed here",
    ),
    "alternatives, and more": (
        {"anyOf": [{}], "allOf": [{"type": "string"}]},
        3,
        ': 3 is not of type "string"',
    ),
    "one of several, twice": ({"oneOf": [{}, {"minimum": 1}]}, 3, ": 3 is not what is allowed here"),
    "nothing": ({"properties": {"a": False}}, {"a": 1}, " at /a: 1 is not what is allowed here"),
    "one of a list": ({"enum": ["red", "green"]}, "blue", ': "blue" is not one of "red" or "green"'),
    "missing": ({"required": ["a"]}, {}, ': "a" is a required property'),
    "a long text": ({"type": "object"}, "x" * 5_000, f': "{"x" * 39}…" is not of type "object"'),
    "a long number": ({"type": "object"}, 10**400, f': 1{"0" * 39}… is not of type "object"'),
    "something for a terminal": (
        {"type": "object"},
        "\x1b[2J\n",
        ': "\\u001b[2J\\n" is not of type "object"',
    ),
    "a reference into alternatives": ({"anyOf": [{"type": "null"}, {}], "$ref": "#/anyOf/0"}, 3, ""),
    "a pattern that would never end": (
        {"pattern": r"^(a|aa)+\1?$"},
        "a" * 45 + "!",
        ": Error executing regex: Max limit for backtracking count exceeded",
    ),
}


@pytest.mark.parametrize(("schema", "value", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_a_value_that_is_not_valid_is_told_where_and_why(schema, value, said):
    found = find_schema_violation(schema, value)
    assert found
    assert found.startswith(f"not valid for the schema{said}")


def test_no_complaint_is_longer_than_a_line():
    for key in ("k" * 5_000, "\u202e\n\x1b" * 100, "é" * 500):
        schema = {
            "properties": {key: {"properties": {key: {"type": "string"}}}},
            "additionalProperties": False,
        }
        for value in ({key: {key: 3}}, {key + "!": 3}):
            found = find_schema_violation(schema, value)
            assert found
            assert found.isprintable()
            assert len(found) <= 200


def nested(value, levels, key="l"):
    for _ in range(levels):
        value = {key: value}
    return value


def test_a_value_has_a_hundred_levels_at_most():
    schema = {"properties": {"l": {"$ref": "#"}}}
    assert find_schema_violation(schema, nested({}, 99)) is None
    assert find_schema_violation(schema, nested({}, 100)) == "nested too deeply to be judged"
    assert find_schema_violation({}, nested({}, 100_000)) == "nested too deeply to be judged"


def test_levels_are_counted_through_lists_and_mappings():
    assert not is_deeper_than("x", 1)
    assert not is_deeper_than({"a": [1, {}], "b": 2}, 3)
    assert is_deeper_than({"a": [1, {}], "b": 2}, 2)


def test_the_deepest_value_fits_the_smallest_stack_of_a_thread():
    schema = {"properties": {"l": {"$ref": "#"}}, "anyOf": [{"items": {"$ref": "#"}}], "required": ["l"]}
    found = []
    before = threading.stack_size(128 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.append(find_schema_violation(schema, nested({}, 99))))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert found == ["not valid for the schema"]


OPERAND = {"properties": {"l": {"$ref": "#"}, "z": {"type": "string"}}}
BRANCHING = {
    "any of nine": {"anyOf": [{**OPERAND, "required": [name]} for name in "lqrstuvwx"]},
    "any of three": {"anyOf": [OPERAND, {**OPERAND, "required": ["q"]}, {**OPERAND, "required": ["p"]}]},
    "one of three": {"oneOf": [OPERAND, {**OPERAND, "required": ["q"]}, {**OPERAND, "required": ["p"]}]},
    "all of two": {"allOf": [OPERAND, OPERAND]},
    "nothing else": {"anyOf": [OPERAND, OPERAND], "unevaluatedProperties": False},
    "if and then": {"if": OPERAND, "then": OPERAND, "else": {"required": ["q"]}},
}


@pytest.mark.parametrize("levels", [2, 8, 9, 10, 30, 90])
@pytest.mark.parametrize("schema", BRANCHING.values(), ids=BRANCHING)
def test_a_schema_that_branches_into_itself_takes_no_ages(schema, levels):
    """A reason for each branch of each level would be more than the memory holds: a hang is the failure."""
    assert find_schema_violation(schema, {"z": 3, "l": nested({}, levels)})
    find_schema_violation(schema, nested({"z": 3}, levels))
    find_schema_violation(schema, nested({}, levels))


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {},
            {"type": "integer"},
            {"type": "string"},
            {"const": 1},
            {"enum": [None, "a"]},
            {"minimum": 2},
            False,
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"oneOf": several}),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"allOf": several}),
        inner.map(lambda one: {"not": one}),
        inner.map(lambda one: {"items": one}),
        inner.map(lambda one: {"properties": {"a": one, "anyOf": one}, "required": ["a"]}),
        st.tuples(inner, inner).map(lambda two: {"anyOf": [two[0]], "allOf": [two[1]], "type": "object"}),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.sampled_from([None, 1, 2, "a", True, 1.5]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "anyOf", "b"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), VALUES)
def test_it_is_of_one_mind_with_another_validator(schema, value):
    assert find_schema_problem(schema) is None
    other = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (find_schema_violation(schema, json.loads(json.dumps(value))) is None) == other
