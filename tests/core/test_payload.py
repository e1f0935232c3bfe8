import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.payload import NotJson, parse


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"\n\n\n  [1.5]\n", [1.5]),
        (b"\xef\xbb\xbf{}", {}),
        (b"null", None),
        ('"ü"'.encode(), "ü"),
    ],
)
def test_json_is_read_after_any_number_of_blank_lines(body, value):
    assert parse(body) == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty body"),
        (b" \r\n", "an empty body"),
        (b'{"a": ', "a body that is not JSON"),
        (b"NaN", "a body that is not JSON"),
        (b'{"a": Infinity}', "a body that is not JSON"),
        (b"[" * 200_000, "a body that is not JSON"),
        (b"1" * 5000, "a body that is not JSON"),
        (b"\xff\xfe\xff", "a body that is not JSON"),
        (b"<!DOCTYPE html><p>", "an HTML page instead of JSON"),
        (b"\n<!-- x --><HTML>", "an HTML page instead of JSON"),
    ],
)
def test_what_is_not_json_says_what_it_is(body, said):
    assert str(parse(body)) == said
    assert isinstance(parse(body), NotJson)


@given(st.binary())
def test_no_body_breaks_the_parser(body):
    parse(body)
