"""An answer passes when it says what is expected, however it is wrapped."""

import msgspec
import pytest

from llmfail.core.evaluation.answer_check import check_answer
from llmfail.core.evaluation.dataset_line import parse_dataset_line


def check_of(**expect):
    return parse_dataset_line(msgspec.json.encode({"prompt": "hi", "expect": expect})).check


@pytest.mark.parametrize(
    ("expect", "answer"),
    [
        ({"equals": "Paris"}, " Paris\n"),
        ({"equals": "the \u201ccity\u201d"}, 'the  "city"'),
        ({"equals": {"b": 1, "a": [2]}}, '```json\n{"a": [2], "b": 1.0}\n```'),
        ({"equals": 42}, "42"),
        ({"contains": "Paris"}, "It is Paris."),
        ({"contains": ["a b", '{"k": 1']}, 'a\nb {"k": 1, "j": 2}'),
        ({"contains": '"a": 1'}, '{"b": 2, "a": 1}'),
        ({"regex": "^It"}, "<think>no</think>It is"),
        ({"json": True}, "```\n[]\n```"),
        ({"schema": {"type": "object", "required": ["a"]}}, '{"a": 1}'),
        ({"number": 1234.5, "tolerance": 0.1}, "about 3 of them: $1,234.56"),
        ({"number": -2}, "x = -2"),
        ({}, "anything"),
    ],
)
def test_what_says_it_passes(expect, answer):
    assert check_answer(check_of(**expect), answer).violation is None


@pytest.mark.parametrize(
    ("expect", "answer", "violation"),
    [
        ({"equals": "Paris"}, "Paris, France", "not equal to 'Paris'"),
        ({"equals": True}, "1", "not equal to 'true'"),
        ({"contains": ["a", "b"]}, "a", "'b' is not in it"),
        ({"number": 3}, "none", "there is no number in it"),
        ({"number": 3, "tolerance": 0.5}, "4", "4 is not 3 \u00b1 0.5"),
        ({"json": True}, "text", "not JSON"),
    ],
)
def test_what_does_not_say_it_is_told_why(expect, answer, violation):
    assert violation in check_answer(check_of(**expect), answer).violation


def test_the_rules_that_made_it_comparable_are_named():
    assert check_answer(check_of(equals="yes"), "<think>hm</think>yes ").rules == ("thoughts", "white_space")


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ({"equal": 1}, "equal"),
        ({"regex": "("}, "not a regular expression"),
        ({"tolerance": 1}, "tolerance"),
        ({"number": 1, "tolerance": -1}, "tolerance"),
        ({"schema": {"type": "nothing"}}, "schema"),
        ("yes", "object"),
    ],
)
def test_a_check_that_is_none_is_refused_with_its_name(expect, said):
    with pytest.raises(ValueError, match=said):
        parse_dataset_line(msgspec.json.encode({"prompt": "hi", "expect": expect}))


def test_what_is_left_is_a_batch_line():
    line = parse_dataset_line(b'{"prompt": "hi", "id": "x", "reference": "r", "expect": {"equals": 1}}')
    assert msgspec.json.decode(line.batch_line) == {"prompt": "hi", "id": "x"}
    assert line.reference == "r"
    assert parse_dataset_line(b'"hi"').batch_line == b'"hi"'
    assert parse_dataset_line(b"{").batch_line == b"{", "the batch says what is wrong with it"
