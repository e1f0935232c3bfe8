import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.classification.body import NotJson, parse


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"\n\n\n  [1.5]\n", [1.5]),
        (b"\xef\xbb\xbf{}", {}),
        (b"null", None),
        (b'{"a": [Infinity, -Infinity]}', {"a": [math.inf, -math.inf]}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"-" + b"1" * 5000, -math.inf),
        ('"ü"'.encode(), "ü"),
    ],
)
def test_json_is_read_after_any_number_of_blank_lines(body, value):
    assert parse(body) == value


def test_what_is_not_a_number_is_read_as_that():
    assert math.isnan(parse(b'{"a": NaN}')["a"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty body"),
        (b" \r\n", "an empty body"),
        (b'{"a": ', "a body that is not JSON"),
        (b"[" * 200_000, "a body that is not JSON"),
        (b"\xff\xfe\xff", "a body that is not JSON"),
        (b"<!DOCTYPE html><p>", "an HTML page instead of JSON"),
        (b"\n<!-- x --><HTML>", "an HTML page instead of JSON"),
    ],
)
def test_what_is_not_json_says_what_it_is(body, said):
    assert str(parse(body)) == said
    assert isinstance(parse(body), NotJson)


def test_h1_json_of_more_values_than_any_answer_has_is_not_read():
    body = b'{"choices": [%b[]]}' % (b"[]," * 300_000)
    assert str(parse(body)) == "JSON of more values than any answer has"
    assert isinstance(parse(body), NotJson)
    assert len(parse(body, max_values=10_000_000)["choices"]) == 300_001


def test_h1_of_a_long_page_the_beginning_is_kept():
    assert len(parse(b"<html>" + b"x" * 1_000_000).text) < 100_000


@given(st.binary())
def test_no_body_breaks_the_parser(body):
    parse(body)
