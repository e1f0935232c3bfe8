"""What an answer must be: said short, joined, and held against answers of every kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.request.expectation import (
    Expectation,
    find_problem,
    find_violation,
    merge,
    parse,
)

NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("json", Expectation(json=True)),
        ("nonempty", Expectation(nonempty=True)),
        ("complete", Expectation(complete=True)),
        ("regex:^(yes|no)$", Expectation(patterns=("^(yes|no)$",))),
        ("regex:a:b", Expectation(patterns=("a:b",))),
        ("regex: ", Expectation(patterns=(" ",))),
    ],
)
def test_an_expectation_is_written_as_one_word_or_a_pattern(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "xml", "JSON", "json:", "json:x", "regex", "regex:", "schema:x", "x" * 999]
)
def test_any_other_word_is_refused_with_those_that_there_are(text):
    with pytest.raises(
        ValueError, match=r"^json, nonempty, complete or regex:RE can be expected, got"
    ) as caught:
        parse(text)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("pattern", ["(a", "(?:(?:a{1000}){1000}){1000}"])
def test_a_pattern_that_is_none_is_refused_before_anybody_is_asked(pattern):
    with pytest.raises(ValueError, match="is not a regular expression"):
        parse(f"regex:{pattern}")


def test_together_they_hold_what_either_holds():
    one = Expectation(nonempty=True, patterns=("a", "b"), schema={"type": "object"})
    other = Expectation(complete=True, json=True, patterns=("b", "c"))
    merged = merge(one, other)
    assert merged == Expectation(
        nonempty=True, complete=True, json=True, patterns=("a", "b", "c"), schema={"type": "object"}
    )
    assert merge(Expectation(), Expectation()) == Expectation()


def test_of_two_schemas_the_callers_holds():
    assert merge(Expectation(schema={"type": "object"}), Expectation(schema={})).schema == {}


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (Expectation(), None),
        (Expectation(patterns=("a", r"\d+"), schema=NAMED), None),
        (Expectation(patterns=("a", "(b")), "'(b' is not a regular expression: "),
        (Expectation(schema={"type": "strin"}), "the schema is not a JSON Schema at /type: "),
        (Expectation(schema={"$ref": "x.json"}), "the schema is not complete in itself"),
    ],
)
def test_what_nothing_can_be_judged_by_is_found_beforehand(expected, reason):
    found = find_problem(expected)
    assert found is reason is None or str(found).startswith(str(reason))


# id: (what is expected, text, finish reason, the objection or its beginning; None: there is none)
JUDGED = {
    "nothing is expected": (Expectation(), "", "length", None),
    "some text": (Expectation(nonempty=True), "x", "stop", None),
    "no text": (Expectation(nonempty=True), "", "stop", "no text in the answer"),
    "blanks": (Expectation(nonempty=True), " \n\t\xa0", None, "no text in the answer"),
    "whole": (Expectation(complete=True), "x", "stop", None),
    "degraded": (Expectation(complete=True), "x", None, None),
    "cut": (Expectation(complete=True), "x", "length", "not complete: cut at max_tokens"),
    "a tool": (Expectation(complete=True), "x", "tool_calls", "not complete: the model asked for a tool"),
    "unclear": (Expectation(complete=True), "x", "other", "not complete: it ended with other"),
    "cut, and that is fine": (Expectation(nonempty=True), "x", "length", None),
    "JSON": (Expectation(json=True), '{"a": [1, null]}', "stop", None),
    "a number": (Expectation(json=True), "3", "stop", None),
    "white space around": (Expectation(json=True), "\n\xa0 [1]\t\u2003\r\n", "stop", None),
    "JSON in a fence": (Expectation(json=True), "```json\n{}\n```", "stop", "not JSON: invalid character"),
    "prose around": (Expectation(json=True), "Here: {}", "stop", "not JSON: "),
    "something behind": (Expectation(json=True), "{} {}", "stop", "not JSON: trailing characters (byte "),
    "nothing": (Expectation(json=True), "", "stop", "not JSON: "),
    "half": (Expectation(json=True), '{"a": ', "stop", "not JSON: "),
    "NaN": (Expectation(json=True), "[NaN]", "stop", "not JSON: "),
    "Infinity": (Expectation(json=True), "-Infinity", "stop", "not JSON: "),
    "a number that becomes infinite": (Expectation(json=True), "1e400", "stop", "not JSON: Number out of"),
    "a comment": (Expectation(json=True), "{} // x", "stop", "not JSON: "),
    "a comma too many": (Expectation(json=True), "[1,]", "stop", "not JSON: "),
    "half a character": (Expectation(json=True), r'"\ud800"', "stop", "not JSON: "),
    "half a character as it is": (Expectation(json=True), '"\ud800"', "stop", "not JSON: "),
    "a byte order mark": (Expectation(json=True), "\ufeff{}", "stop", "not JSON: "),
    "a key twice": (Expectation(json=True), '{"a": 1, "a": 2}', "stop", None),
    "a large number": (Expectation(json=True), "9" * 400, "stop", None),
    "100,000 levels": (Expectation(json=True), "[" * 100_000 + "]" * 100_000, "stop", "not JSON: nested too"),
    "100,000 levels open": (Expectation(json=True), '{"a":' * 100_000, "stop", "not JSON: nested too"),
    "valid": (Expectation(schema=NAMED), ' {"name": "x"} ', "stop", None),
    "not valid": (
        Expectation(schema=NAMED),
        '{"name": 3}',
        "stop",
        'not valid for the schema at /name: 3 is not of type "string"',
    ),
    "a schema, but no JSON": (Expectation(schema=NAMED), "x", "stop", "not JSON: "),
    "a schema of everything": (Expectation(schema={}), "x", "stop", "not JSON: "),
    "a key twice, the last counts": (
        Expectation(schema=NAMED),
        '{"name": "x", "name": 3}',
        "stop",
        "not valid",
    ),
    "levels for a schema": (
        Expectation(schema={"items": {"$ref": "#"}}),
        "[" * 101 + "]" * 101,
        "stop",
        "nested too deeply to be judged",
    ),
    "a schema that is none": (
        Expectation(schema={"type": "strin"}),
        "{}",
        "stop",
        "the schema is not a JSON Schema at /type: ",
    ),
    "a match": (Expectation(patterns=("b+", "^a")), "abb", "stop", None),
    "no match": (Expectation(patterns=("b+", "^b")), "abb", "stop", "nothing in it matches '^b'"),
    "a pattern that is none": (
        Expectation(patterns=("(a",)),
        "a",
        "stop",
        "'(a' is not a regular expression",
    ),
    "the first that speaks against it": (
        Expectation(json=True, complete=True),
        "x",
        "length",
        "not complete",
    ),
}


@pytest.mark.parametrize(("expected", "text", "finish", "reason"), JUDGED.values(), ids=JUDGED)
def test_an_answer_is_accepted_or_there_is_one_line_on_why_not(expected, text, finish, reason):
    found = find_violation(expected, text, finish)
    assert found is reason is None or str(found).startswith(str(reason))
    assert found is None or (found.isprintable() and len(found) <= 200)


def test_a_pattern_that_runs_out_of_time_is_an_objection_that_says_so():
    expected = Expectation(patterns=("a", r"(a|aa)+$"))
    found = find_violation(expected, "a" * 45 + "!", "stop", limit=0.1)
    assert found == "the expression '(a|aa)+$' takes longer than 0.05 s on this text"


def test_an_answer_is_never_shown_whole():
    text = '{"name": ["' + "secret " * 100 + '"]}'
    for expected in (Expectation(schema=NAMED), Expectation(json=True), Expectation(patterns=("x{3}",))):
        assert "secret" not in (find_violation(expected, text[:-1] if expected.json else text, "stop") or "")


SCHEMAS = st.sampled_from([None, {}, NAMED, {"type": "strin"}, {"items": {"type": "integer"}}, {"$ref": "#"}])
EXPECTATIONS = st.builds(
    Expectation,
    nonempty=st.booleans(),
    complete=st.booleans(),
    json=st.booleans(),
    patterns=st.lists(st.sampled_from(["a", r"\d+$", "(", "(a|aa)+$"]), max_size=2).map(tuple),
    schema=SCHEMAS,
)
JSONS = st.recursive(
    st.sampled_from(["null", "1", "1e999", '"\\ud800"', '"é"', "NaN", '"\x1b"', '"\\u001b\\n"', "9" * 50]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | inner.map(lambda item: f'{{"name":{item},"\\u202e/~":{item}}}')
    ),
    max_leaves=8,
)


@given(EXPECTATIONS, st.text(max_size=50) | JSONS, st.sampled_from([None, "stop", "length", "other"]))
def test_no_answer_makes_it_crash(expected, text, finish):
    found = find_violation(expected, text, finish, limit=0.5)
    assert found is None or (found.isprintable() and 0 < len(found) <= 200)
